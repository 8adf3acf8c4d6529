"""New rows joined against old ones find what a join of all finds; old decisions stand, and new images go to old keepers first."""

import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from benchmarks.planted import planted
from curation import schema
from graph.block import blocks
from graph.duplicates import Kept
from graph.increment import apart, attach, old_first, open_verdicts, settle, touched
from graph.join import single_list
from graph.lists import Group, group_rows
from graph.nearest import nearest_lists
from graph.partition import Partition
from graph.quantiser import probes, train
from graph.selfjoin import Pairs, edge_rows, join_added, join_blocks, join_lists
from graph.vectors import unit

OLD = 1800
FLOOR = 0.7


@pytest.fixture(scope="module")
def vectors() -> np.ndarray:
    """2,400 planted vectors, the last 600 of them new; a few new ones equal old or new ones bit for bit."""
    found = planted(2400, seed=5, dimension=64).vectors().astype(np.float16)
    found = found[np.random.default_rng(0).permutation(len(found))]
    found[1900], found[1901], found[1902] = found[3], found[2000], found[2000]
    return found


def groups_of(vectors: np.ndarray, *, nlist: int, nprobe: int) -> list[Group]:
    """Return a group of the old rows and two of the new ones, over centroids trained on the old ones alone."""
    quantiser = train(unit(vectors[:OLD]), num_lists=nlist, two_level=False)
    cuts = (range(OLD), range(OLD, 2200), range(2200, len(vectors)))
    return [
        group_rows(
            vectors=vectors[list(rows)],
            rows=np.array(rows),
            probes=probes(unit(vectors[list(rows)]), quantiser, nprobe=nprobe),
            num_lists=quantiser.num_lists,
        )
        for rows in cuts
    ]


def set_of(pairs: Pairs) -> set[tuple[int, int]]:
    return set(zip(pairs.row_a.tolist(), pairs.row_b.tolist(), strict=True))


@pytest.mark.parametrize("nprobe", [1, 3])
def test_old_pairs_and_added_pairs_are_the_pairs_of_all(vectors: np.ndarray, nprobe: int) -> None:
    groups = groups_of(vectors, nlist=12, nprobe=nprobe)
    limits = {"first": 0, "last": 12, "min_similarity": FLOOR, "base_rows": 128}
    old, added, everything = (
        join_lists(groups[:1], **limits), join_lists(groups, new_from=OLD, **limits), join_lists(groups, **limits)
    )  # fmt: skip
    assert not set_of(old) & set_of(added)
    assert min(row_b for _, row_b in set_of(added)) >= OLD
    assert set_of(old) | set_of(added) == set_of(everything)
    assert edge_rows([old, added]).equals(edge_rows([everything]))


def test_of_lists_without_a_new_row_no_vector_is_read(vectors: np.ndarray) -> None:
    old, new, _ = groups_of(vectors[: OLD + 400], nlist=40, nprobe=2)
    few = group_rows(vectors=new.vectors[:5], rows=np.sort(new.rows[:5]), probes=new.probes[:5], num_lists=40)
    lists = np.union1d(few.probes[:, 0], few.probes[:, 1])
    home = np.searchsorted(old.start, np.arange(OLD), side="right") - 1
    visits = np.isin(old.probes, lists).any(1)
    unread = ~np.isin(home, lists) & ~visits
    assert unread.sum() > OLD / 4
    spoiled = replace(old, vectors=np.where(unread[:, None], np.float16(np.nan), old.vectors))
    limits = {"first": 0, "last": 40, "min_similarity": FLOOR, "new_from": OLD}
    wanted, found = join_lists([old, few], **limits), join_lists([spoiled, few], **limits)
    assert len(wanted)
    assert edge_rows([found]).equals(edge_rows([wanted]))
    read = [block.points for _, block in blocks([spoiled, few], first=0, last=40, held_rows=10**6)]
    assert np.isnan(np.concatenate(read)).any()  # as it would be if every list were read


def test_new_rows_have_the_neighbours_that_a_search_for_all_gives_them(vectors: np.ndarray) -> None:
    groups = groups_of(vectors, nlist=12, nprobe=3)
    wanted, found = (nearest_lists(groups, first=0, last=12, k=5, new_from=new_from) for new_from in (0, OLD))
    later = wanted.between(OLD, len(vectors))
    assert np.array_equal(found.rows, np.arange(OLD, len(vectors)))
    assert np.array_equal(found.start, later.start) and np.array_equal(found.neighbours, later.neighbours)
    np.testing.assert_array_equal(found.similarity, later.similarity)


