"""The similarity route from vectors to keepers: the contract, and that nothing but the images decides."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from benchmarks.planted import errors, planted
from curation import schema
from curation.metrics import METRICS_SCHEMA
from curation.tables import Cost, Run
from graph.components import pack
from graph.forest import components, singletons, unite
from graph.partition import partition
from jobs import stage as stages
from jobs.config import parse_config
from jobs.pipeline import pipeline

TRUTH = planted(2500, seed=5, dimension=128)
VECTORS = TRUTH.vectors().astype(np.float16)
IDS = np.array([f"{row * 0x9E3779B97F4A7C15F39CC0605CEDC835 % (1 << 128):032x}" for row in range(len(TRUTH))])
FREE = Cost(0, 0)

Rows = NDArray[np.int64]


def filled(columns: dict[str, object], shape: pa.Schema) -> pa.Table:
    count = len(columns["id"])  # type: ignore[arg-type]
    return schema.conform(pa.table({f.name: columns.get(f.name, pa.nulls(count, f.type)) for f in shape}), shape)


def plant(folder: Path, order: Rows, part_rows: int) -> Run:
    """Write the tables that precede grouping, as ingest, profile and embed would, with the rows in `order`."""
    run = Run(folder)
    for part, begin in enumerate(range(0, len(order), part_rows)):
        rows = order[begin : begin + part_rows]
        ids, count = IDS[rows].tolist(), len(rows)
        images = {"id": ids, "uri": ids, "container": ["file"] * count, "key": ids, "group": ["a"] * count}
        tables = {
            "images": filled(images | {"width": [64] * count, "height": [64] * count}, schema.IMAGES),
            "metrics": filled({"id": ids, "sharpness": TRUTH.quality[rows], "pixel_hash": ids}, METRICS_SCHEMA),
            "embeddings": filled(
                {"id": ids, "embedding": pa.FixedSizeListArray.from_arrays(pa.array(VECTORS[rows].ravel()), 128)},
                schema.embeddings_schema(128),
            ),
        }
        for name, table in tables.items():
            run.commit_part(name, part, table, fingerprint="planted", cost=FREE)
    for name in ("images", "metrics", "embeddings"):
        run.finish(name, {"fingerprint": "planted", "parameters": {}, "inputs": {}})
    return run


def dropped(run: Run, **sections: object) -> dict[str, tuple[str, float]]:
    """Run the stages from exact to duplicates in this process; return keeper and similarity of every dropped id."""
    values = {
        "source": "/nowhere",
        "out": str(run.root),
        "dedup": {"method": "similarity"},
        "duplicates": {"keeper": ["sharpness"]},
    }
    for planned in pipeline(parse_config(values | sections, origin="test")):
        table = planned.stage.table
        if run.has(table) or table in ("tags", "scores", "ocr"):
            continue
        worker = stages.load(planned.stage, planned.parameters)
        for item in stages.items(planned.stage, run, planned.parameters):
            for output in worker(run, item):
                run.commit_part(
                    table, output.part, output.rows, fingerprint="x", cost=FREE, files=output.files, published=output.published,
                    counts=output.counts,
                )  # fmt: skip
        run.finish(table, {"fingerprint": "x", "parameters": {}, "inputs": {}})
        if table == "duplicates":
            break
    found = run.read("duplicates").filter(pa.compute.is_valid(run.read("duplicates")["keeper"]))
    return {row["id"]: (row["keeper"], row["similarity"]) for row in found.select(["id", "keeper", "similarity"]).to_pylist()}


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, dict[str, tuple[str, float]]]:
    run = plant(tmp_path_factory.mktemp("whole"), np.arange(len(TRUTH)), 1000)
    return run, dropped(run)


def test_every_dropped_image_is_within_the_threshold_of_its_keeper(reference: tuple[Run, dict[str, tuple[str, float]]]) -> None:
    row = {name: number for number, name in enumerate(IDS.tolist())}
    unit = VECTORS.astype(np.float32)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    _, found = reference
    assert len(found) > 300
    for name, (keeper, similarity) in found.items():
        cosine = float(unit[row[name]] @ unit[row[keeper]])
        assert cosine == pytest.approx(similarity, abs=1e-5)
        assert cosine >= 0.75 - 1e-6 and keeper not in found


def test_few_images_are_lost_or_kept_twice(reference: tuple[Run, dict[str, tuple[str, float]]]) -> None:
    kept = ~np.isin(IDS, list(reference[1]))
    found = errors(TRUTH, kept)
    assert found.lost_share < 0.02 and found.residual_share < 0.05


def test_parts_bins_and_the_order_of_rows_change_nothing(
    reference: tuple[Run, dict[str, tuple[str, float]]], tmp_path: Path
) -> None:
    order = np.random.default_rng(0).permutation(len(TRUTH))
    moved = plant(tmp_path / "moved", order, 333)
    found = dropped(moved, components={"images_per_item": 400}, join={"memory_mb": 16})
    assert moved.num_parts("partitions") == 7
    assert {name: keeper for name, (keeper, _) in found.items()} == {name: keeper for name, (keeper, _) in reference[1].items()}


def test_equal_bytes_are_collapsed_before_the_graph(tmp_path: Path) -> None:
    twice = plant(tmp_path, np.concatenate([np.arange(600), np.arange(100)]), 250)
    dropped(twice)
    how = twice.manifest("exact")
    assert how is not None and how["counts"] == {"ok": 600, "same_bytes": 100}
    found = twice.read("duplicates", ["keeper_row", "evidence", "group_size"]).to_pylist()
    for row in range(600, 700):  # the copy and the original share a keeper
        original = found[row - 600]["keeper_row"]
        assert found[row]["keeper_row"] == (row - 600 if original is None else original)
    communities = twice.read("communities", ["community"])["community"].to_numpy()
    assert np.array_equal(communities[600:], communities[:100])


def test_components_beyond_the_dense_size_are_divided_by_their_edges(tmp_path: Path) -> None:
    run = plant(tmp_path, np.arange(len(TRUTH)), 1000)
    found = dropped(run, communities={"max_dense": 10}, components={"giant_size": 50})
    assert all(similarity >= 0.75 - 1e-6 and keeper not in found for keeper, similarity in found.values())
    counts = run.manifest("components")
    assert counts is not None and counts["counts"]["giant"] > 50  # reported


def test_a_large_component_without_edges_is_refused() -> None:
    one = np.zeros(4, np.int64)
    with pytest.raises(ValueError, match="needs its edges"):
        partition(
            vectors=lambda rows: np.eye(4, dtype=np.float32)[rows], component=one, ids=IDS[:4], rank=np.arange(4), max_dense=3
        )


def test_every_component_lies_in_one_bin_and_singles_in_none(tmp_path: Path) -> None:
    generator = np.random.default_rng(2)
    a, b = generator.integers(0, 5000, (2, 3000))
    parent = singletons(5000)
    unite(parent, a, b)
    found = pack(parent.copy(), num_bins=4, giant_size=100)
    component = components(5000, a, b)
    size = np.bincount(component, minlength=5000)
    assert np.array_equal(found.bins >= 0, size[component] > 1)
    assert len({(name, dealt) for name, dealt in zip(component, found.bins, strict=True) if dealt >= 0}) == (size > 1).sum()
    assert np.array_equal(found.size, size)
    assert found.giants.tolist() == np.flatnonzero(size > 100).tolist()
    on_disk = pack(parent, num_bins=4, giant_size=100, folder=tmp_path, block_rows=700)
    assert np.array_equal(on_disk.bins, found.bins) and np.array_equal(on_disk.giants, found.giants)
