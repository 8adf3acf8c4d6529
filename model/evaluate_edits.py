"""Does the model edit as it is told? Edits of pairs whose target is known, beside what another pair's instruction makes of them.

An edit counts as done when its result lies nearer to the target than to the source, by the mean absolute difference of pixels:
doing nothing never counts. Beside that share stands the control, the same reference told what another pair was told, and beside
the distance left the floor, the target through the autoencoder alone. Whether what was to stay has stayed is in the distance too.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from model.autoencoder import Autoencoder, encoded, to_pixels
from model.buckets import Shape, training_shape
from model.checkpoint import read_config
from model.config import TrainConfig
from model.contact_sheet import contact_sheet
from model.edit import Editor
from model.held_out import held_out_place, is_held_out
from model.pair_reader import PairReader
from model.ranks import usable
from model.shard_reader import Caption, UnreadableSample, drawn_caption

SHOWN = 8
"""Edits on the sheet."""


@dataclass(frozen=True)
class Edit:
    """A pair as it is asked for: pictures uint8 (H, W, 3), the source both at the target's shape and whole."""

    source: np.ndarray
    whole: np.ndarray
    target: np.ndarray
    told: Caption
    held_out: bool


def evaluate_edits(
    checkpoint: Path, *, num_edits: int, num_steps: int, guidance: float, seed: int, out: Path
) -> dict[str, float]:
    """Return measures of edits of the pairs that `checkpoint` was trained on, and write out/edits.png; {} without pairs.

    Held-out pairs are taken when validation holds some out, else any. Measures: `edits`, how many; `edits_held_out`, their share
    that training never saw; `edit_accuracy`, the share done, and `wrong_edit_accuracy`; `edit_error`, the distance to the target
    over that of the source to it, `wrong_edit_error`, and `edit_error_autoencoder`.
    """
    config = read_config(checkpoint)
    if not config.data.pairs or num_edits == 0:
        return {}
    editor = Editor.open(checkpoint, device=usable(config.device))
    autoencoder = editor.parts.autoencoder
    edits = list(_edits(config, num_edits, unit_px=autoencoder.downsample * config.model.patch_px, seed=seed))
    if not edits:
        return {"edits": 0}
    made = [
        editor.edit(
            [edit.told.text, _other(edits, i)], [edit.whole], width_px=edit.target.shape[1], height_px=edit.target.shape[0],
            num_steps=num_steps, guidance=guidance, seed=[seed + i, seed + i],
        )
        for i, edit in enumerate(edits)
    ]  # fmt: skip
    out.mkdir(parents=True, exist_ok=True)
    shown = [(picture, text) for edit, (found, _) in list(zip(edits, made, strict=True))[:SHOWN]
             for picture, text in ((edit.source, "source"), (found, edit.told.text), (edit.target, "target"))]  # fmt: skip
    contact_sheet([picture for picture, _ in shown], [text for _, text in shown], columns=3).save(out / "edits.png")
    return measured(edits, made, [_through(autoencoder, edit.target) for edit in edits])


def measured(edits: list[Edit], made: list[np.ndarray], floor: list[np.ndarray]) -> dict[str, float]:
    """Return the measures of `evaluate_edits`.

    made: of each edit the picture by its own instruction and that by another's, uint8 (2, H, W, 3). floor: the targets as the
    autoencoder gives them back.
    """
    to_do = np.mean([_distance(edit.source, edit.target) for edit in edits])
    found = {"edits": float(len(edits)), "edits_held_out": float(np.mean([edit.held_out for edit in edits]))}
    for name, pictures in (("", [pair[0] for pair in made]), ("wrong_", [pair[1] for pair in made])):
        left = [_distance(picture, edit.target) for picture, edit in zip(pictures, edits, strict=True)]
        kept = [_distance(picture, edit.source) for picture, edit in zip(pictures, edits, strict=True)]
        found[f"{name}edit_accuracy"] = float(np.mean(np.array(left) < kept))
        found[f"{name}edit_error"] = float(np.mean(left) / to_do)
    lost = [_distance(picture, edit.target) for picture, edit in zip(floor, edits, strict=True)]
    return {name: round(value, 4) for name, value in (found | {"edit_error_autoencoder": float(np.mean(lost) / to_do)}).items()}


def _edits(config: TrainConfig, num: int, *, unit_px: int, seed: int) -> Iterator[Edit]:
    """Yield up to `num` readable pairs with an instruction, in the order of a hash of their names."""
    reader = PairReader(config.data.pairs)
    pairs = reader.index.to_pylist()
    held = [_is_held_out(pair["images"], config) for pair in pairs]
    rows = [row for row in range(len(pairs)) if held[row] or not any(held)]
    left = num
    for row in sorted(rows, key=lambda row: held_out_place(f"edit/{reader.ids[row]}", seed)):
        try:
            shape = training_shape(pairs[row]["bucket"], resolution_px=config.data.resolution_px, unit_px=unit_px)
            edit = _edit(reader, row, shape, config, held_out=held[row])
        except UnreadableSample:
            continue
        if left and edit.told.text and _distance(edit.source, edit.target) > 0:
            left -= 1
            yield edit


def _edit(reader: PairReader, row: int, shape: Shape, config: TrainConfig, *, held_out: bool) -> Edit:
    place, weights = held_out_place(reader.ids[row], -1), config.data.language_weights
    told = drawn_caption(reader.texts(row)[0], place, level_weights={"instruction": 1.0}, language_weights=weights)
    source, whole = reader.reference(row, shape)
    return Edit(source, whole, reader.target(row, shape), told, held_out)


def _is_held_out(images: list[str], config: TrainConfig) -> bool:
    held = config.validation
    return held is not None and any(is_held_out(image, held.share, held.seed) for image in images)


def _other(edits: list[Edit], i: int) -> str:
    """Return the instruction of the next pair that was told something else in the same language; its own when there is none."""
    told, own = [edit.told for edit in edits[i + 1 :] + edits[:i]], edits[i].told
    return next((other.text for other in told if other.language == own.language and other.text != own.text), own.text)


def _through(autoencoder: Autoencoder, pixels: np.ndarray) -> np.ndarray:
    made: np.ndarray = to_pixels(autoencoder.decode(encoded(autoencoder, np.ascontiguousarray(pixels))[None]).cpu())[0].numpy()
    return made


def _distance(a: np.ndarray, b: np.ndarray) -> float:
    """Return the mean absolute difference of two pictures, 0 to 1."""
    return float(np.abs(a.astype(np.float32) - b).mean()) / 255
