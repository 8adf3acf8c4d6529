"""Joins against brute force: every engine, format, block size, order of rows, and the runner itself."""

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from embedded import JOIN, compute, embedded, planned

from benchmarks.planted import planted as plant
from curation import schema
from curation.errors import ConfigError
from curation.tables import Run
from graph.forest import components
from graph.join import join, single_list
from graph.lists import balanced, group_rows, load, save
from graph.pairs import COUNTED_ROWS, count_pairs, load_pairs, row_ranges, save_pairs
from graph.partition import partition
from graph.quantiser import centroid_table, hash_ids, probes, quantiser_of, sample_rows, train
from graph.scan import Scanner
from graph.selfjoin import Pairs, edge_rows, join_blocks, join_lists
from graph.vectors import keys, to_float32, unit, usable
from jobs.progress import Lines
from jobs.runner import Limits, run_stages

FLOOR = 0.7


@pytest.fixture(scope="module")
def vectors() -> np.ndarray:
    """3,000 planted vectors of 64 dimensions, as EMBEDDINGS stores them."""
    return plant(3000, seed=11, dimension=64).vectors().astype(np.float16)


def brute_force(vectors: np.ndarray, floor: float = FLOOR) -> set[tuple[int, int]]:
    rows = vectors.astype(np.float64)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return {(int(a), int(b)) for a, b in np.argwhere(np.triu(rows @ rows.T >= floor, 1))}


def pairs_of(edges: pa.Table) -> list[tuple[int, int]]:
    return list(zip(edges["row_a"].to_pylist(), edges["row_b"].to_pylist(), strict=True))


def lists_of(vectors: np.ndarray, *, nlist: int, nprobe: int, two_level: bool = False, rows: np.ndarray | None = None):
    quantiser = train(unit(vectors), num_lists=nlist, two_level=two_level)
    probed = probes(unit(vectors), quantiser, nprobe=nprobe)
    chosen = np.arange(len(vectors)) if rows is None else rows
    return quantiser, group_rows(vectors=vectors, rows=chosen, probes=probed, num_lists=quantiser.num_lists)


def test_the_exact_join_is_brute_force(vectors: np.ndarray):
    edges = join(vectors=vectors, engine="exact", min_similarity=FLOOR)
    assert edges.schema.equals(schema.EDGES)
    assert pairs_of(edges) == sorted(brute_force(vectors))
    rows = unit(vectors)
    expected = (rows[edges["row_a"]].astype(np.float64) * rows[edges["row_b"]]).sum(1)
    np.testing.assert_allclose(edges["similarity"].to_numpy(), expected, atol=3e-7)


def test_lists_that_are_all_probed_find_what_brute_force_finds_each_pair_once(vectors: np.ndarray):
    quantiser, group = lists_of(vectors, nlist=20, nprobe=20)
    found = join_lists([group], first=0, last=quantiser.num_lists, min_similarity=FLOOR)
    reported = list(zip(found.row_a.tolist(), found.row_b.tolist(), strict=True))
    assert reported == sorted(brute_force(vectors))


@pytest.mark.parametrize("nprobe", [1, 2, 5])
def test_tasks_report_no_pair_twice_and_only_pairs_that_meet_in_a_list(vectors: np.ndarray, nprobe: int):
    quantiser, group = lists_of(vectors, nlist=40, nprobe=nprobe)
    tasks = [join_lists([group], first=at, last=at + 1, min_similarity=FLOOR) for at in range(quantiser.num_lists)]
    reported = [pair for task in tasks for pair in zip(task.row_a.tolist(), task.row_b.tolist(), strict=True)]
    assert len(reported) == len(set(reported))
    probed = np.empty_like(group.probes)
    probed[group.rows] = group.probes
    meet = {(a, b) for a, b in brute_force(vectors) if probed[b, 0] in probed[a] or probed[a, 0] in probed[b]}
    assert set(reported) == meet


def test_ivf_recall_is_above_98_percent_at_20_thousand():
    vectors = plant(20_000, seed=12, dimension=64).vectors().astype(np.float16)
    exact = join(vectors=vectors, engine="exact", min_similarity=FLOOR)
    found = set(pairs_of(join(vectors=vectors, engine="ivf", min_similarity=FLOOR)))
    close = exact["similarity"].to_numpy() >= 0.75
    hit = np.array([pair in found for pair in pairs_of(exact)])
    assert hit.mean() >= 0.98
    assert hit[close].mean() >= 0.985