def test_blocks_of_new_rows_add_what_an_exact_join_of_all_finds(vectors: np.ndarray) -> None:
    rows = np.arange(len(vectors))
    groups = [single_list(vectors[:OLD], rows[:OLD]), single_list(vectors[OLD:], rows[OLD:])]
    size = 256
    whole = [
        join_blocks(groups, first=a, second=b, block_rows=size, min_similarity=FLOOR) for a in range(10) for b in range(a, 10)
    ]
    old = [
        join_blocks(groups[:1], first=a, second=b, block_rows=size, min_similarity=FLOOR) for a in range(8) for b in range(a, 8)
    ]
    added = [join_added(groups, block=block, block_rows=size, new_from=OLD, min_similarity=FLOOR) for block in range(3)]
    assert edge_rows([*old, *added]).equals(edge_rows(whole))


def test_a_component_is_touched_by_its_new_members_alone() -> None:
    component = np.array([0, 0, 2, 3, 3, 2])
    assert touched(component, base_rows=5).tolist() == [False, False, True, False, False, True]
    assert not touched(component, base_rows=6).any()
    assert touched(component, base_rows=0).all()
    assert apart(component, touched(component, base_rows=5)).tolist() == [0, 1, 2, 3, 4, 2]


def test_old_rows_come_first_in_their_own_order() -> None:
    assert old_first(np.array([4, 1, 0, 3, 2]), base_rows=2).tolist() == [1, 0, 2, 4, 3]


def base_duplicates(keepers: list[int | None]) -> pa.Table:
    rows = [
        {"id": str(row), "group_size": 1, "keeper_row": keeper}
        | ({} if keeper is None else {"keeper": str(keeper), "similarity": 0.9, "evidence": json.dumps({"method": "whole"})})
        for row, keeper in enumerate(keepers)
    ]
    return pa.Table.from_pylist(rows, schema=schema.DUPLICATES)


def verdicts(pairs: list[tuple[int, int, str]]) -> pa.Table:
    rows = [
        {"row_a": a, "row_b": b, "similarity": 0.9, "relation": relation, "confidence": 1.0, "evidence": "{}"}
        for a, b, relation in pairs
    ]
    return pa.Table.from_pylist(rows, schema=schema.VERDICTS)


def exact(representative: list[int]) -> pa.Table:
    return pa.table({"id": [str(row) for row in range(len(representative))], "representative": representative})


def test_copies_of_what_the_base_dropped_decide_no_more() -> None:
    base = base_duplicates([None, 0, None])
    all_pairs = [(0, 1, "copy"), (0, 2, "copy"), (1, 3, "copy"), (2, 3, "copy"), (3, 4, "copy"), (1, 4, "contains")]
    left = open_verdicts(verdicts(all_pairs), base=base, exact=exact([0, 1, 2, 3, 4]))
    assert list(zip(left["row_a"].to_pylist(), left["row_b"].to_pylist(), strict=True)) == [(2, 3), (3, 4), (1, 4)]


def test_an_exact_copy_of_a_dropped_image_goes_to_that_ones_keeper() -> None:
    kept = Kept(np.array([0, 1, 2, 1, 2]), np.ones(5, np.float32), {4: json.dumps({"method": "keypoints"})}, {})
    found = settle(kept, base=base_duplicates([None, 0, None]))
    assert found.keeper.tolist() == [0, 0, 2, 0, 2]
    assert found.similarity[3] == np.float32(0.9)
    assert json.loads(found.evidence[3]) == {"method": "whole", "through": "same_pixels"}
    assert json.loads(found.evidence[4]) == {"method": "keypoints"}


def test_new_nodes_go_to_old_keepers_before_they_go_to_each_other() -> None:
    angles = np.array([0, 10, 12, 14, 60, 62])  # degrees; old keeper, old dropped, new, new, new, new
    vectors = np.stack([np.cos(np.radians(angles)), np.sin(np.radians(angles))], 1).astype(np.float32)
    found = Partition(np.zeros(6, np.int64), np.array([1, 1, 1, 1, 4, 4]), np.ones(6, np.float32))
    new, old_keeper = np.arange(6) >= 2, np.arange(6) == 0
    keeper, similarity = attach(
        found, vectors=lambda at: vectors[at], new=new, old_keeper=old_keeper, keeper_similarity=0.75, sure_similarity=0.975
    )
    assert keeper.tolist()[2:] == [0, 0, 4, 4]
    assert similarity[2:4] == pytest.approx(np.cos(np.radians([12, 14])), abs=1e-6)
