"""Selection over parts: a policy on contained pictures decides as it would over all rows at once."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from curation import schema
from curation.selection import DEFAULT_RULES, select
from curation.tables import Cost, Run
from jobs.choose import TABLES, plan, work

COUNT, PART_ROWS = 60, 7
RECORD = {"fingerprint": "given", "parameters": {}, "inputs": {}}


def given() -> dict[str, pa.Table]:
    """Sixty images: copies, some dark, one file twice, and pictures inside others anywhere, in circles too."""
    rng = np.random.default_rng(5)
    ids = [f"{row:032x}" for row in range(COUNT)]
    ids[41] = ids[3]
    keeper = {11: 2, 41: 3, 50: 49}
    inside = {int(row): int(rng.integers(COUNT)) for row in rng.choice(COUNT, 30, replace=False)} | {1: 41, 8: 50, 20: 21, 21: 20}
    columns = {
        "images": {"width": [640] * COUNT, "height": [480] * COUNT, "group": ["g"] * COUNT, "uri": ids, "key": ids,
                   "container": ["file"] * COUNT},
        "metrics": {"entropy": rng.choice([0.0, 7.0], COUNT, p=[0.1, 0.9]).tolist()},
        "scores": {"nsfw": rng.choice([0.0, 0.9], COUNT, p=[0.9, 0.1]).tolist()},
        "duplicates": {"keeper": [ids[keeper[row]] if row in keeper else None for row in range(COUNT)],
                       "keeper_row": [keeper.get(row) for row in range(COUNT)], "group_size": [1] * COUNT,
                       "contained_in": [ids[inside[row]] if row in inside else None for row in range(COUNT)]},
    }  # fmt: skip
    shapes = {"images": schema.IMAGES, "scores": schema.SCORES, "ocr": schema.OCR, "tags": schema.TAGS,
              "duplicates": schema.DUPLICATES, "watermarks": schema.WATERMARKS,
              "metrics": pa.schema([("id", pa.string()), ("entropy", pa.float32())])}  # fmt: skip
    return {
        name: pa.table(
            {field.name: (columns.get(name, {}) | {"id": ids}).get(field.name, [None] * COUNT) for field in shape}, schema=shape
        )
        for name, shape in shapes.items()
    }


@pytest.mark.parametrize("policy", ["keep", "drop_part", "drop_whole"])
def test_parts_are_selected_as_all_rows_at_once(policy: str, tmp_path: Path) -> None:
    tables, run = given(), Run(tmp_path)
    for name, table in tables.items():
        for part, begin in enumerate(range(0, COUNT, PART_ROWS)):
            run.commit_part(name, part, table.slice(begin, PART_ROWS), fingerprint="given", cost=Cost(0, 0))
        run.finish(name, RECORD)
    run.commit_part("placeholders", 0, schema.PLACEHOLDERS.empty_table(), fingerprint="given", cost=Cost(0, 0))
    run.finish("placeholders", RECORD)
    settings = {"contained": policy, "rules": DEFAULT_RULES}
    outputs = [output for item in plan(run, **settings) for output in work(run, item, **settings)]
    assert [output.part for output in outputs] == list(range(-(-COUNT // PART_ROWS)))
    wanted = select(**{name: tables[name] for name in TABLES if name in tables}, **settings)
    assert pa.concat_tables([output.rows for output in outputs]).combine_chunks().equals(wanted.combine_chunks())
    dropped = wanted["reason"].to_pylist()
    assert ("contained" in dropped, "container" in dropped) == (policy == "drop_part", policy == "drop_whole")
    assert not list(tmp_path.glob("selection/_attempts/*"))
