"""The report's watermarks: which strings are on many pictures of a source, and the lines of an example that are such strings."""

from collections.abc import Sequence

import numpy as np

from curation.exhibits import Exhibit
from curation.tables import Run


def watermark_rows(run: Run, *, num: int = 12) -> list[Exhibit]:
    """Return group, text, images and share of the commonest watermarks, as WATERMARKS has them; none when there are none."""
    if not (run.has("watermarks") and run.has("images")):
        return []
    table = run.read("watermarks", ["text", "share"]).append_column("group", run.read("images", ["group"])["group"])
    named = table.filter(table["text"].is_valid()).group_by(["group", "text"]).aggregate([("text", "count"), ("share", "max")])
    rows = sorted(named.to_pylist(), key=lambda row: (-row["share_max"], -row["text_count"], row["group"], row["text"]))
    return [
        {"group": row["group"], "text": row["text"], "images": row["text_count"], "share": row["share_max"]} for row in rows[:num]
    ]


def marks_of(run: Run, rows: Sequence[int]) -> list[list[str]]:
    """Return for each global row the texts of its lines that are watermarks."""
    if not run.has("watermarks"):
        return [[] for _ in rows]
    found = run.take("watermarks", np.array(list(rows), dtype=np.int64), ["texts"])["texts"].to_pylist()
    return [own or [] for own in found]
