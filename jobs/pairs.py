"""Edit pairs: units of work in, rows of EDIT_PAIRS and a tar of the pictures that editing made out."""

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from captioning.instructions import Said, in_order, instruction, say, task_of
from captioning.ocr import Reader
from captioning.pair_captions import describe, facts_of, texts_of
from captioning.difference import Told, from_facts
from curation.album import Album, Encoding, is_plain, untouched
from curation.edits import Edit, apply
from curation.errors import EditError
from curation.layouts import layout
from curation.pairs import (
    Refused,
    Version,
    generator_of,
    pair_name,
    pairs_of,
    picture_edits,
    plain_edit,
    seen_scene,
    text_edits,
    versions,
)
from curation.phrases import phrases
from curation.pixels import read_pixels
from curation.scene import Scene
from curation.schema import EDIT_PAIRS, conform
from curation.tables import Run
from curation.text_edits import Desk
from curation.text_lines import Pixels
from graph.near_pairs import ssim
from jobs.stage import Item, Output

Row = dict[str, Any]
TABLES = ("images", "metrics", "tags", "ocr", "captions")
LAYOUTS = "layouts"
"""Group of the pairs of drawn layouts."""


@dataclass(frozen=True)
class Settings:
    """What a unit's pairs depend on besides the unit."""

    seed: int
    versions: int
    max_operations: int
    text_kinds: Sequence[str]
    picture_kinds: Sequence[str]
    max_side_px: int
    max_ssim: float


