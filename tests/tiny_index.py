"""An index of shards that do not exist, for tests of what is planned over it."""

import pyarrow as pa

from curation.schema import SHARDS


def index(
    buckets: dict[str, int], *, weights: list[float] | None = None, levels: tuple[str, ...] = ("source",), words: int = 2
) -> pa.Table:
    names = [name for name, count in buckets.items() for _ in range(count)]
    lengths = [{"language": "en", "level": level, "characters": 5, "words": words} for level in levels]
    rows = [
        {
            "id": f"{i:032x}", "shard": "shard-000000.tar", "key": f"{i}", "row": i, "image_member": f"{i}.jpg",
            "image_offset": 512 * i, "image_length": 100, "json_offset": 0, "json_length": 10,
            "width": int(name.split("x")[0]), "height": int(name.split("x")[1]), "bucket": name, "group": "a" if i % 2 else "b",
            "weight": 1.0 if weights is None else weights[i], "caption_lengths": lengths,
        }
        for i, name in enumerate(names)
    ]  # fmt: skip
    return pa.Table.from_pylist(rows, schema=SHARDS)
