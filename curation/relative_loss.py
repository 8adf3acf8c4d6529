"""SAMPLE_LOSS or PAIR_LOSS -> one number per sample and caption: how hard it is, and how much its caption helps.

A loss at t = 0.2 is several times one at 0.8, so every loss is divided by the mean of its own time before times are averaged:
hardness 1 is average, 1.2 a fifth harder at every time. Help is the share of the mean loss that the caption takes away, from the
same noise; wrong captions take nothing away, or add.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

KEYS = ["row", "group", "level", "language", "held_out"]
PAIR_KEYS = ["pair", "kind", "task", "group", "level", "language", "held_out"]


def relative_losses(losses: pa.Table, *, keys: Sequence[str] = KEYS) -> pa.Table:
    """Return one row per sample and caption, ordered by the first of `keys`: those columns, `hardness` and `help`.

    losses: SAMPLE_LOSS of one checkpoint, or PAIR_LOSS with PAIR_KEYS; rows with an error are left out. help is null where there
    is no loss without caption.
    """
    known = losses.filter(pc.is_valid(losses["loss"]))
    t, loss = known["t"].to_numpy(), known["loss"].to_numpy().astype(np.float64)
    _, which = np.unique(t, return_inverse=True)
    mean = np.bincount(which, loss) / np.maximum(1, np.bincount(which)) if len(t) else np.zeros(0)
    typical = mean[which] if len(t) else loss
    gain = known["loss_empty"].cast(pa.float64()).to_numpy(zero_copy_only=False) - loss
    measured = known.select(keys).append_column("hardness", pa.array(loss / typical))
    measured = measured.append_column("help", pa.array(gain / typical, from_pandas=True))
    table = measured.group_by(keys, use_threads=False).aggregate([("hardness", "mean"), ("help", "mean")])
    renamed = table.rename_columns([name.removesuffix("_mean") for name in table.column_names])
    return renamed.sort_by([(keys[0], "ascending"), ("level", "ascending"), ("language", "ascending")])


def by_column(relative: pa.Table, name: str, *, min_images: int = 1, sample: str = "row") -> pa.Table:
    """Return mean hardness and help by the values of a column, the hardest first: `<name>, images, hardness, help`.

    Captions of one image count in proportion, so that every image weighs the same. Values with fewer images are left out.
    """
    counts = relative.group_by([sample, name], use_threads=False).aggregate([("hardness", "mean"), ("help", "mean")])
    table = counts.group_by(name, use_threads=False).aggregate(
        [(sample, "count"), ("hardness_mean", "mean"), ("help_mean", "mean")]
    )
    table = table.rename_columns([name, "images", "hardness", "help"])
    return table.filter(pc.greater_equal(table["images"], min_images)).sort_by([("hardness", "descending"), (name, "ascending")])


def by_time(losses: pa.Table, *, sample: str = "row") -> pa.Table:
    """Return mean losses by time and by whether training saw the sample: `t, held_out, images, loss, loss_empty`.

    losses: SAMPLE_LOSS, or PAIR_LOSS with `sample` pair; `images` counts different ones.
    """
    known = losses.filter(pc.is_valid(losses["loss"]))
    table = known.group_by(["t", "held_out"], use_threads=False).aggregate(
        [(sample, "count_distinct"), ("loss", "mean"), ("loss_empty", "mean")]
    )
    renamed = table.rename_columns(["t", "held_out", "images", "loss", "loss_empty"])
    return renamed.sort_by([("t", "ascending"), ("held_out", "ascending")])


def extremes(relative: pa.Table, order: Sequence[tuple[str, str]], *, num: int, sample: str = "row") -> pa.Table:
    """Return the first `num` rows of different samples, ordered as by `sort_by`; nulls in the first column never count."""
    ordered = relative.filter(pc.is_valid(relative[order[0][0]])).sort_by([*order, (sample, "ascending")])
    _, first = np.unique(ordered[sample].to_numpy(zero_copy_only=False), return_index=True)
    return ordered.take(np.sort(first)[:num])