class Pairer:
    """Holds the reader that checks rendered text; maps one item to its part."""

    def __init__(self, *, encoding: Encoding = "png", **parameters: Any) -> None:
        self._encoding = encoding
        names = Settings.__dataclass_fields__
        self._settings = Settings(**{name: value for name, value in parameters.items() if name in names})
        self._reader: Reader | None = None

    def __call__(self, run: Run, item: Item) -> list[Output]:
        """Make the pairs of one item."""
        (part,) = item["parts"]
        folder = run.folder("edit_pairs") / "_attempts"
        folder.mkdir(parents=True, exist_ok=True)
        album = Album(Path(tempfile.mkdtemp(dir=folder)) / f"pictures-{part:05d}.tar", encoding=self._encoding)
        rows: list[Row] = []
        for unit in item["units"]:
            rows += UNITS[unit["kind"]](self, run, unit, album, item["phrases"])
        album.close()
        table = conform(pa.Table.from_pylist(rows, schema=EDIT_PAIRS), EDIT_PAIRS)
        return [Output(part, table, files={album.path.name: album.path})]

    def _read(self, run: Run) -> Callable[[Pixels], Sequence[Mapping[str, Any]]]:
        """Return the run's own reader, loaded when the first text is to be checked."""
        if self._reader is None:
            self._reader = Reader(**((run.manifest("ocr") or {}).get("parameters") or {}))
        return self._reader.read

    def layout(self, run: Run, unit: Mapping[str, Any], album: Album, texts: Sequence[str]) -> list[Row]:
        """Return the pairs of one drawn layout."""
        settings = self._settings
        generator = generator_of(settings.seed, "layout", unit["number"])
        photo = None if unit["photo"] is None else _pixels(run, unit["photo"], settings.max_side_px)
        name = f"layout-{settings.seed}-{unit['number']}"
        scene = layout(name, phrases=phrases(texts), generator=generator, photo=photo)
        return self._text(run, scene, album, texts, generator, about={})

    def text(self, run: Run, unit: Mapping[str, Any], album: Album, texts: Sequence[str]) -> list[Row]:
        """Return the pairs of the text in one image of the collection."""
        about = _about(run, unit["row"])
        image = about["images"]
        name = f"text-{image['id']}"
        try:
            pixels = _pixels(run, unit["row"], self._settings.max_side_px)
            scene = seen_scene(name, pixels, self._read(run)(pixels), row=unit["row"])
        except EditError as error:
            return [_refusal("text", name, Refused((), error), image)]
        return self._text(run, scene, album, texts, generator_of(self._settings.seed, "text", image["id"]), about)

    def parametric(self, run: Run, unit: Mapping[str, Any], album: Album, _: Sequence[str]) -> list[Row]:
        """Return the pairs of one picture edited as a whole."""
        settings, about = self._settings, _about(run, unit["row"])
        image = about["images"]
        name = f"picture-{image['id']}"
        try:
            pixels = _pixels(run, unit["row"], settings.max_side_px)
        except EditError as error:
            return [_refusal("parametric", name, Refused((), error), image)]
        scene = Scene(name, pixels, {}, row=unit["row"])
        desk = Desk(scene, {}, generator_of(settings.seed, "picture", image["id"]))
        edits = picture_edits(desk, settings.picture_kinds, count=settings.versions, max_operations=settings.max_operations)
        kept, refused = versions(scene, edits, read=None)
        source = {key: image[key] for key in ("caption", "metadata")}
        return self._rows("parametric", scene, kept, refused, album, about, source=source)

    def mined(self, run: Run, unit: Mapping[str, Any], album: Album, _: Sequence[str]) -> list[Row]:
        """Return both directions of a pair of alike images."""
        sides = [_about(run, row) for row in unit["rows"]]
        names = [f"image-{side['images']['id']}" for side in sides]
        try:
            pixels = [_pixels(run, row, self._settings.max_side_px) for row in unit["rows"]]
            alike = ssim(*pixels)
            if alike >= self._settings.max_ssim:
                raise EditError("too_alike", f"SSIM {alike:.3f} is not below {self._settings.max_ssim}")
            facts = [facts_of(side["images"], side["metrics"], side["tags"], side["ocr"]) for side in sides]
            told = [from_facts(*facts), from_facts(*facts[::-1])]
            if None in told:
                raise EditError("no_difference", "nothing that was measured tells the two apart")
        except EditError as error:
            return [_refusal("mined", names[0], Refused((), error), sides[0]["images"], target=names[1])]
        checks = {"cosine": unit["similarity"], "ssim": round(alike, 4)}
        pictures = [
            self._own(album, name, row, side["images"], pixel)
            for name, row, side, pixel in zip(names, unit["rows"], sides, pixels, strict=True)
        ]
        captions = [texts_of(side["captions"]["captions"], level="medium") for side in sides]
        made = []
        for (a, b), said in zip(((0, 1), (1, 0)), told, strict=True):
            if said is not None:
                row = _pair_row("mined", names[a], names[b], (), sides[a]["images"], base=None)
                row |= _told(said, checks) | _captioned(captions[a], captions[b])
                made.append(row | {"source_picture": pictures[a], "target_picture": pictures[b]})
        return made

    def _text(
        self, run: Run, scene: Scene, album: Album, texts: Sequence[str], generator: np.random.Generator, about: Row
    ) -> list[Row]:
        settings = self._settings
        desk = Desk(scene, phrases(texts), generator)
        edits = text_edits(desk, settings.text_kinds, count=settings.versions, max_operations=settings.max_operations)
        try:
            kept, refused = versions(scene, edits, read=self._read(run))
        except EditError as error:
            return [_refusal("text", scene.name, Refused((), error), about.get("images"))]
        return self._rows("text", scene, kept, refused, album, about)

    def _rows(self, kind: str, scene: Scene, kept: Sequence[Version], refused: Sequence[Refused], album: Album, about: Row,
              source: Mapping[str, Any] | None = None) -> list[Row]:  # fmt: skip
        """Return the rows of a scene's pairs and of its refused edits, and keep the pictures that pairs name."""
        image = about.get("images")
        size = scene.base.shape[1], scene.base.shape[0]
        rows = [
            _refusal(kind, scene.name, one, image, target=f"{scene.name}-refused-{number}", size_px=size)
            for number, one in enumerate(refused)
        ]
        if len(kept) < 2:
            return rows
        names = [f"{scene.name}-{number}" for number in range(len(kept))]
        captions = _captions(scene, kept, about, source)
        pictures = [
            self._own(album, names[0], scene.row, image, scene.base),
            *(album.add(name, one.pixels) for name, one in zip(names[1:], kept[1:], strict=True)),
        ]
        for pair in pairs_of(kept):
            row = _pair_row(kind, names[pair.source], names[pair.target], pair.change, image, base=image and image["id"])
            row |= _said(pair.change, say(pair.change, size_px=size, salt=row["pair"]), pair.checks)
            row |= _captioned(captions[pair.source], captions[pair.target])
            row |= {"source_picture": pictures[pair.source], "target_picture": pictures[pair.target]}
            if pair.mask is not None and pair.region is not None:
                mask_name = f"{scene.name}-{min(pair.source, pair.target)}-{max(pair.source, pair.target)}-mask"
                row |= {"region": list(map(float, pair.region)), "mask_picture": album.add(mask_name, pair.mask)}
            rows.append(row)
        return rows

    def _own(self, album: Album, name: str, row: int | None, image: Row | None, pixels: Pixels) -> Row:
        """Return where a base's bytes are: the image's own when they serve, else in the album."""
        if row is not None and image is not None and is_plain(image, max_side_px=self._settings.max_side_px):
            return untouched(row, width=image["width"], height=image["height"])
        return album.add(name, pixels)


