"""A folder of photographs becomes a folder of originals, altered copies and look-alikes, with truth.csv beside them.

    PHOTOS/photos/     mutually distinct photographs; every twelfth is cut into tiles instead of being copied
    PHOTOS/series/     pictures of one subject that are not copies: stereo pairs, other poses (optional)
    PHOTOS/textures/   large self-similar pictures, cut into tiles (optional)
    PHOTOS/objects/    things of one class on white (optional)

Files get numbers in random order as names, so that neither name nor order tells a tool anything.
"""

import math
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.altered import KINDS, STRENGTHS, Ranges, alter, part
from benchmarks.lookalikes import rendered, tiles
from benchmarks.truth import Entry, write_truth

MAX_SIDE_PX = 1024
TILED_EVERY = 12
PLAIN_DEVIATION = 10.0
OVERLAP = 1 / 8
"""Tiles of every second picture share this much of their area with each neighbour."""
FAMILIES = 3

File = tuple[Entry, str, bytes]  # truth without its path, extension, content
Cell = tuple[str, str]


def make_set(photos: Path, out: Path, *, ranges: Ranges, seed: int, copies: int = 12, per_kind: int = 40) -> list[Entry]:
    """Write the files and truth.csv into `out`, which must be absent, and return the truth.

    copies: altered copies of each photograph, dealt so that all kinds and strengths come equally often.
    per_kind: rendered look-alikes of each kind.
    """
    files = [*_copied(photos / "photos", ranges, seed, copies), *_tiled(photos), *_singles(photos), *_drawn(per_kind, seed)]
    out.mkdir(parents=True)
    entries = []
    for number, place in enumerate(np.random.default_rng([seed, 9]).permutation(len(files))):
        entry, extension, content = files[place]
        name = f"{number:05d}.{extension}"
        (out / name).write_bytes(content)
        entries.append(_named(entry, name))
    write_truth(out / "truth.csv", entries)
    return entries


def _named(entry: Entry, path: str) -> Entry:
    return Entry(path, *(getattr(entry, name) for name in list(Entry.__dataclass_fields__)[1:]))


def pictures(folder: Path) -> list[Path]:
    """Return the files of a folder, sorted; none when it is absent."""
    return sorted(path for path in folder.glob("*") if path.is_file())


def _source(path: Path) -> str:
    return f"{path.parent.name}/{path.stem}"


def load(path: Path) -> Image.Image:
    """Return RGB pixels, transparency on white, at most MAX_SIDE_PX long."""
    with Image.open(path) as opened:
        image = opened.convert("RGBA") if opened.mode in ("RGBA", "LA", "P") else opened.convert("RGB")
    if image.mode == "RGBA":
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    image.thumbnail((MAX_SIDE_PX, MAX_SIDE_PX), Image.Resampling.LANCZOS)
    return image


def _encode(image: Image.Image, quality: int = 92) -> bytes:
    stream = BytesIO()
    image.save(stream, "jpeg", quality=quality)
    return stream.getvalue()


def _is_tiled(place: int) -> bool:
    return place % TILED_EVERY == TILED_EVERY - 1


def _copied(folder: Path, ranges: Ranges, seed: int, copies: int) -> Iterator[File]:
    """Yield every photograph with its copies, one of the same bytes for every eighth, and a part for every second."""
    sources = [path for place, path in enumerate(pictures(folder)) if not _is_tiled(place)]
    hands = deal(len(sources), copies, seed)
    for place, path in enumerate(sources):
        original = _encode(load(path))
        image = Image.open(BytesIO(original)).convert("RGB")
        yield Entry("", _source(path), "original", "", "original"), "jpg", original
        if place % 8 == 0:
            yield Entry("", _source(path), "same bytes", "", "copy"), "jpg", original
        for number, (kind, strength) in enumerate(hands[place]):
            generator = np.random.default_rng([seed, 1, place, number])
            made = alter(image, kind=kind, strength=strength, ranges=ranges, generator=generator)
            yield Entry("", _source(path), kind, strength, "copy", *made.box, made.share), made.extension, made.encoded()
        if place % 2:
            made = part(image, generator=np.random.default_rng([seed, 2, place]))
            yield Entry("", _source(path), "part", "", "part", *made.box, made.share), made.extension, made.encoded()


def deal(hands: int, size: int, seed: int) -> list[list[Cell]]:
    """Return for each of `hands` pictures `size` different (kind, strength), all dealt equally often up to one deck."""
    deck = [(kind, strength) for kind in KINDS for strength in STRENGTHS]
    generator = np.random.default_rng([seed, 0])
    cards = [deck[n] for _ in range(math.ceil(hands * size / len(deck)) + 1) for n in generator.permutation(len(deck))]
    dealt = []
    for _ in range(hands):
        hand: list[Cell] = []
        for place in range(len(cards)):  # the first cards of the stack that the hand does not hold yet
            if cards[place] not in hand:
                hand.append(cards[place])
            if len(hand) == size:
                break
        for card in hand:
            cards.remove(card)
        dealt.append(hand)
    return dealt


def _tiled(photos: Path) -> Iterator[File]:
    """Yield tiles of the textures and of every twelfth photograph, and each such picture whole."""
    sources = [path for place, path in enumerate(pictures(photos / "photos")) if _is_tiled(place)]
    for place, path in enumerate(sources + pictures(photos / "textures")):
        image = load(path)
        yield Entry("", _source(path), "whole", "", "lookalike"), "jpg", _encode(image)
        for box, tile in tiles(image, side_px=160, overlap=OVERLAP * (place % 2)):
            kind = "plain" if is_plain(tile) else "tile"
            yield Entry("", _source(path), kind, "", "lookalike", *box), "jpg", _encode(tile)


def is_plain(tile: Image.Image) -> bool:
    """Return whether a tile shows nothing: the grey values of its 64 x 64 miniature deviate by less than PLAIN_DEVIATION."""
    return bool(np.asarray(tile.convert("L").resize((64, 64))).std() < PLAIN_DEVIATION)


def _singles(photos: Path) -> Iterator[File]:
    for kind in ("series", "objects"):
        for path in pictures(photos / kind):
            yield Entry("", _source(path), kind, "", "lookalike"), "jpg", _encode(load(path))


def _drawn(per_kind: int, seed: int) -> Iterator[File]:
    for number, (kind, image) in enumerate(rendered(per_kind=per_kind, families=FAMILIES, seed=seed)):
        yield Entry("", f"{kind}-{number:04d}", kind, "", "lookalike"), "png", _png(image)


def _png(image: Image.Image) -> bytes:
    stream = BytesIO()
    image.save(stream, "png")
    return stream.getvalue()
