"""The exhibits of deduplication, from the tables of a small run: five photographs, altered copies, a detail, look-alikes."""

import itertools
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from image_rows import image_rows, save
from PIL import Image
from skimage import data

from curation.schema import COMMUNITIES, DUPLICATES, EDGES, HIERARCHY, PLACEHOLDERS
from curation.tables import Cost, Run
from graph.keypoints import describe
from graph.refused import limits_of, verdicts_of
from graph.showcase import copies, drawn
from graph.verify import verify
from jobs.explain import explain
from jobs.report import page
from jobs.story import tell

NAMES = ("astronaut.png", "astronaut-small.jpg", "astronaut-again.png", "detail.png", "coffee.png", "left.png", "right.png")
COPIES = {1: 0, 2: 0}  # row: keeper


def pictures() -> list[np.ndarray]:
    astronaut = data.astronaut()
    left, right, _ = data.stereo_motorcycle()
    small = np.asarray(Image.fromarray(astronaut).resize((300, 300)))
    return [astronaut, small, astronaut, astronaut[40:300, 120:380], data.coffee(), left[::2, ::2], right[::2, ::2]]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Everything up to DUPLICATES, measured by the stages' own functions; the groups are given."""
    root = tmp_path_factory.mktemp("showcase")
    images = image_rows([save(root, name, pixels) for name, pixels in zip(NAMES, pictures(), strict=True)])
    keypoints = describe(images=images)
    pairs = list(itertools.combinations(range(len(NAMES)), 2))
    edges = pa.table(
        {
            "row_a": [a for a, _ in pairs],
            "row_b": [b for _, b in pairs],
            "similarity": [0.95 if a == 5 else 0.6 for a, _ in pairs],
        }
    )
    verdicts = verify(pairs=edges.cast(EDGES), keypoints=keypoints)
    return write_run(root / "run", images, keypoints, verdicts)


def write_run(root: Path, images: pa.Table, keypoints: pa.Table | None, verdicts: pa.Table | None) -> Run:
    run = Run(root)
    communities = pa.table({"id": images["id"], "component": [0] * 7, "community": [0] * 7, "size": [7] * 7}).cast(COMMUNITIES)
    tables = {"images": images, "keypoints": keypoints, "verdicts": verdicts, "communities": communities}
    for name, table in (tables | {"duplicates": duplicates(images, verdicts)}).items():
        if table is not None:
            run.commit_part(name, 0, table, fingerprint="f", cost=Cost(1.0, 1.0))
            run.finish(name, {"parameters": {"min_inliers": 8}})
    return run


def duplicates(images: pa.Table, verdicts: pa.Table | None) -> pa.Table:
    ids = images["id"].to_pylist()
    measured = {(v["row_a"], v["row_b"]): v for v in verdicts.to_pylist()} if verdicts is not None else {}
    similar = json.dumps({"method": "similarity"})
    rows = []
    for row, id_ in enumerate(ids):
        keeper = COPIES.get(row)
        evidence = None if keeper is None else measured.get((keeper, row), {"evidence": similar})["evidence"]
        whole = ids[0] if row == 3 and measured else None
        alone = keeper is None
        own = {"id": id_, "keeper": None if alone else ids[keeper], "keeper_row": keeper, "similarity": None if alone else 0.9}
        merged = [{"caption": "an astronaut in orange", "uri": "/copies/small.jpg", "id": ids[1]}] if row == 0 else None
        own["merged_captions"] = merged
        rows.append(own | {"evidence": evidence, "group_size": 3 if row < 3 else 1, "contained_in": whole})
    return pa.Table.from_pylist(rows, schema=DUPLICATES)