UNITS: dict[str, Callable[..., list[Row]]] = {
    "layout": Pairer.layout,
    "text": Pairer.text,
    "parametric": Pairer.parametric,
    "mined": Pairer.mined,
}


def _about(run: Run, row: int) -> dict[str, Row]:
    """Return an image's row of every table that pairs speak of."""
    return {table: run.take(table, np.array([row])).to_pylist()[0] for table in TABLES}


def _pixels(run: Run, row: int, max_side_px: int) -> Pixels:
    """Return an image's pixels, its long side at most `max_side_px`; raises EditError (unreadable) when they are gone."""
    images = run.take("images", np.array([row]))
    (decoded,) = read_pixels(images, max_side_px=max_side_px)
    if decoded is None:
        raise EditError("unreadable", f"{images['key'][0].as_py()} cannot be decoded any more")
    return np.ascontiguousarray(decoded.pixels)


def _captions(scene: Scene, kept: Sequence[Version], about: Row, source: Mapping[str, Any] | None) -> list[dict[str, str]]:
    """Return captions of all versions; the base's are the run's own where it has them."""
    states = [apply(version.change, scene.state) for version in kept]
    tags = about["tags"]["tags"] or [] if about else []
    found = describe([one.pixels for one in kept], states=states, lines=[one.read for one in kept], tags=tags, source=source)
    own = texts_of(about["captions"]["captions"], level="medium") if about else {}
    found[0] = {language: own.get(language) or text for language, text in found[0].items()}
    return found


def _pair_row(kind: str, source: str, target: str, change: Edit, image: Row | None, *, base: str | None) -> Row:
    row: Row = {field.name: None for field in EDIT_PAIRS}
    row |= {"pair": pair_name(source, target, change), "kind": kind, "task": "attribute", "source": source, "target": target}
    row |= {"base": base, "group": image["group"] if image else LAYOUTS, "operations": [], "backend": "facts", "checks": "{}"}
    return row | {name: "" for name in EDIT_PAIRS.names if name.startswith(("instruction_", "caption_"))}


def _said(change: Edit, said: Sequence[Said], checks: Mapping[str, Any]) -> Row:
    operations = [
        {"operation": one.name, "parameters": _json(plain_edit((operation,))[0])}
        for one, operation in zip(said, in_order(change), strict=True)
    ]
    evidence = [{"clause": one.en, "source": one.name, "value": one.value} for one in said]
    sentences = {f"instruction_{language}": instruction(said, language) for language in ("en", "zh")}
    return {"task": task_of(said), "operations": operations, "evidence": evidence, "checks": _json(checks), **sentences}


def _told(told: Told, checks: Mapping[str, Any]) -> Row:
    fault = {} if told.fault is None else {"fault": told.fault}
    sentences = {f"instruction_{language}": text for language, text in told.instruction.items()}
    return {
        "task": told.task,
        "evidence": list(told.evidence),
        "backend": told.backend,
        "checks": _json({**checks, **fault}),
        **sentences,
    }


def _captioned(source: Mapping[str, str], target: Mapping[str, str]) -> Row:
    sides = (("source", source), ("target", target))
    return {f"caption_{side}_{language}": text for side, texts in sides for language, text in texts.items()}


def _refusal(
    kind: str, name: str, refused: Refused, image: Row | None, *, target: str | None = None, size_px: tuple[int, int] = (1, 1)
) -> Row:
    """Return the row of an edit that was not made; it has no pictures, and its reason in `error` and `checks`."""
    made = _pair_row(kind, name, target or f"{name}-refused", refused.change, image, base=image and image["id"])
    said = say(refused.change, size_px=size_px, salt=made["pair"]) if refused.change else []
    if said:
        made |= _said(refused.change, said, {})
    return made | {"error": refused.error.code, "checks": _json({"refused": refused.error.detail})}


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True)
