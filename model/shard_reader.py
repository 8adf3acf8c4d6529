"""Single samples of shards, by row of the index: byte ranges -> pixels and captions. Whole shards are never read.

Shards lie in a folder or in an object store; bytes of many samples are asked for at once, shard by shard, so that the store can
join near ranges and answer several at a time. A sample that cannot be read is an error that names it and its shard.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from math import ceil
from pathlib import Path
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from curation.decode import decode, judged_policy
from curation.errors import DecodeError, SchemaError, SourceError
from curation.schema import SHARDS, conform
from curation.store import LocalStore, Store, open_store
from model.buckets import Shape, caption_weight

T = TypeVar("T")

READERS = 8
"""Shards of an object store that are asked at the same time."""

KEPT_CAPTIONS = 1 << 16
"""Samples whose captions stay in memory."""

Place = tuple[int, str]
"""Row of the index and name of the member: what a byte range is asked for by."""


def read_index(shards: Path | str, schema: pa.Schema = SHARDS) -> pa.Table:
    """Return the index of all shards of a folder or URL (SHARDS rows, or those of `schema`), in the order of their names.

    Raises SourceError if there is no shard-*.parquet, or one that is damaged, SchemaError if it holds something else.
    """
    store, names = _indices(shards)
    with ThreadPoolExecutor(READERS) as pool:
        tables = list(pool.map(lambda name: _conformed(_read(store, name, shards), schema, f"{name} of {shards}"), names))
    return pa.concat_tables(tables).combine_chunks()


def _conformed(table: pa.Table, schema: pa.Schema, what: str) -> pa.Table:
    try:
        return conform(table, schema)
    except SchemaError as error:
        raise SchemaError(
            f"{what}: {error}; it is no such index, or one by another version: `imageloom run` of its YAML writes it again"
        ) from error


def _read(store: Store, name: str, shards: Path | str) -> pa.Table:
    try:
        return pq.read_table(BytesIO(store.get(name)))
    except pa.ArrowException as error:
        raise SourceError(f"{name} of {shards} is damaged ({error}): write or copy the shard with its index again") from error


def holds_pairs(shards: Path | str) -> bool:
    """Tell whether a folder or URL holds shards of edit pairs, by the first index; raises SourceError if there is none."""
    store, names = _indices(shards)
    return "pair" in _read(store, names[0], shards).column_names


def _indices(shards: Path | str) -> tuple[Store, list[str]]:
    store = open_store(shards)
    names = _local(store) if isinstance(store, LocalStore) else [key for key in store.list("") if _is_index(key)]
    if not names:
        raise SourceError(f"{shards} holds no shard-*.parquet; give the folder that the shard stage wrote")
    return store, names


def _local(store: LocalStore) -> list[str]:
    return sorted(path.name for path in store.root.glob("shard-*.parquet"))


def _is_index(key: str) -> bool:
    return "/" not in key and key.startswith("shard-") and key.endswith(".parquet")


@dataclass(frozen=True)
class Caption:
    """One caption of a sample."""

    level: str
    language: str
    text: str


BAD_SAMPLE = (OSError, EOFError, SourceError, DecodeError, ValueError, LookupError, TypeError, ArithmeticError, MemoryError)
"""What reading and decoding raise for places, bytes and JSON that are not what the index says."""


class UnreadableSample(SourceError):
    """A sample of the shards cannot be read or decoded; the message names it and its shard."""


class Members:
    """Byte ranges of the samples of an index; `<member>_offset` and `<member>_length` are its columns."""

    def __init__(self, shards: Path | str, index: pa.Table, ids: Sequence[str], members: Sequence[str]) -> None:
        self.store = open_store(shards)
        self.ids = list(ids)
        shard = index.column("shard").combine_chunks().dictionary_encode()
        self._names: list[str] = shard.dictionary.to_pylist()
        self._shard_of_row = shard.indices.to_numpy()
        names = [f"{member}_{part}" for member in members for part in ("offset", "length")]
        self._numbers = {name: index.column(name).to_numpy().astype(np.int64) for name in names}

    def fetch(self, places: Sequence[Place]) -> dict[Place, bytes]:
        """Return the bytes of many members, one request or few per shard; those that cannot be had are left out.

        A member that is left out is asked for again, alone, by `read`, which then says why.
        """
        of_shard: dict[str, list[Place]] = defaultdict(list)
        for place in dict.fromkeys(places):
            of_shard[self._shard(place[0])].append(place)
        found: dict[Place, bytes] = {}
        if isinstance(self.store, LocalStore) or len(of_shard) == 1:
            answers = [self._together(shard, wanted) for shard, wanted in of_shard.items()]
        else:
            with ThreadPoolExecutor(min(READERS, len(of_shard))) as pool:
                answers = list(pool.map(self._together, of_shard, of_shard.values()))
        for answer in answers:
            found |= answer
        return found

    def read(self, row: int, member: str) -> bytes:
        """Return the bytes of one member; raises UnreadableSample."""
        with self.named(row):
            return self.store.get_range(self._shard(row), *self._range((row, member)))

    def size_bytes(self, row: int, member: str) -> int:
        """Return the length of a member."""
        return int(self._numbers[f"{member}_length"][row])

    @contextmanager
    def named(self, row: int) -> Iterator[None]:
        """Turn what reading and decoding a sample raises into UnreadableSample."""
        try:
            yield
        except UnreadableSample:
            raise
        except BAD_SAMPLE as error:
            shard, sample, why = self._shard(row), self.ids[row], str(error) or type(error).__name__
            raise UnreadableSample(
                f"sample {sample} of shard {shard} cannot be used: {why}; train with data.on_error: skip to replace such "
                "samples by others, or write the shard again"
            ) from error

    def _shard(self, row: int) -> str:
        name: str = self._names[self._shard_of_row[row]]
        return name

    def _together(self, shard: str, places: Sequence[Place]) -> dict[Place, bytes]:
        try:
            values = self.store.get_ranges(shard, [self._range(place) for place in places])
        except BAD_SAMPLE:
            return {}
        return dict(zip(places, values, strict=True))

    def _range(self, place: Place) -> tuple[int, int]:
        row, member = place
        return int(self._numbers[f"{member}_offset"][row]), int(self._numbers[f"{member}_length"][row])


class ShardReader:
    """Pixels and captions of single samples, by row of the index."""

    def __init__(self, shards: Path | str, index: pa.Table | None = None) -> None:
        """shards: a folder or a URL of a store. index: SHARDS rows, by default those found there."""
        self.index = read_index(shards) if index is None else index
        self.ids: list[str] = self.index.column("id").to_pylist()
        self.members = Members(shards, self.index, self.ids, ("image", "json"))
        self._sizes = [self.index.column(name).to_numpy().astype(np.int64) for name in ("width", "height")]
        self._captions: dict[int, tuple[Caption, ...]] = {}

    def pixels(self, row: int, shape: Shape, content: bytes | None = None) -> np.ndarray:
        """Return the image covering `shape`, cropped in the middle: uint8 (height, width, 3).

        content: the image's encoded bytes, if they are at hand. What ingest accepted under its own policy is accepted here,
        however large, small or long it is. Raises UnreadableSample.
        """
        width, height = (int(sizes[row]) for sizes in self._sizes)
        with self.members.named(row):
            encoded = self.members.read(row, "image") if content is None else content
            return cover_crop(covering(encoded, width, height, shape), shape)

    def captions(self, row: int, content: bytes | None = None) -> tuple[Caption, ...]:
        """Return the captions of a sample in the order of its JSON member, `content`; raises UnreadableSample."""
        return kept(self._captions, row, lambda: self._parsed(row, content))

    def _parsed(self, row: int, content: bytes | None) -> tuple[Caption, ...]:
        with self.members.named(row):
            listed = json.loads(json.loads(self.members.read(row, "json") if content is None else content)["captions_json"])
            if not isinstance(listed, list):
                raise TypeError(f"its captions_json holds {listed!r:.40} where a list belongs")
            return tuple(Caption(c["level"], c["language"], as_text(c["text"])) for c in listed)


def as_text(value: object) -> str:
    """Return a text of a JSON member; raises TypeError when it is something else."""
    if not isinstance(value, str):
        raise TypeError(f"its JSON has {value!r:.40} where a text belongs")
    return value


def kept(known: dict[int, T], row: int, read: Callable[[], T]) -> T:
    """Return what is known of a row, or what `read` gives, which is then known; a full memory begins anew."""
    if row not in known:
        found = read()
        if len(known) >= KEPT_CAPTIONS:
            known.clear()
        known[row] = found
        return found
    return known[row]


def covering(encoded: bytes, width_px: int, height_px: int, shape: Shape) -> np.ndarray:
    """Return the decoded image of a recorded size, no smaller than what covering `shape` needs; raises DecodeError."""
    cover = max(shape.width_px / width_px, shape.height_px / height_px)
    policy = judged_policy(width_px=width_px, height_px=height_px, size_bytes=len(encoded))
    return decode(encoded, policy=policy, max_side_px=max(1, ceil(2 * cover * max(width_px, height_px)))).pixels


def cover_crop(pixels: np.ndarray, shape: Shape) -> np.ndarray:
    """Return uint8 pixels (H, W, 3) scaled with Lanczos to cover `shape` and cropped in the middle."""
    height, width = pixels.shape[:2]
    if (width, height) == shape:
        return pixels
    scale = max(shape.width_px / width, shape.height_px / height)
    crop_width, crop_height = shape.width_px / scale, shape.height_px / scale
    left, top = (width - crop_width) / 2, (height - crop_height) / 2
    box = (left, top, left + crop_width, top + crop_height)
    return np.array(Image.fromarray(pixels).resize(shape, Image.Resampling.LANCZOS, box=box))


def drawn_caption(
    captions: Sequence[Caption], uniform: float, *, level_weights: Mapping[str, float], language_weights: Mapping[str, float]
) -> Caption:
    """Return the caption that `uniform` in [0, 1) falls on when each has its weight; an empty one if none has any."""
    weights = np.array([caption_weight(c.level, c.language, level_weights, language_weights) for c in captions])
    if not len(weights) or weights.sum() <= 0:
        return Caption("", "", "")
    return captions[int(np.searchsorted(np.cumsum(weights) / weights.sum(), uniform, side="right"))]


def draw_caption(
    captions: Sequence[Caption], uniform: float, *, level_weights: Mapping[str, float], language_weights: Mapping[str, float]
) -> str:
    """Return the text of `drawn_caption`."""
    return drawn_caption(captions, uniform, level_weights=level_weights, language_weights=language_weights).text
