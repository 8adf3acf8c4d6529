"""The stage caption_fit, from captions and neighbours to what the selection drops."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from searchable import PART_ROWS, write_table

from curation.errors import ConfigError
from curation.schema import DUPLICATES, IMAGES, NEIGHBOURS
from curation.selection import select
from curation.tables import Run
from jobs.caption_fit import plan, work
from jobs.config import Config
from jobs.pipeline import pipeline

KINDS = ("cat", "dog", "horse", "cow", "goat")
RULE = {"name": "other_caption", "column": "caption_fit.misplaced", "above": 0.5}


def _run(root: Path, *, known: bool = True, count: int = 320) -> tuple[Run, np.ndarray]:
    """Images of five kinds, a fifth with the caption of another kind; neighbours are of one kind, or of any if not `known`."""
    generator = np.random.default_rng(3)
    kind = generator.integers(len(KINDS), size=count)
    wrong = generator.random(count) < 0.2
    named = np.where(wrong, (kind + generator.integers(1, len(KINDS), count)) % len(KINDS), kind)
    ids = [f"{row:032x}" for row in range(count)]
    images = [{"id": one, "caption": f"a {KINDS[name]} in the grass", "uri": "u", "key": "k", "container": "file", "offset": 0,
               "length": 1, "group": "g", "width": 64, "height": 64} for one, name in zip(ids, named, strict=True)]  # fmt: skip
    others = [np.setdiff1d(np.flatnonzero(kind == one) if known else np.arange(count), row) for row, one in enumerate(kind)]
    near = [generator.choice(rows, 10, replace=False).tolist() for rows in others]
    neighbours = [{"id": one, "rows": rows, "similarities": [0.5] * 10} for one, rows in zip(ids, near, strict=True)]
    run = Run(root)
    write_table(run, "images", pa.Table.from_pylist(images, schema=IMAGES))
    write_table(run, "neighbours", pa.Table.from_pylist(neighbours, schema=NEIGHBOURS))
    return run, wrong


def _fit(run: Run) -> pa.Table:
    outputs = list(work(run, plan(run)[0]))
    assert [output.part for output in outputs] == list(range(-(-320 // PART_ROWS)))
    return pa.concat_tables([output.rows for output in outputs if output.rows is not None])


def test_the_selection_drops_images_with_the_captions_of_others(tmp_path: Path) -> None:
    run, wrong = _run(tmp_path)
    images = run.read("images")
    alone = pa.Table.from_pylist([{"id": one, "group_size": 1} for one in images["id"].to_pylist()], schema=DUPLICATES)
    chosen = select(images=images, duplicates=alone, caption_fit=_fit(run), rules=[RULE])
    dropped = np.array([reason == "other_caption" for reason in chosen["reason"].to_pylist()])
    assert dropped[wrong].mean() > 0.9 and dropped[~wrong].mean() < 0.02
    assert chosen.filter(dropped)["detail"][0].as_py().startswith("caption_fit.misplaced is ")


def test_no_caption_is_suspected_when_neighbours_show_anything(tmp_path: Path) -> None:
    fit = _fit(_run(tmp_path, known=False)[0])
    assert fit["misplaced"].null_count == len(fit) and fit["rank"].null_count == 0


def _config(tmp_path: Path, **more: Any) -> Config:
    return Config(source=str(tmp_path / "in"), out=str(tmp_path / "out"), **more)


def test_the_stage_runs_where_a_rule_asks_for_it(tmp_path: Path) -> None:
    asked, silent = _config(tmp_path, select={"rules": [RULE]}), _config(tmp_path)
    assert "caption_fit" in [planned.stage.name for planned in pipeline(asked)]
    assert "caption_fit" not in [planned.stage.name for planned in pipeline(silent)]
    with pytest.raises(ConfigError, match="caption_fit"):
        pipeline(_config(tmp_path, select={"rules": [RULE]}, dedup={"method": "similarity"}))
