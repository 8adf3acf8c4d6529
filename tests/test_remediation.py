"""Remediation: planted culprits are found and innocents are not; proposals, review, and the new run's settings."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import yaml
from image_rows import save
from searchable import picture, write_run, write_table

from curation.errors import ConfigError, SourceError, StaleInput
from curation.remedies import checked_remedies, corrected, file_sha256, read_remedies
from curation.schema import HIERARCHY, conform
from curation.selection import select
from curation.tables import Run
from graph.remediation import coverage, region_of_case, suspect_images, suspect_regions, term_weights
from jobs.config import parse_config
from jobs.failures import cases, read_failures
from jobs.pipeline import pipeline
from jobs.remediate import propose, remediate


def test_a_planted_region_is_suspect_and_its_share_sets_the_ratio() -> None:
    background = np.array([100, 300, 600])
    (suspect,) = suspect_regions(regions=[0] * 8 + [1] * 3 + [2] * 5 + [-1] * 4, background=background)
    assert suspect.number == 0
    assert suspect.cases == tuple(range(8))
    assert suspect.ratio == pytest.approx((8 / 16) / 0.1)
    assert suspect.expected_cases == pytest.approx(1.6)


def test_failures_spread_like_the_run_accuse_no_region() -> None:
    generator = np.random.default_rng(0)
    shares = generator.dirichlet(np.ones(30))
    background = generator.multinomial(5000, shares)
    accused = sum(
        bool(suspect_regions(regions=list(generator.choice(30, 60, p=shares)), background=background)) for _ in range(200)
    )
    assert accused <= 20  # at most 5 % expected


def test_controls_that_fall_alike_clear_a_region() -> None:
    regions = [0] * 10 + [1] * 2
    assert suspect_regions(regions=regions, background=np.array([10, 990]))
    assert suspect_regions(regions=regions, background=np.array([50, 10])) == []
    assert suspect_regions(regions=[-1, -1], background=np.array([5, 5])) == []


def test_a_hub_is_no_suspect_and_a_culprit_is() -> None:
    popularity = np.ones(500)
    popularity[7], popularity[9] = 400, 0  # 7 is anybody's neighbour, 9 was dropped
    generator = np.random.default_rng(0)
    chance = popularity / popularity.sum()
    found = [[*generator.choice(500, 9, replace=False, p=chance).tolist()] for _ in range(40)]
    found = [[*rows, 3] if case < 6 else rows for case, rows in enumerate(found)]
    assert sum(7 in rows for rows in found) > 30
    suspects = suspect_images(found=found, popularity=popularity)
    assert [suspect.number for suspect in suspects] == [3]
    assert set(range(6)) <= set(suspects[0].cases)


def test_a_case_lies_where_most_of_its_images_do() -> None:
    labels = np.array([0, 0, 1, 1, 2, -1], np.int32)
    assert region_of_case([4, 2, 0, 3], labels) == 1
    assert region_of_case([2, 0], labels) == 1  # of equals, the nearest
    assert region_of_case([5], labels) == region_of_case([], labels) == -1


def test_coverage_is_the_share_of_weight() -> None:
    weights = term_weights({"fox": 0, "the": 90}, 100)
    assert weights["fox"] == pytest.approx(np.log(1 + 100.5 / 0.5))
    assert weights["the"] == pytest.approx(np.log(1 + 10.5 / 90.5))
    shares = coverage(weights=weights, held={"the": {1}, "fox": {2}}, rows=[1, 2, 3])
    assert sum(shares) == pytest.approx(1.0)
    assert shares[0] < 0.05 < 0.95 < shares[1]


COLOURS = ["red"] * 14 + ["green"] * 30 + ["blue"] * 30 + ["yellow"] * 26


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A hundred pictures of four colours; row 1 is a copy of row 0."""
    made = write_run(tmp_path_factory.mktemp("remedy"), COLOURS, copies={1: 0}, encoder="BlindEncoder")
    settings = {"source": "pictures", "out": str(made.root), "knn": {"k": 5}}
    made.store.put("config.yaml", yaml.safe_dump(settings).encode())
    return made


