"""Edit pairs: units of work in, rows of EDIT_PAIRS and a tar of the pictures that editing made out."""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from captioning.ocr import Reader
from captioning.pair_captions import describe, written_by_model
from curation.album import Album, Encoding
from curation.edits import apply
from curation.errors import EditError
from curation.layouts import layout
from curation.pairs import Refused, Version, generator_of, pairs_of, picture_edits, seen_scene, text_edits, versions
from curation.phrases import phrases
from curation.scene import Scene
from curation.schema import EDIT_PAIRS, conform
from curation.tables import Run
from curation.text_edits import Desk
from curation.text_lines import Pixels
from jobs.mined_pairs import Teller, mined_rows, teller
from jobs.pair_rows import Row, about, captioned, own_picture, pair_row, pixels_of, refusal, refusals, said
from jobs.stage import Item, Output

LEVELS = {"text": "long", "parametric": "medium"}
"""Level of the captions of a kind of scene: the long one holds every line of text."""


@dataclass(frozen=True)
class Settings:
    """What a unit's pairs depend on besides the unit."""

    seed: int
    versions: int
    max_operations: int
    text_kinds: Sequence[str]
    picture_kinds: Sequence[str]
    max_side_px: int
    min_ssim: float
    max_ssim: float


class Pairer:
    """Holds the reader that checks text and the model that tells differences; maps one item to its part."""

    def __init__(
        self,
        *,
        encoding: Encoding = "png",
        backend: str = "facts",
        settings: Mapping[str, Any] | None = None,
        how: Mapping[str, Any] | None = None,
        prompts: str | None = None,
        **parameters: Any,
    ) -> None:
        self._encoding = encoding
        names = Settings.__dataclass_fields__
        self._settings = Settings(**{name: value for name, value in parameters.items() if name in names})
        self._backend, self._prompts, self._model = backend, prompts, {**(settings or {}), **(how or {})}
        self._reader: Reader | None = None
        self._teller: Teller | None = None

    def __call__(self, run: Run, item: Item) -> list[Output]:
        """Make the pairs of one item."""
        (part,) = item["parts"]
        folder = run.folder("edit_pairs") / "_attempts"
        folder.mkdir(parents=True, exist_ok=True)
        album = Album(Path(tempfile.mkdtemp(dir=folder)) / f"pictures-{part:05d}.tar", encoding=self._encoding)
        rows: list[Row] = []
        for unit in item["units"]:
            if unit["kind"] in SCENES:
                rows += SCENES[unit["kind"]](self, run, unit, album, item["phrases"])
        rows += self._mined(run, [unit for unit in item["units"] if unit["kind"] == "mined"], album)
        album.close()
        table = conform(pa.Table.from_pylist(rows, schema=EDIT_PAIRS), EDIT_PAIRS)
        return [Output(part, table, files={album.path.name: album.path})]

    def layout(self, run: Run, unit: Mapping[str, Any], album: Album, texts: Sequence[str]) -> list[Row]:
        """Return the pairs of one drawn layout."""
        settings = self._settings
        generator = generator_of(settings.seed, "layout", unit["number"])
        name = f"layout-{settings.seed}-{unit['number']}"
        try:
            photo = None if unit["photo"] is None else pixels_of(run, unit["photo"], settings.max_side_px)
            scene = layout(name, phrases=phrases(texts), generator=generator, photo=photo)
        except EditError as error:
            return [refusal("text", name, f"{name}-refused", Refused((), error), None)]
        return self._text(run, scene, album, texts, generator, {})

    def text(self, run: Run, unit: Mapping[str, Any], album: Album, texts: Sequence[str]) -> list[Row]:
        """Return the pairs of the text in one image of the collection."""
        known = about(run, unit["row"])
        name = f"text-{known['images']['id']}"
        try:
            pixels = pixels_of(run, unit["row"], self._settings.max_side_px)
            scene = seen_scene(name, pixels, self._read(run)(pixels), row=unit["row"])
        except EditError as error:
            return [refusal("text", name, f"{name}-refused", Refused((), error), known["images"])]
        return self._text(run, scene, album, texts, generator_of(self._settings.seed, "text", known["images"]["id"]), known)

    def parametric(self, run: Run, unit: Mapping[str, Any], album: Album, _: Sequence[str]) -> list[Row]:
        """Return the pairs of one picture edited as a whole."""
        settings, known = self._settings, about(run, unit["row"])
        image = known["images"]
        name = f"picture-{image['id']}"
        try:
            scene = Scene(name, pixels_of(run, unit["row"], settings.max_side_px), {}, row=unit["row"])
        except EditError as error:
            return [refusal("parametric", name, f"{name}-refused", Refused((), error), image)]
        desk = Desk(scene, {}, generator_of(settings.seed, "picture", image["id"]))
        edits = picture_edits(desk, settings.picture_kinds, count=settings.versions, max_operations=settings.max_operations)
        kept, refused = versions(scene, edits, read=None)
        return self._rows("parametric", scene, kept, refused, album, known)

    def _text(
        self, run: Run, scene: Scene, album: Album, texts: Sequence[str], generator: np.random.Generator, known: dict[str, Row]
    ) -> list[Row]:
        settings = self._settings
        desk = Desk(scene, phrases(texts), generator)
        edits = text_edits(desk, settings.text_kinds, count=settings.versions, max_operations=settings.max_operations)
        try:
            kept, refused = versions(scene, edits, read=self._read(run))
        except EditError as error:
            return [refusal("text", scene.name, f"{scene.name}-refused", Refused((), error), known.get("images"))]
        return self._rows("text", scene, kept, refused, album, known)

    def _rows(
        self, kind: str, scene: Scene, kept: Sequence[Version], refused: Sequence[Refused], album: Album, known: dict[str, Row]
    ) -> list[Row]:
        """Return the rows of a scene's pairs and of its refused edits, and keep the pictures that pairs name."""
        image, size = known.get("images"), (scene.base.shape[1], scene.base.shape[0])
        rows = refusals(kind, scene.name, refused, image, size)
        if len(kept) < 2:
            return rows
        names = [f"{scene.name}-{number}" for number in range(len(kept))]
        captions = _captions(kind, scene, kept, known)
        pictures = [own_picture(album, names[0], scene.row, image, scene.base, max_side_px=self._settings.max_side_px)]
        pictures += [album.add(name, one.pixels) for name, one in zip(names[1:], kept[1:], strict=True)]
        for pair in pairs_of(kept):
            row = pair_row(kind, names[pair.source], names[pair.target], pair.change, image)
            row |= said(pair.change, size_px=size, salt=row["pair"], checks=pair.checks)
            row |= captioned(captions[pair.source], captions[pair.target])
            row |= {"source_picture": pictures[pair.source], "target_picture": pictures[pair.target]}
            if pair.mask is not None and pair.region is not None:
                first, second = sorted((pair.source, pair.target))
                mask = album.add(f"{scene.name}-{first}-{second}-mask", pair.mask)
                row |= {"region": list(map(float, pair.region)), "mask_picture": mask}
            rows.append(row)
        return rows

    def _mined(self, run: Run, units: Sequence[Mapping[str, Any]], album: Album) -> list[Row]:
        settings = self._settings
        if units and self._teller is None:
            self._teller = teller(self._backend, settings=self._model, prompts=self._prompts)
        if not units or self._teller is None:
            return []
        limits = {"min_ssim": settings.min_ssim, "max_ssim": settings.max_ssim}
        return mined_rows(run, units, album, self._teller, max_side_px=settings.max_side_px, **limits)

    def _read(self, run: Run) -> Callable[[Pixels], Sequence[Mapping[str, Any]]]:
        """Return the run's own reader, loaded when the first text is to be checked."""
        if self._reader is None:
            self._reader = Reader(**((run.manifest("ocr") or {}).get("parameters") or {}))
        return self._reader.read


SCENES: dict[str, Callable[..., list[Row]]] = {"layout": Pairer.layout, "text": Pairer.text, "parametric": Pairer.parametric}


def _captions(kind: str, scene: Scene, kept: Sequence[Version], known: dict[str, Row]) -> list[dict[str, str]]:
    """Return captions of all versions from what is measured in them; the base's by a model where the run has one."""
    states = [apply(version.change, scene.state) for version in kept]
    tags = known["tags"]["tags"] or [] if known else []
    # What the source says of a picture stays true when the picture changes as a whole, not when its text does.
    source = {key: known["images"][key] for key in ("caption", "metadata")} if kind == "parametric" else None
    lines, level = [one.read for one in kept], LEVELS[kind]
    found = describe([one.pixels for one in kept], states=states, lines=lines, tags=tags, source=source, level=level)
    own = written_by_model(known["captions"]["captions"], level=level) if known else {}
    found[0] = {language: own.get(language) or text for language, text in found[0].items()}
    return found
