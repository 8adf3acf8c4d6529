"""Stages that go through a collection in bins: what they give is what one look at everything gives, in memory that is bounded."""

import itertools
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation import schema
from curation.metrics import METRICS_SCHEMA
from curation.spill import Spill, bins_of
from curation.tables import Cost, Run
from graph.communities import communities, sized, verified_partitions
from graph.duplicates import by_verdicts, duplicates
from graph.exact import exact
from graph.keeper import preference
from jobs import communities as communities_job
from jobs import components, forests, partition
from jobs import duplicates as duplicates_job
from jobs import exact as exact_job
from jobs.stage import Output

FREE = Cost(0, 0)
KEEPER = {"keeper": ["pixels", "bits"], "source_priority": []}
ROWS = 240


def filled(columns: dict[str, object], shape: pa.Schema) -> pa.Table:
    count = len(columns["id"])  # type: ignore[arg-type]
    return schema.conform(pa.table({f.name: columns.get(f.name, pa.nulls(count, f.type)) for f in shape}), shape)


def commit(run: Run, table: str, outputs: list[Output]) -> None:
    for output in outputs:
        run.commit_part(table, output.part, output.rows, fingerprint="x", cost=FREE, files=output.files, counts=output.counts)
    run.finish(table, {"fingerprint": "x", "parameters": {}, "inputs": {}})


def tables(seed: int) -> dict[str, pa.Table]:
    """Return images of which some have the bytes or the pixels of others, some failed, and verdicts of all relations."""
    draw = np.random.default_rng(seed)
    names = [f"{number:08x}" for number in draw.integers(0, ROWS * 4 // 5, ROWS)]
    pictures = [None if int(name, 16) % 11 == 0 else str(int(name, 16) // 2 % 60) for name in names]
    images = {"id": names, "uri": names, "container": ["file"] * ROWS, "key": names, "group": ["a"] * ROWS}
    images |= {"width": draw.integers(1, 99, ROWS), "height": [64] * ROWS, "length": [int(name, 16) for name in names]}
    images |= {"caption": [f"words {number}" if number else "" for number in draw.integers(0, 5, ROWS)]}
    images |= {"error": [None if number else "truncated" for number in draw.integers(0, 12, ROWS)]}
    vectors = draw.normal(size=(ROWS, 8)).astype(np.float16)
    pairs = np.unique(np.sort(draw.integers(0, ROWS, (150, 2)), 1), axis=0)
    pairs = pairs[pairs[:, 0] != pairs[:, 1]]
    relation = draw.choice(["copy", "copy", "different", "contains", "contained"], len(pairs))
    verdicts = {"row_a": pairs[:, 0], "row_b": pairs[:, 1], "similarity": np.full(len(pairs), 0.8, np.float32)}
    verdicts |= {"relation": relation, "confidence": (draw.integers(10, 20, len(pairs)) / 20).astype(np.float32)}
    return {
        "images": filled(images, schema.IMAGES),
        "metrics": filled({"id": names, "pixel_hash": pictures}, METRICS_SCHEMA),
        "embeddings": filled(
            {"id": names, "embedding": pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), 8)},
            schema.embeddings_schema(8),
        ),
        "verdicts": schema.conform(pa.table(verdicts | {"evidence": ["{}"] * len(pairs)}), schema.VERDICTS),
    }


def binned(folder: Path, made: dict[str, pa.Table], *, part_rows: int, images_per_item: int, rows_per_bin: int) -> Run:
    """Run the stages from exact to duplicates in this process, in as many bins as asked for."""
    run = Run(folder)
    for name, table in made.items():
        steps = range(0, table.num_rows, part_rows)
        commit(run, name, [Output(part, table.slice(begin, part_rows)) for part, begin in enumerate(steps)])
    item = {"parts": list(range(run.num_parts("images")))}
    commit(run, "exact", list(exact_job.work(run, item, rows_per_bin=rows_per_bin)))
    work = [output for one in forests.plan_verdicts(run) for output in forests.work_verdicts(run, one)]
    commit(run, "forests", work)
    (one,) = components.plan(run, images_per_item=images_per_item)
    settings_ = {"images_per_item": images_per_item, "giant_size": 9}
    commit(run, "components", list(components.work_verdicts(run, one, rows_in_memory=rows_per_bin, **settings_)))
    for one in partition.plan(run):
        commit(run, "partitions", partition.work_verdicts(run, one, method="components", resolution=0.3))
    commit(run, "communities", list(communities_job.work(run, item, rows_per_bin=rows_per_bin)))
    commit(run, "duplicates", list(duplicates_job.work(run, item, rows_per_bin=rows_per_bin, **KEEPER)))
    return run


@pytest.mark.parametrize("seed", [0, 1])
def test_bins_of_any_size_give_what_the_whole_collection_gives(tmp_path: Path, seed: int) -> None:
    made = tables(seed)
    images, verdicts = made["images"], made["verdicts"]
    same = exact(images=images, metrics=made["metrics"])
    ids = np.array(images["id"].to_pylist(), np.str_)
    grouped = communities(
        ids=images["id"], partitions=sized(verified_partitions(ids=ids, exact=same, verdicts=verdicts, method="components"))
    )
    kept = by_verdicts(
        ids=images["id"], exact=same, rank=preference(images=images, **KEEPER), verdicts=verdicts, communities=grouped
    )
    expected = duplicates(images=images, exact=same, kept=kept).to_pylist()
    assert sum(row["keeper_row"] is not None for row in expected) > 100
    assert sum(row["contained_in"] is not None for row in expected) > 10
    for part_rows, images_per_item, rows_per_bin in ((ROWS, ROWS, ROWS), (30, 50, 64), (37, 24, 25)):
        folder = tmp_path / str(part_rows)
        run = binned(folder, made, part_rows=part_rows, images_per_item=images_per_item, rows_per_bin=rows_per_bin)
        assert run.read("exact").equals(same)
        assert run.read("communities").equals(grouped)
        found = run.read("duplicates").to_pylist()
        same_pixels = '{"method": "same_pixels"}'  # their cosines are looked up, which the function leaves to its caller
        for row in (*found, *expected):
            row["similarity"] = None if row["evidence"] == same_pixels else row["similarity"]
        assert found == expected
        assert not list((folder / "duplicates").rglob("*.arrows"))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(st.integers(0, 6), max_size=9), max_size=5), st.integers(1, 200))
