"""Pairs of alike images: a closer look at their pixels, then the difference caption, both directions."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from captioning.difference import Side, Told, from_facts, from_model
from captioning.pair_captions import facts_of, texts_of
from captioning.prompting import Prompts
from curation.album import Album, encode
from curation.errors import EditError
from curation.pairs import Refused
from curation.tables import Run
from graph.near_pairs import ssim
from jobs.backends import load_backend
from jobs.pair_rows import Row, about, captioned, own_picture, pair_row, pixels_of, refusal, told

Teller = Callable[[Sequence[tuple[Side, Side]]], list[Told | EditError]]


@dataclass(frozen=True)
class Found:
    """One pair that is alike enough and not too alike; names, rows and pictures of both images."""

    names: tuple[str, str]
    abouts: tuple[dict[str, Row], dict[str, Row]]
    pictures: tuple[Row, Row]
    sides: tuple[Side, Side]
    checks: Mapping[str, Any]


def teller(backend: str, *, settings: Mapping[str, Any], prompts: str | None) -> Teller:
    """Return what writes difference captions: facts, or the model behind `vlm` or `endpoint` with facts to fall back on."""
    if backend == "facts":
        return lambda pairs: [from_facts(source.facts, target.facts) for source, target in pairs]
    model, templates = load_backend(backend, settings), Prompts(prompts)
    return lambda pairs: from_model(pairs, model, templates, name=backend)


def mined_rows(
    run: Run,
    units: Sequence[Mapping[str, Any]],
    album: Album,
    tell: Teller,
    *,
    max_side_px: int,
    min_ssim: float,
    max_ssim: float,
) -> list[Row]:
    """Return both directions of every unit's pair, or the row that says why there is none."""
    rows: list[Row] = []
    found: list[Found] = []
    for unit in units:
        looked = _look(run, unit, album, max_side_px, min_ssim, max_ssim)
        if isinstance(looked, Found):
            found.append(looked)
        else:
            rows.append(looked)
    directed = [(one, a, 1 - a) for one in found for a in (0, 1)]
    instructions = tell([(one.sides[a], one.sides[b]) for one, a, b in directed]) if directed else []
    for (one, a, b), difference in zip(directed, instructions, strict=True):
        rows.append(_row(one, a, b, difference))
    return rows


def _look(run: Run, unit: Mapping[str, Any], album: Album, max_side_px: int, min_ssim: float, max_ssim: float) -> Found | Row:
    """Return the pair when its structural similarity lies in [min_ssim, max_ssim), else its refusal."""
    row_a, row_b = unit["rows"]
    abouts = about(run, row_a), about(run, row_b)
    names = f"image-{abouts[0]['images']['id']}", f"image-{abouts[1]['images']['id']}"
    try:
        pixels = pixels_of(run, row_a, max_side_px), pixels_of(run, row_b, max_side_px)
        alike = ssim(*pixels)
        if alike >= max_ssim:
            raise EditError("too_alike", f"SSIM {alike:.3f} is not below {max_ssim}: the same picture, or the next frame")
        if alike < min_ssim:
            raise EditError("too_different", f"SSIM {alike:.3f} is below {min_ssim}: another scene, not an edit")
    except EditError as error:
        return refusal("mined", names[0], names[1], Refused((), error), abouts[0]["images"], based=False)
    pictures = [
        own_picture(album, name, row, side["images"], picture, max_side_px=max_side_px)
        for name, row, side, picture in zip(names, (row_a, row_b), abouts, pixels, strict=True)
    ]
    sides = [_side(one, encode(picture, "jpeg")) for one, picture in zip(abouts, pixels, strict=True)]
    checks = {"cosine": unit["similarity"], "ssim": round(alike, 4)}
    return Found(names, abouts, (pictures[0], pictures[1]), (sides[0], sides[1]), checks)


def _side(one: Mapping[str, Row], encoded: bytes) -> Side:
    captions = texts_of(one["captions"]["captions"], level="medium")
    facts = facts_of(one["images"], one["metrics"], one["tags"], one["ocr"])
    return Side(facts, encoded, tuple(text for text in captions.values() if text))


def _row(found: Found, a: int, b: int, difference: Told | EditError) -> Row:
    image = found.abouts[a]["images"]
    if isinstance(difference, EditError):
        return refusal("mined", found.names[a], found.names[b], Refused((), difference), image, based=False)
    captions = [texts_of(one["captions"]["captions"], level="medium") for one in found.abouts]
    row = pair_row("mined", found.names[a], found.names[b], (), image, based=False)
    row |= told(difference, found.checks) | captioned(captions[a], captions[b])
    return row | {"source_picture": found.pictures[a], "target_picture": found.pictures[b]}
