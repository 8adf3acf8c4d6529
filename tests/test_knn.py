"""Nearest neighbours and edges against brute force."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from embedded import compute, embedded, planned

from curation import schema
from graph.edges import edges, nearest, unverified
from graph.join import join
from graph.knn import build_index, embedding_matrix, knn


def clustered(count: int = 300, dimension: int = 32, seed: int = 0) -> np.ndarray:
    """Return unit vectors in 40 clusters around one shared direction, as embeddings of one network lie."""
    generator = np.random.default_rng(seed)
    centres = generator.normal(size=(40, dimension)) + 1.0
    vectors = centres[generator.integers(0, 40, count)] + 0.4 * generator.normal(size=(count, dimension))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def names(count: int) -> list[str]:
    return [f"{i:032x}" for i in range(count)]


def test_uncentred_neighbours_are_those_of_brute_force():
    vectors = clustered()
    found = knn(vectors=vectors, ids=names(300), k=7, centre=False, engine="exact")
    cosine = vectors @ vectors.T
    np.fill_diagonal(cosine, -2)
    expected = np.argsort(-cosine, axis=1, kind="stable")[:, :7]
    assert found["rows"].to_pylist() == expected.tolist()
    reported = np.array(found["similarities"].to_pylist())
    np.testing.assert_allclose(reported, np.take_along_axis(cosine, expected, 1), atol=1e-6)  # float32 sums in another order


def test_centred_search_reports_plain_cosines():
    vectors = clustered()
    found = knn(vectors=vectors, ids=names(300), k=5, centre=True)
    centred = vectors - vectors.mean(0)
    centred /= np.linalg.norm(centred, axis=1, keepdims=True)
    near = centred @ centred.T
    np.fill_diagonal(near, -2)
    for row in range(300):
        rows, cosines = found["rows"][row].as_py(), found["similarities"][row].as_py()
        assert set(rows) == set(np.argsort(-near[row])[:5].tolist())
        np.testing.assert_allclose(cosines, vectors[rows] @ vectors[row], atol=1e-6)
        assert cosines == sorted(cosines, reverse=True)


def test_exact_copies_do_not_crowd_out_other_neighbours():
    vectors = clustered(100)
    vectors[50:90] = vectors[3]
    found = knn(vectors=vectors, ids=names(100), k=4, centre=False)
    listed = found["rows"][3].as_py()
    assert [row for row in listed if 50 <= row < 90] == [50, 51, 52, 53]
    assert len([row for row in listed if not 50 <= row < 90]) == 4
    assert 3 not in listed
    assert 3 in found["rows"][89].as_py()
    for row in range(50):
        assert len({3, *range(50, 90)} & set(found["rows"][row].as_py())) <= (4 if row == 3 else 1)


def test_failed_rows_have_no_neighbours_and_are_none():
    vectors = clustered(60)
    vectors[[5, 17]] = np.nan
    vectors[29] = 0
    found = knn(vectors=vectors, ids=names(60), k=6)
    for row in (5, 17, 29):
        assert found["rows"][row].as_py() == []
    assert not {5, 17, 29} & {row for rows in found["rows"].to_pylist() for row in rows}


def test_slices_of_queries_give_the_rows_of_the_whole():
    vectors = clustered(200)
    whole = knn(vectors=vectors, ids=names(200), k=6)
    index = build_index(vectors=vectors)
    parts = [
        knn(vectors=vectors, ids=names(200)[a:b], queries=vectors[a:b], query_rows=np.arange(a, b), index=index, k=6)
        for a, b in ((0, 70), (70, 200))
    ]
    assert pa.concat_tables(parts)["rows"].to_pylist() == whole["rows"].to_pylist()


def test_ivf_with_all_lists_probed_equals_exact():
    vectors = clustered(500)
    exact = knn(vectors=vectors, ids=names(500), k=5, engine="exact")
    ivf = knn(vectors=vectors, ids=names(500), k=5, engine="ivf", nlist=10, nprobe=10)
    assert ivf["rows"].to_pylist() == exact["rows"].to_pylist()


def test_ivf_with_a_few_lists_finds_most_neighbours():
    vectors = clustered(2000)
    exact = knn(vectors=vectors, ids=names(2000), k=5, engine="exact")["rows"].to_pylist()
    ivf = knn(vectors=vectors, ids=names(2000), k=5, engine="ivf", nlist=32, nprobe=6)["rows"].to_pylist()
    recall = np.mean([len(set(a) & set(b)) / 5 for a, b in zip(exact, ivf, strict=True)])
    assert recall > 0.9


def test_fewer_points_than_neighbours_and_an_empty_corpus():
    vectors = clustered(3)
    assert [len(rows) for rows in knn(vectors=vectors, ids=names(3), k=20)["rows"].to_pylist()] == [2, 2, 2]
    assert len(knn(vectors=np.empty((0, 8), np.float32), ids=[], k=3)) == 0
    lonely = knn(vectors=np.full((2, 8), np.nan, np.float32), ids=names(2), k=3)
    assert lonely["rows"].to_pylist() == [[], []]


def test_a_k_below_one_is_refused():
    with pytest.raises(ValueError, match="at least 1"):
        knn(vectors=clustered(3), ids=names(3), k=0)


def test_edges_name_every_pair_once_sorted():
    found = knn(vectors=clustered(), ids=names(300), k=6)
    table = edges(neighbours=found, min_similarity=0.5)
    assert table.schema.equals(schema.EDGES)
    pairs = list(zip(table["row_a"].to_pylist(), table["row_b"].to_pylist(), strict=True))
    listed = {
        (min(a, b), max(a, b))
        for a, (rows, cosines) in enumerate(zip(found["rows"].to_pylist(), found["similarities"].to_pylist(), strict=True))
        for b, cosine in zip(rows, cosines, strict=True)
        if cosine >= 0.5
    }
    assert pairs == sorted(listed)


def test_embeddings_come_back_with_their_failed_rows():
    vectors = clustered(4, 8).astype(np.float16)
    table = pa.table(
        {
            "id": names(4),
            "embedding": pa.array([vectors[0], None, vectors[2], vectors[3]], schema.vector_type(8)),
            "norm": pa.array([1.0, None, 1.0, 1.0], pa.float32()),
            "error": [None, "truncated", None, None],
        }
    )
    matrix = embedding_matrix(schema.conform(table, schema.embeddings_schema(8)))
    assert np.isnan(matrix[1]).all()
    np.testing.assert_array_equal(matrix[[0, 2, 3]], vectors[[0, 2, 3]].astype(np.float32))


def test_pairs_inside_a_community_without_a_verdict_are_named():
    copies = {"row_a": np.array([0, 1]), "row_b": np.array([1, 2]), "copies": np.array([True, True])}
    row_a, row_b = unverified(**copies, community=np.array([0, 0, 0, 3]))
    assert (row_a.tolist(), row_b.tolist()) == ([0], [2])


def test_the_nearest_of_a_threshold_graph_are_its_edges_from_both_ends():
    vectors = clustered()
    graph = join(vectors=vectors, min_similarity=0.8)
    lists = nearest(edges=graph, ids=names(300), k=300)
    assert lists.schema.equals(schema.NEIGHBOURS)
    assert edges(neighbours=lists).equals(graph)
    few = nearest(edges=graph, ids=names(300), k=3)
    searched = knn(vectors=vectors, ids=names(300), k=3, centre=False, min_similarity=0.8)
    assert few["rows"].to_pylist() == searched["rows"].to_pylist()


def test_any_faiss_index_can_be_searched():
    vectors = clustered(2000)
    exact = knn(vectors=vectors, ids=names(2000), k=5)["rows"].to_pylist()
    for factory, least in (("Flat", 1.0), ("HNSW32", 0.95), ("IVF20,Flat", 0.9)):
        found = knn(vectors=vectors, ids=names(2000), k=5, engine="faiss", factory=factory)["rows"].to_pylist()
        assert np.mean([len(set(a) & set(b)) / 5 for a, b in zip(exact, found, strict=True)]) >= least


def test_exact_copies_are_no_candidates_and_ask_for_none(tmp_path: Path):
    vectors = clustered(120).astype(np.float16)
    representative = np.arange(120)
    representative[[70, 110]] = 3
    run = embedded(tmp_path / "run", vectors, 50, representative)
    compute(run, planned(run, ("knn",), method="fast"))
    lists = run.read("neighbours")["rows"].to_pylist()
    alive = np.flatnonzero(representative == np.arange(120))
    alone = knn(vectors=vectors[alive].astype(np.float32), ids=names(118))["rows"].to_pylist()
    assert lists[70] == lists[110] == []
    assert [lists[row] for row in alive] == [alive[rows].tolist() for rows in alone]


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_equal_rows_list_k_others_and_no_more(count: int) -> None:
    """Copies never take the place of other neighbours, and a list holds k of each at most."""
    same, other = np.ones((count, 8), np.float32), np.eye(8, dtype=np.float32)[:2] + 1
    vectors = np.concatenate([same, other]).astype(np.float16)
    for k, engine in ((1, "exact"), (2, "ivf"), (20, "auto")):
        found = knn(vectors=vectors, ids=names(len(vectors)), k=k, engine=engine, nlist=50, nprobe=50)["rows"].to_pylist()
        for row in range(count):
            copies = [near for near in found[row] if near < count]
            assert copies == [near for near in range(count) if near != row][:k]
            assert len(found[row]) == len(copies) + min(k, 2)