@pytest.fixture(scope="module")
def similarity_run(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The same collection by the route without a second look: no KEYPOINTS, no VERDICTS."""
    other = write_run(tmp_path_factory.mktemp("similarity") / "run", run.read("images"), None, None)
    edges = pa.table({"row_a": [0, 0, 5], "row_b": [1, 4, 6], "similarity": [0.9, 0.72, 0.8]}).cast(EDGES)
    rows = list(range(7))
    stars = pa.table({"row": rows, "component": [0] * 7, "community": [0] * 7, "keeper_row": rows, "similarity": [1.0] * 7})
    for name, table in (("edges", edges), ("partitions", stars)):
        other.commit_part(name, 0, table, fingerprint="f", cost=Cost(0, 0))
        other.finish(name, {"parameters": {"keeper_similarity": 0.75}})
    return other


def test_a_group_shows_its_keeper_its_copies_and_their_evidence(run: Run) -> None:
    shown = copies(run)
    (group,) = shown["groups"]
    assert group["keeper"]["key"] == "astronaut.png"
    assert {card["key"] for card in group["copies"]} == {"astronaut-small.jpg", "astronaut-again.png"}
    assert all(card["picture"].startswith("data:image/") for card in [group["keeper"], *group["copies"]])
    assert {"same bytes" in card["says"] for card in group["copies"]} == {True, False}
    assert group["drawing"]["lines"] > 10
    assert shown["counts"]["near"] == shown["counts"]["same_bytes"] == 1


def test_look_alikes_say_why_they_were_not_merged(run: Run) -> None:
    shown = copies(run)["look_alikes"]
    both = {frozenset(card["key"] for card in item["pair"]): item for item in shown}
    stereo = both[frozenset({"left.png", "right.png"})]
    assert "once aligned only" in stereo["says"]
    assert stereo["drawing"]["lines"] > 10
    keys = [card["key"] for item in shown for card in item["pair"]]
    assert len(keys) == len(set(keys))


def test_a_part_is_shown_with_the_whole_and_what_was_measured(run: Run) -> None:
    (pair,) = copies(run)["contained"]
    assert (pair["part"]["key"], pair["whole"]["key"]) == ("detail.png", "astronaut.png")
    assert "one is a part of the other" in pair["says"]


def test_a_run_without_a_second_look_shows_similarities(similarity_run: Run) -> None:
    shown = copies(similarity_run)
    assert all("Cosine 0.900 to the keeper, at least the 0.750" in card["says"] for card in shown["groups"][0]["copies"])
    assert shown["contained"] == []
    stereo, mugs = shown["look_alikes"]
    assert "nearer to another keeper" in stereo["says"]
    assert "Cosine 0.720 is below the 0.750 that a keeper needs" in mugs["says"]
    assert shown["groups"][0]["drawing"] is None
    assert shown["counts"]["compared"] == 0
    assert '<section id="duplicates">' in page(similarity_run)


def test_the_page_shows_every_exhibit_and_stays_light(run: Run) -> None:
    html = page(run)
    assert all(f'<section id="{name}">' in html for name in ("duplicates", "look-alikes", "contained"))
    assert html.count('class="drawing"') >= 3
    assert len(html) < 1_000_000
    assert page(run) == html


def test_verdicts_are_found_in_either_order(run: Run) -> None:
    assert set(verdicts_of(run, [(3, 0), (0, 1)])) == {(3, 0), (0, 1)}
    assert verdicts_of(run, []) == {}


def test_placeholders_are_shown_with_the_reason_and_other_people_s_words_stay_words(run: Run, tmp_path: Path) -> None:
    other = write_run(tmp_path / "run", run.read("images"), None, None)
    base = {"id": run.read("images")["id"][4].as_py(), "keeper_row": 4, "size": 1200, "share": 0.1, "captions": 3, "sources": 2}
    found = [
        base | {"reason": "telling_text", "text": "image <b>not</b> available", "examples": []},
        base | {"reason": "diverse_captions", "caption_agreement": 0.01, "background_agreement": 0.02, "examples": ["<i>x</i>"]},
    ]
    table = pa.Table.from_pylist(found, schema=PLACEHOLDERS)
    other.commit_part("placeholders", 0, table, fingerprint="f", cost=Cost(0, 0))
    other.finish("placeholders", {})
    html = page(other)
    assert "1,200 images" in html
    assert "image &lt;b&gt;not&lt;/b&gt; available" in html
    assert "two captions share 1 % of their words" in html
    assert "<i>x" not in html


def test_semantic_levels_are_counted_when_present(run: Run, tmp_path: Path) -> None:
    other = write_run(tmp_path / "run", run.read("images"), None, None)
    ids, rows = other.read("images")["id"], list(range(7))
    table = pa.table({"id": ids, "level_0": [0] * 7, "level_1": [0, 0, 0, 3, 3, 5, 5], "level_2": rows}).cast(HIERARCHY)
    other.commit_part("hierarchy", 0, table, fingerprint="f", cost=Cost(0, 0))
    other.finish("hierarchy", {})
    assert [level["clusters"] for level in copies(other)["levels"]] == [1, 3, 7]
    assert "Semantic levels" in page(other)


def test_nothing_is_drawn_without_keypoints(similarity_run: Run) -> None:
    assert drawn(similarity_run, [(0, 1)]) == {}


def test_limits_are_those_of_the_run_with_defaults_for_the_rest(run: Run) -> None:
    assert limits_of(run)["min_inliers"] == 8
    assert 0 < limits_of(run)["min_agreement"] < 1


def test_a_run_before_its_duplicates_shows_nothing(run: Run, tmp_path: Path) -> None:
    early = Run(tmp_path / "early")
    early.commit_part("images", 0, run.read("images"), fingerprint="f", cost=Cost(0, 0))
    assert copies(early) is None


def test_explain_names_the_keeper_the_evidence_and_the_look_alikes(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    tell(explain(run, "astronaut-small.jpg"))
    said = capsys.readouterr().out
    assert "copy of    astronaut.png, cosine 0.900: " in said
    assert "not        coffee.png" in said
    tell(explain(run, "astronaut.png"))
    said = capsys.readouterr().out
    assert "stands for astronaut-small.jpg, astronaut-again.png" in said
    assert "also said  an astronaut in orange (/copies/small.jpg)" in said
    tell(explain(run, "detail.png"))
    assert "inside     astronaut.png shows all of it" in capsys.readouterr().out


def test_explain_works_without_a_second_look(similarity_run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    tell(explain(similarity_run, "astronaut-small.jpg"))
    assert "copy of    astronaut.png, cosine 0.900: Cosine 0.900 to the keeper" in capsys.readouterr().out
    tell(explain(similarity_run, "coffee.png"))
    assert "not        astronaut.png, cosine 0.720: Cosine 0.720 is below" in capsys.readouterr().out