@pytest.fixture(scope="module")
def failures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nine red pictures that failed, and prompts: one that is not covered, one that is, and a wrong word."""
    folder = tmp_path_factory.mktemp("failures")
    lines: list[dict[str, Any]] = [
        {
            "prompt": f"scene {number}",
            "image": save(folder, f"{number}.png", picture("red", 900 + number)).name,
            "problem": "too red",
        }
        for number in range(9)
    ]
    lines += [
        {"prompt": "a squirrel fish on a plate"},
        {"prompt": "a green square"},
        {"wrong": "yellow square", "right": "gold square"},
    ]
    path = folder / "failures.jsonl"
    path.write_text("\n".join(json.dumps(line) for line in lines))
    return path


def test_proposals_name_the_culprits_the_wrong_words_and_what_is_missing(run: Run, failures: Path) -> None:
    found = propose(run, read_failures(failures), want=15)
    drops, relabels, fetches = ([one for one in found if one["action"] == action] for action in ("drop", "relabel", "fetch"))
    keys = dict(zip(run.read("images")["id"].to_pylist(), run.read("images")["key"].to_pylist(), strict=True))
    accused = {keys[id_] for one in drops for id_ in one["ids"]}
    assert len(accused) >= 8
    assert all("red" in key for key in accused)
    assert "001-red.png" not in accused  # a dropped copy taught nothing
    assert drops[0]["evidence"]["q"] < 0.05
    assert drops[0]["evidence"]["problems"] == ["too red"]
    (relabel,) = relabels
    assert len(relabel["ids"]) == 26
    assert (relabel["wrong"], relabel["right"]) == ("yellow square", "gold square")
    missing = {one["queries"]["en"][0]: one for one in fetches if one["target"]["kind"] == "prompt"}
    assert missing["a squirrel fish on a plate"]["images_to_fetch"] == 15
    assert missing["a squirrel fish on a plate"]["evidence"]["rare_terms"].keys() >= {"squirrel", "fish", "plate"}
    assert "a green square" not in missing
    assert all(one["approved"] is None for one in found)
    assert [one["proposal"] for one in found] == list(range(1, len(found) + 1))


def test_semantic_levels_are_the_regions_when_there_are_some(failures: Path, tmp_path: Path) -> None:
    levelled = write_run(tmp_path, COLOURS, encoder="BlindEncoder")
    communities = np.repeat([0, 14, 44, 74, 100], [14, 30, 30, 26, 1])
    columns = {f"level_{level}": communities for level in range(3)}
    write_table(levelled, "hierarchy", conform(pa.table({"id": levelled.read("images")["id"]} | columns), HIERARCHY))
    drop = next(one for one in propose(levelled, read_failures(failures)) if one["action"] == "drop")
    assert drop["target"] == {"kind": "region", "region": 0, "images": 14}
    assert drop["evidence"]["cases"] == 9
    assert drop["evidence"]["expected_cases"] == pytest.approx(9 * 14 / 100)


def test_proposals_are_the_same_bytes_again_and_their_page_is_harmless(run: Run, failures: Path, tmp_path: Path) -> None:
    for folder in ("a", "b"):
        remediate(run, failures=failures, apply=None, out=tmp_path / folder)
    assert (tmp_path / "a" / "proposals.jsonl").read_bytes() == (tmp_path / "b" / "proposals.jsonl").read_bytes()
    page = (tmp_path / "a" / "proposals.html").read_text(encoding="utf-8")
    assert page == (tmp_path / "b" / "proposals.html").read_text(encoding="utf-8")
    assert "default-src 'none'" in page
    assert "<script" not in page


def reviewed(run: Run, failures: Path, folder: Path, **approved: Any) -> Path:
    """Write proposals with the first of each action approved as said."""
    lines = propose(run, read_failures(failures))
    for action, value in approved.items():
        next(line for line in lines if line["action"] == action)["approved"] = value
    path = folder / "proposals.jsonl"
    path.write_text("\n".join(json.dumps(line, ensure_ascii=False) for line in lines), encoding="utf-8")
    return path


def test_approved_proposals_become_a_new_run_that_drops_and_corrects(run: Run, failures: Path, tmp_path: Path) -> None:
    path = reviewed(run, failures, tmp_path, drop=True, relabel=True, fetch=True)
    remediate(run, failures=None, apply=path, out=tmp_path / "next.yaml")
    text = (tmp_path / "next.yaml").read_text()
    assert str(run.root) in text.splitlines()[0]
    config = parse_config(yaml.safe_load(text), origin="next.yaml")
    assert config.out == f"{run.root}-remediated"
    parameters = {planned.stage.name: planned.parameters for planned in pipeline(config)}
    for stage, key in (("select", "exclude"), ("caption", "corrections")):
        assert parameters[stage][key] == str(tmp_path / "next.jsonl")
        assert parameters[stage][f"{key}_sha256"] == file_sha256(str(tmp_path / "next.jsonl"))
    remedies = read_remedies(tmp_path / "next.jsonl")
    decided = select(images=run.read("images"), duplicates=run.read("duplicates"), rules=[], excluded=remedies.drops)
    dropped = [row for row in decided.to_pylist() if row["reason"] == "remediated"]
    assert {row["id"] for row in dropped} == set(remedies.drops)
    assert all(row["detail"].startswith("proposal 1: ") and not row["keep"] for row in dropped)
    texts = [
        one["text"]
        for row in corrected(run.read("captions"), remedies.relabels).to_pylist()
        if row["id"] in remedies.relabels
        for one in row["captions"]
    ]
    assert sum("gold square" in text for text in texts) == 26
    assert not any("yellow" in text for text in texts)


def test_some_ids_of_a_proposal_may_be_approved(run: Run, failures: Path, tmp_path: Path) -> None:
    some = next(one for one in propose(run, read_failures(failures)) if one["action"] == "drop")["ids"][:2]
    remediate(run, failures=None, apply=reviewed(run, failures, tmp_path, drop=some), out=tmp_path / "r.jsonl")
    assert list(read_remedies(tmp_path / "r.jsonl").drops) == some


@pytest.mark.parametrize(
    ("approved", "message"),
    [
        ({}, "no proposal in .* is approved"),
        ({"drop": "yes"}, "approved is 'yes'; it must be true"),
        ({"drop": ["f" * 32]}, "is no id of this proposal"),
    ],
)
def test_a_wrong_review_is_refused(run: Run, failures: Path, tmp_path: Path, approved: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        remediate(run, failures=None, apply=reviewed(run, failures, tmp_path, **approved), out=tmp_path / "r.jsonl")
    assert len(str(caught.value).splitlines()) == 1
    assert not (tmp_path / "r.jsonl").exists()


def test_a_relabel_without_the_right_words_is_not_applied(run: Run, tmp_path: Path) -> None:
    (tmp_path / "f.jsonl").write_text('{"wrong": "yellow square"}')
    path = reviewed(run, tmp_path / "f.jsonl", tmp_path, relabel=True)
    with pytest.raises(ConfigError, match="needs `right`"):
        remediate(run, failures=None, apply=path, out=tmp_path / "r.jsonl")


def test_a_folder_of_failures_has_prompts_beside_its_pictures(tmp_path: Path) -> None:
    save(tmp_path, "a.png", picture("red", 0))
    save(tmp_path, "b.png", picture("red", 1))
    (tmp_path / "a.txt").write_text("a red square\n")
    found = read_failures(tmp_path)
    assert [(one.prompt, one.image and one.image.name) for one in found] == [("a red square", "a.png"), (None, "b.png")]
    assert [case.failures for case in cases([*found, found[0]])] == [(0, 2), (1,)]


def test_an_unreadable_failure_is_left_out_with_a_warning(run: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "broken.png").write_bytes(b"no picture")
    assert propose(run, read_failures(tmp_path)) == []
    assert "broken.png cannot be read as an image and is left out: not_an_image" in caplog.text


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("{", ConfigError, "line 1 is no JSON"),
        ("[]", ConfigError, "line 1 must be an object"),
        ('{"problem": "bad"}', ConfigError, "line 1 has neither prompt nor image"),
        ('{"prompt": 3}', ConfigError, "prompt is 3; it must be text"),
        ('{"prompt": "x", "ok": true}', ConfigError, "holds no failure"),
        (None, SourceError, "does not exist"),
    ],
)
def test_wrong_failures_are_told_by_line(tmp_path: Path, text: str | None, error: type[Exception], message: str) -> None:
    if text is not None:
        (tmp_path / "f.jsonl").write_text(text)
    with pytest.raises(error, match=message) as caught:
        read_failures(tmp_path / "f.jsonl")
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 1 is no JSON"),
        ('{"action": "burn"}', "needs an action, one of drop"),
        ('{"action": "drop"}', "needs text in id"),
        ('{"action": "relabel", "id": "a", "wrong": "b"}', "needs text in id, wrong, right"),
    ],
)
def test_wrong_remedies_are_told_by_line(tmp_path: Path, line: str, message: str) -> None:
    (tmp_path / "r.jsonl").write_text(line)
    with pytest.raises(ConfigError, match=message):
        read_remedies(tmp_path / "r.jsonl")


def test_a_list_for_another_run_and_a_changed_list_are_refused(run: Run, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="none of its 1 ids is an image of this run"):
        select(images=run.read("images"), duplicates=run.read("duplicates"), rules=[], excluded={"f" * 32: "x"})
    path = tmp_path / "r.jsonl"
    path.write_text("")
    before = file_sha256(str(path))
    assert checked_remedies(str(path), before).drops == {}
    path.write_text("\n")
    with pytest.raises(StaleInput, match="changed while"):
        checked_remedies(str(path), before)


def test_corrections_replace_whole_words_in_any_case_and_say_so(run: Run) -> None:
    captions = run.read("captions").slice(0, 1)
    id_ = captions["id"][0].as_py()
    (row,) = corrected(captions, {id_: [("RED  Square", r"crimson \1 square"), ("红色", "绯红"), ("qua", "x")]}).to_pylist()
    texts = {one["language"]: one["text"] for one in row["captions"]}
    assert texts == {"en": r"a crimson \1 square no 0", "zh": "一个绯红方块"}
    assert all(one["flags"] == ["corrected"] for one in row["captions"])
    assert corrected(captions, {}).to_pylist() == captions.to_pylist()