@pytest.mark.parametrize("dtype", ["bf16", "int8"])
@pytest.mark.parametrize("floor", [0.3, 0.7, 0.8, 0.95])
def test_bf16_and_int8_give_the_edges_of_float32(vectors: np.ndarray, dtype, floor: float):
    some = vectors[:400]
    assert join(vectors=some, dtype=dtype, min_similarity=floor).equals(join(vectors=some, dtype="fp32", min_similarity=floor))


@pytest.mark.parametrize("dtype", ["bf16", "int8", "fp32"])
def test_thresholds_at_and_below_zero_are_scanned_too(vectors: np.ndarray, dtype):
    some = vectors[:200]
    for floor in (0.0, -0.2):
        assert pairs_of(join(vectors=some, dtype=dtype, min_similarity=floor)) == sorted(brute_force(some, floor))


def test_edges_do_not_depend_on_tiles_blocks_or_lists_per_task(vectors: np.ndarray):
    quantiser, group = lists_of(vectors, nlist=30, nprobe=4)
    count = quantiser.num_lists
    whole = edge_rows([join_lists([group], first=0, last=count, min_similarity=FLOOR)])
    for base_rows in (37, 1000):
        parts = [
            join_lists([group], first=a, last=b, min_similarity=FLOOR, base_rows=base_rows) for a, b in ((0, 11), (11, count))
        ]
        assert edge_rows(parts).equals(whole)
    exact = join(vectors=vectors, engine="exact", min_similarity=FLOOR)
    one = single_list(vectors, np.arange(len(vectors)))
    for rows in (500, 1999, 3000):
        blocks = range(-(-len(vectors) // rows))
        tasks = [
            join_blocks([one], first=a, second=b, block_rows=rows, min_similarity=FLOOR) for a in blocks for b in blocks if a <= b
        ]
        assert edge_rows(tasks).equals(exact)


def test_edges_do_not_depend_on_how_rows_are_cut_into_groups(vectors: np.ndarray):
    quantiser, group = lists_of(vectors, nlist=30, nprobe=4)
    whole = join_lists([group], first=0, last=30, min_similarity=FLOOR)
    cut = [slice(0, 100), slice(100, 2001), slice(2001, 3000)]
    probed = probes(unit(vectors), quantiser, nprobe=4)
    groups = [group_rows(vectors=vectors[c], rows=np.arange(3000)[c], probes=probed[c], num_lists=30) for c in cut]
    assert edge_rows([join_lists(groups, first=0, last=30, min_similarity=FLOOR)]).equals(edge_rows([whole]))


@pytest.mark.parametrize("engine", ["exact", "ivf"])
def test_the_same_edges_join_the_same_ids_when_rows_are_permuted(vectors: np.ndarray, engine):
    ids = [f"{number:032x}" for number in range(len(vectors))]
    order = np.random.default_rng(3).permutation(len(vectors))
    straight = join(vectors=vectors, ids=ids, engine=engine, nlist=30, min_similarity=FLOOR)
    shuffled = join(vectors=vectors[order], ids=[ids[i] for i in order], engine=engine, nlist=30, min_similarity=FLOOR)
    original = np.sort(np.stack([order[shuffled["row_a"]], order[shuffled["row_b"]]]), axis=0)
    back = sorted(zip(original[0].tolist(), original[1].tolist(), shuffled["similarity"].to_pylist(), strict=True))
    assert back == list(zip(*(straight[name].to_pylist() for name in ("row_a", "row_b", "similarity")), strict=True))


@pytest.mark.parametrize("engine", ["exact", "ivf", "faiss"])
def test_rows_without_a_direction_have_no_edges(vectors: np.ndarray, engine):
    some = vectors[:400].copy()
    some[3], some[50], some[51], some[52] = 0, np.nan, np.inf, 0
    edges = join(vectors=some, engine=engine, nlist=5, nprobe=5, k=399)
    alive = [row for row in range(400) if row not in (3, 50, 51, 52)]
    expected = sorted((alive[a], alive[b]) for a, b in brute_force(some[alive]))
    assert pairs_of(edges) == expected
    assert join(vectors=np.full((5, 8), np.nan, np.float32), engine=engine).num_rows == 0
    assert join(vectors=np.empty((0, 8), np.float32), engine=engine).num_rows == 0
    assert join(vectors=some[:1], engine=engine).num_rows == 0


@pytest.mark.parametrize("engine", ["exact", "ivf"])
def test_equal_vectors_are_a_star_around_the_smallest_row(vectors: np.ndarray, engine):
    many = np.concatenate([vectors[:500], np.repeat(vectors[7:8], 20_000, axis=0)])
    edges = join(vectors=many, engine=engine, nlist=10, nprobe=10, margin=2.0)
    single = {pair for pair in pairs_of(join(vectors=vectors[:500], engine="exact"))}
    star = {(7, row) for row in range(500, 20_500)}
    assert set(pairs_of(edges)) == single | star
    ends = edges.filter(pa.compute.greater_equal(edges["row_b"], 500))
    assert set(ends["similarity"].to_pylist()) == {1.0}


def test_faiss_with_as_many_neighbours_as_rows_is_brute_force(vectors: np.ndarray):
    some = vectors[:600]
    exact = join(vectors=some, engine="exact")
    assert join(vectors=some, engine="faiss", factory="Flat", k=599).equals(exact)
    near = set(pairs_of(join(vectors=some, engine="faiss", factory="HNSW16", k=60)))
    assert near <= set(pairs_of(exact))
    assert len(near) > 0.9 * exact.num_rows


def test_an_unknown_faiss_factory_is_refused_by_name(vectors: np.ndarray):
    with pytest.raises(ConfigError, match="Flt"):
        join(vectors=vectors[:50], engine="faiss", factory="Flt")
    with pytest.raises(ConfigError, match=r"^factory 'IVF64,Flat' for 50 vectors of \d+: Number of training points \(50\)"):
        join(vectors=vectors[:50], engine="faiss", factory="IVF64,Flat")
    with pytest.raises(ConfigError, match="GPU"):
        join(vectors=vectors[:50], engine="faiss", factory="CAGRA")


def test_two_levels_number_the_lists_of_a_cell_in_a_row_and_find_the_nearest(vectors: np.ndarray):
    rows = unit(vectors)
    quantiser = train(rows, num_lists=100, two_level=True)
    assert quantiser.start[0] == 0
    assert quantiser.start[-1] == quantiser.num_lists
    assert abs(quantiser.num_lists - 100) <= 10
    np.testing.assert_allclose(np.linalg.norm(quantiser.centroids, axis=1), 1, atol=1e-5)
    everywhere = probes(rows, quantiser, nprobe=3, descend=len(quantiser.cells))
    nearest = np.argsort(-(rows @ quantiser.centroids.T), axis=1)[:, :3]
    assert (everywhere == nearest).mean() > 0.999  # ties apart
    few = probes(rows, quantiser, nprobe=3, descend=3)
    assert (few[:, 0] == nearest[:, 0]).mean() > 0.9


def test_the_quantiser_survives_its_table(vectors: np.ndarray):
    for two_level in (False, True):
        quantiser = train(unit(vectors), num_lists=50, two_level=two_level)
        again = quantiser_of(centroid_table(quantiser))
        for name in ("centroids", "cells", "start"):
            np.testing.assert_array_equal(getattr(again, name), getattr(quantiser, name))


def test_probes_beyond_the_margin_are_left_out(vectors: np.ndarray):
    rows = unit(vectors)
    quantiser = train(rows, num_lists=30)
    every, near = (probes(rows, quantiser, nprobe=6, margin=margin) for margin in (2.0, 0.05))
    cosine = np.take_along_axis(rows @ quantiser.centroids.T, every, 1)
    distance = cosine[:, :1] - cosine
    assert (near[:, 0] == every[:, 0]).all()
    clear = np.abs(distance - 0.05) > 1e-5
    assert ((near >= 0) == (distance <= 0.05))[clear].all()


def test_a_sample_depends_on_the_ids_and_not_on_their_order():
    ids = [f"{number:032x}" for number in range(5000)]
    order = np.random.default_rng(0).permutation(5000)
    shuffled = [ids[i] for i in order]
    assert [ids[i] for i in sample_rows(ids, 100)] == [shuffled[i] for i in sample_rows(shuffled, 100)]
    assert len(np.unique(hash_ids(ids))) == 5000
    assert abs(hash_ids(ids).astype(np.float64).mean() / 2**64 - 0.5) < 0.02


def test_blocks_of_lists_cover_all_of_them_once_with_even_work():
    generator = np.random.default_rng(0)
    rows, guests = generator.integers(0, 100, 1000), generator.integers(0, 300, 1000)
    work = rows * (rows / 2 + guests)
    blocks = balanced(rows, guests, pairs_per_block=int(work.sum() / 10))
    assert blocks[0][0] == 0
    assert blocks[-1][1] == 1000
    assert all(before[1] == after[0] for before, after in itertools.pairwise(blocks))
    shares = [work[a:b].sum() / work.sum() for a, b in blocks]
    assert max(shares) < 0.15
    assert balanced(np.zeros(4, np.int64), np.zeros(4, np.int64), pairs_per_block=10) == []


def test_every_half_float_becomes_the_same_float():
    halves = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    np.testing.assert_array_equal(to_float32(halves), halves.astype(np.float32))


def test_keys_tell_equal_rows_from_others():
    rows = np.array([[1, 2], [1, 3], [1, 2]], np.float16)
    found = keys(rows)
    assert found[0] == found[2] != found[1]


def test_a_scanner_sees_every_pair_that_touches_the_threshold():
    angle = np.arccos(0.8) + np.linspace(-1e-3, 1e-3, 41)
    rows = np.stack([np.cos(angle), np.sin(angle)], 1).astype(np.float32)
    first = np.array([[1, 0]], np.float32)
    for dtype in ("bf16", "int8", "fp32"):
        _, other, cosine = Scanner(threshold=0.8, dtype=dtype).pairs(first, rows)
        assert other.tolist() == np.flatnonzero(rows[:, 0] >= np.float32(0.8)).tolist()
        np.testing.assert_array_equal(cosine, rows[other, 0])


def test_groups_and_pairs_survive_their_files(vectors: np.ndarray, tmp_path: Path):
    quantiser, group = lists_of(vectors, nlist=12, nprobe=3)
    save(group, tmp_path, 4)
    again = load(tmp_path, 4)
    found, expected = (join_lists([g], first=0, last=quantiser.num_lists, min_similarity=FLOOR) for g in (again, group))
    assert edge_rows([found]).equals(edge_rows([expected]))
    save_pairs(expected, tmp_path, 0)
    pieces = [load_pairs(tmp_path, 0, begin, end) for begin, end in ((0, 900), (900, 5000))]
    assert edge_rows(pieces).equals(edge_rows([expected]))


def test_ranges_of_rows_cover_all_pairs_evenly():
    generator = np.random.default_rng(0)
    low = np.sort(generator.integers(0, 50 * COUNTED_ROWS, 20_000))
    counted = [count_pairs(Pairs(some, some + 1, np.ones(len(some), np.float32))) for some in (low[::2], low[1::2])]
    ranges = row_ranges(counted, pairs_per_part=2000)
    assert 8 <= len(ranges) <= 12
    assert all(before[1] == after[0] for before, after in itertools.pairwise(ranges))
    sizes = [int(((low >= begin) & (low < end)).sum()) for begin, end in ranges]
    assert sum(sizes) == 20_000
    assert max(sizes) < 3000
    assert row_ranges([count_pairs(Pairs(low[:0], low[:0], np.ones(0, np.float32)))], pairs_per_part=10) == [(0, 0)]


def run_join(run: Run, num_cpus: int = 2, **join_keys: object) -> pa.Table:
    plan = planned(run, JOIN, join=join_keys)
    run_stages(run, plan, limits=Limits(num_cpus=num_cpus), progress=Lines())
    return run.read("edges")


@pytest.mark.ray
@pytest.mark.parametrize("engine", ["exact", "ivf", "faiss"])
def test_the_runner_gives_the_edges_of_one_process(shared_ray, tmp_path: Path, vectors: np.ndarray, engine):
    some = vectors[:1500].copy()
    some[4] = np.nan
    alive = np.delete(np.arange(1500), 4)
    keys_ = {"engine": engine, "nlist": 12, "nprobe": 12, "margin": 2.0, "k": 1000}
    edges = run_join(embedded(tmp_path / "run", some, 400), **keys_)
    assert pairs_of(edges) == sorted((int(alive[a]), int(alive[b])) for a, b in brute_force(some[alive]))
    again = run_join(embedded(tmp_path / "again", some, 700), **keys_, memory_mb=16)
    assert again.equals(edges)


@pytest.mark.parametrize("engine", ["exact", "ivf", "faiss"])
def test_exact_copies_leave_the_join_to_their_representative(tmp_path: Path, vectors: np.ndarray, engine):
    some = vectors[:600].copy()
    representative = np.arange(600)
    representative[300:310] = 5
    run = embedded(tmp_path / "run", some, 200, representative)
    compute(run, planned(run, JOIN, join={"engine": engine, "nlist": 5, "nprobe": 5, "margin": 2.0, "k": 599}))
    alive = np.flatnonzero(representative == np.arange(600))
    assert pairs_of(run.read("edges")) == sorted((int(alive[a]), int(alive[b])) for a, b in brute_force(some[alive]))


@pytest.mark.parametrize("engine", ["exact", "ivf", "faiss"])
def test_a_run_without_a_usable_image_or_with_one_has_no_edges(tmp_path: Path, engine):
    for name, some in (("none", np.full((5, 8), np.nan, np.float16)), ("one", np.ones((1, 8), np.float16))):
        run = embedded(tmp_path / name, some, 2)
        compute(run, planned(run, JOIN, join={"engine": engine}))
        assert run.read("edges").num_rows == 0


def test_parts_of_edges_follow_each_other_in_row_order(tmp_path: Path, vectors: np.ndarray):
    run = embedded(tmp_path / "run", vectors, 1000)
    small = {"pairs_per_part": 1000, "counted_rows": 100, "comparisons": 20_000}
    plan = planned(run, JOIN, join={"engine": "ivf", "nlist": 20, "nprobe": 20, "margin": 2.0})
    takes = {"join": ("counted_rows", "comparisons"), "edges": ("pairs_per_part",)}
    finer = {name: {key: small[key] for key in keys} for name, keys in takes.items()}
    compute(run, [replace(one, parameters={**one.parameters, **finer.get(one.stage.name, {})}) for one in plan])
    assert run.num_parts("pairs") > 3
    assert run.num_parts("edges") > 3
    assert pairs_of(run.read("edges")) == sorted(brute_force(vectors))


def test_a_wide_margin_keeps_the_probes_of_a_quantiser_of_two_levels(vectors: np.ndarray):
    rows = unit(vectors)
    quantiser = train(rows, num_lists=300, two_level=True)
    wide = probes(rows, quantiser, nprobe=2, margin=2.0, descend=len(quantiser.cells))
    nearest = np.argsort(-(rows @ quantiser.centroids.T), axis=1)[:, :2]
    assert (wide == nearest).mean() > 0.999  # ties apart


@pytest.mark.parametrize("kind", [np.float16, np.float32])
def test_only_rows_with_a_direction_are_usable(kind):
    rows = np.ones((7, 4), kind)
    rows[1], rows[2], rows[3, 1], rows[4, 2], rows[5] = 0, -0.0, np.nan, -np.inf, -6e-8
    assert usable(rows).tolist() == [True, False, False, False, False, True, True]
    assert usable(rows[:0]).tolist() == []


@pytest.mark.parametrize("engine", ["exact", "ivf"])
def test_nearly_equal_vectors_cost_few_edges_each_and_stay_together(engine):
    draw = np.random.default_rng(0)
    centres = unit(draw.normal(size=(2, 32)))
    rows = unit(np.repeat(centres, [5000, 300], axis=0) + draw.normal(size=(5300, 32)) * 0.004)
    assert np.vecdot(rows[0], rows[4999]) > 0.99 and len(np.unique(rows, axis=0)) == 5300
    found = join(vectors=rows, min_similarity=0.8, engine=engine, nlist=4, nprobe=2)
    assert len(found) <= 64 * 2 * len(rows)  # 12.5 million without a bound
    row_a, row_b = found["row_a"].to_numpy(), found["row_b"].to_numpy()
    assert np.unique(components(5300, row_a, row_b)).tolist() == [0, 5000]

    def edges(members):
        inside = np.isin(row_a, members)  # sorted members of one component: the first ones
        return row_a[inside], row_b[inside], found["similarity"].to_numpy()[inside]

    group = partition(
        vectors=lambda at: rows[at], component=components(5300, row_a, row_b), ids=np.array([f"{n:08x}" for n in range(5300)]),
        rank=np.arange(5300), max_dense=3000, edges=edges,
    )  # fmt: skip
    assert np.unique(group.keeper).tolist() == [0, 5000]
    np.testing.assert_allclose(group.similarity, np.vecdot(rows, rows[group.keeper]), atol=1e-6)
