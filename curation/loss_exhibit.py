"""The report's section on losses of single images: which groups, captions and communities the model knows badly or too well."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curation.errors import ConfigError
from curation.exhibits import described, thumbnails
from curation.relative_loss import by_column, by_time, extremes, relative_losses
from curation.schema import SAMPLE_LOSS, conform
from curation.tables import Run

MIN_COMMUNITY = 5
"""Images below which the mean of a community says little."""
MAX_ROWS = 8
"""Communities listed at each end."""
THUMBNAIL_BYTES = 900_000
"""All pictures of the section together."""


def loss_exhibit(run: Run, *, losses: pa.Table | None = None, num_examples: int = 6) -> dict[str, Any] | None:
    """Return what the page shows of SAMPLE_LOSS, None without it: tables by time, source, caption and community, and examples.

    losses: of a model that was trained outside of the run, on its shards; by default those of the run's own stage.
    """
    if losses is not None:
        losses = rows_in(run, losses)
    elif not run.has("sample_loss"):
        return None
    else:
        losses = run.read("sample_loss")
    relative = relative_losses(losses)
    if not relative.num_rows:
        return None
    lists = _lists(relative, num_examples)
    communities = _communities(run, relative)
    rows = [one["row"] for listed in lists for one in listed["examples"]]
    rows += [member for one in communities for member in one["members"]]
    pictures = thumbnails(run, rows, side_px=120, max_total_bytes=THUMBNAIL_BYTES)
    known, captions = described(run, rows), _captions(run, rows)
    for listed in lists:
        listed["examples"] = [_shown(one, known, pictures, captions) for one in listed["examples"]]
    for community in communities:
        community["members"] = [known[row] | {"picture": pictures.get(row)} for row in community["members"]]
    return {
        "images": len(set(relative["row"].to_pylist())),
        "step": losses["step"][0].as_py(),
        "times": by_time(losses).to_pylist(),
        "groups": by_column(relative, "group").to_pylist(),
        "levels": by_column(_caption_kinds(relative), "caption").to_pylist(),
        "communities": communities,
        "lists": lists,
    }


def rows_in(run: Run, losses: pa.Table) -> pa.Table:
    """Return SAMPLE_LOSS rows with `row` as the images of `run` are numbered, by id; those of other collections are left out.

    Raises ConfigError when none is of this run.
    """
    losses = conform(losses, SAMPLE_LOSS)
    ids = run.read("images", ["id"])["id"].combine_chunks()
    rows = pc.index_in(losses["id"].combine_chunks(), value_set=ids)
    found = losses.set_column(losses.column_names.index("row"), SAMPLE_LOSS.field("row"), rows.cast(pa.int64()))
    found = found.filter(pc.is_valid(found["row"]))
    if not len(found):
        raise ConfigError(f"none of {len(losses)} losses is of an image in {run.root}; give those of its own shards")
    return found


def _lists(relative: pa.Table, num: int) -> list[dict[str, Any]]:
    """Return the three lists of examples with their rows of `relative`."""
    lists = [
        {
            "name": "Hardest",
            "meaning": "the model predicts these worst: rare, detailed, damaged, or captioned wrongly",
            "examples": extremes(relative, [("hardness", "descending")], num=num).to_pylist(),
        },
        {
            "name": "Captions that help least",
            "meaning": "with its caption the model predicts the image no better than without: it may be wrong, or say nothing",
            "examples": extremes(relative, [("help", "ascending")], num=num).to_pylist(),
        },
        {
            "name": "Suspiciously easy",
            "meaning": "the model predicts these best: blank or flat pictures, or copies that were seen again and again",
            "examples": extremes(relative, [("hardness", "ascending")], num=num).to_pylist(),
        },
    ]
    return [listed for listed in lists if listed["examples"]]


def _caption_kinds(relative: pa.Table) -> pa.Table:
    pairs = zip(relative["level"].to_pylist(), relative["language"].to_pylist(), strict=True)
    return relative.append_column("caption", pa.array([f"{level}, {language}" for level, language in pairs]))


def _communities(run: Run, relative: pa.Table) -> list[dict[str, Any]]:
    """Return the hardest and the easiest semantic communities with up to four members each; none without HIERARCHY."""
    if not run.has("hierarchy"):
        return []
    rows = relative["row"].to_numpy()
    level = run.take("hierarchy", np.unique(rows), ["level_1"])["level_1"].to_numpy()
    community = level[np.searchsorted(np.unique(rows), rows)]
    placed = relative.append_column("community", pa.array(community))
    found = by_column(placed, "community", min_images=MIN_COMMUNITY).to_pylist()
    ends = found if len(found) <= 2 * MAX_ROWS else [*found[:MAX_ROWS], *found[-MAX_ROWS:]]
    return [one | {"members": [int(row) for row in np.unique(rows[community == one["community"]])[:4]]} for one in ends]


def _captions(run: Run, rows: Sequence[int]) -> Mapping[int, list[dict[str, Any]]]:
    if not run.has("captions"):
        return {}
    listed = run.take("captions", np.array(rows, dtype=np.int64), ["captions"])["captions"].to_pylist()
    return {row: captions or [] for row, captions in zip(rows, listed, strict=True)}


def _shown(
    one: Mapping[str, Any],
    known: Mapping[int, dict[str, Any]],
    pictures: Mapping[int, str],
    captions: Mapping[int, Sequence[Mapping[str, Any]]],
) -> dict[str, Any]:
    kind = (one["level"], one["language"])
    text = next((c["text"] for c in captions.get(one["row"], ()) if (c["level"], c["language"]) == kind), "")
    return known[one["row"]] | {"picture": pictures.get(one["row"]), "text": text} | dict(one)