def test_a_spill_gives_every_bin_its_rows_in_order(
    tmp_path_factory: pytest.TempPathFactory, dealt: list[list[int]], limit: int
) -> None:
    shape = pa.schema([("row", pa.int64())])
    rows = itertools.count()
    wanted: list[list[int]] = [[] for _ in range(7)]
    folder = tmp_path_factory.mktemp("spill") / "bins"
    with Spill(folder, num_bins=7, shape=shape, buffer_bytes=limit) as spill:
        for part in dealt:
            numbers = list(itertools.islice(rows, len(part)))
            spill.add(pa.table({"row": pa.array(numbers, pa.int64())}), np.array(part, np.int64))
            for number, bin_ in zip(numbers, part, strict=True):
                wanted[bin_].append(number)
        assert [table["row"].to_pylist() for table in spill] == wanted
    assert not folder.exists()


GROWING = """
import resource, sys
from curation.tables import Run
from jobs import communities, components, duplicates, exact, forests, partition
from test_bins import KEEPER, commit
run = Run(sys.argv[1])
item, small = {"parts": list(range(run.num_parts("images")))}, {"buffer_bytes": 1 << 18}
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
before = peak()
def done(table, outputs):
    for output in outputs:
        run.commit_part(table, output.part, output.rows, fingerprint="x", cost=FREE, files=output.files, counts=output.counts)
    run.finish(table, {"fingerprint": "x", "parameters": {}, "inputs": {}})
    print(table, peak() - before)
from test_bins import FREE
done("exact", exact.work(run, item, rows_per_bin=4096, **small))
done("forests", (output for one in forests.plan_verdicts(run) for output in forests.work_verdicts(run, one)))
(one,) = components.plan(run, images_per_item=4096)
done("components", components.work_verdicts(run, one, images_per_item=4096, giant_size=9, rows_in_memory=4096, **small))
bins = (one for item in partition.plan(run) for one in partition.work_verdicts(run, item, method="igraph", resolution=0.3))
done("partitions", bins)
done("communities", communities.work(run, item, rows_per_bin=4096, **small))
done("duplicates", duplicates.work(run, item, rows_per_bin=4096, **small, **KEEPER))
"""


def grown(folder: Path, rows: int, part_rows: int = 2048) -> dict[str, int]:
    """Return by how many kB the memory of a process grows that runs the stages over so many images, by table."""
    run = Run(folder)
    for part, begin in enumerate(range(0, rows, part_rows)):
        names = [f"{row // 3 * 2654435761 % 2**32:064x}" for row in range(begin, begin + part_rows)]
        images = {"id": names, "uri": names, "container": ["file"] * part_rows, "key": names, "group": ["a"] * part_rows}
        size = {"width": [9] * part_rows, "height": [9] * part_rows, "length": [9] * part_rows, "caption": names}
        near = np.arange(begin, begin + part_rows - 3, 6)
        pairs = {"row_a": near, "row_b": near + 3, "similarity": np.ones(len(near), np.float32), "relation": ["copy"] * len(near)}
        pairs |= {"confidence": np.ones(len(near), np.float32), "evidence": ["{}"] * len(near)}
        made = {
            "images": filled(images | size, schema.IMAGES),
            "metrics": filled({"id": names, "pixel_hash": names}, METRICS_SCHEMA),
            "verdicts": schema.conform(pa.table(pairs), schema.VERDICTS),
        }
        for name, table in made.items():
            run.commit_part(name, part, table, fingerprint="x", cost=FREE)
    for name in ("images", "metrics", "verdicts"):
        run.finish(name, {"fingerprint": "x", "parameters": {}, "inputs": {}})
    here = Path(__file__).parent
    paths = os.pathsep.join([str(here), str(here.parent)])
    command = [sys.executable, "-c", GROWING, str(folder)]
    said = subprocess.run(command, env=os.environ | {"PYTHONPATH": paths}, check=True, capture_output=True, text=True).stdout
    return {line.split()[0]: int(line.split()[1]) for line in said.splitlines()}


def test_memory_of_the_stages_does_not_grow_with_the_collection(tmp_path: Path) -> None:
    few, many = grown(tmp_path / "few", 1 << 13), grown(tmp_path / "many", 1 << 16)
    for table, kilobytes in few.items():  # eight times as many images: whole columns of them were 50 MB
        assert many[table] < kilobytes + 20_000, (table, few, many)


def test_bins_hold_no_more_rows_than_asked_for() -> None:
    assert [bins_of(count, rows_per_bin=10) for count in (0, 1, 10, 11)] == [1, 1, 1, 2]
