"""The caption stage with a model: real files, a real (random) model, every image ends with its captions."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from caption_rows import POSTER, SHAPE, tables
from PIL import Image
from tiny_vlm import build

from captioning.facts import caption
from curation.errors import ConfigError, TooManyFailures
from curation.schema import CAPTIONS
from jobs.caption import Captioner
from jobs.config import parse_config
from jobs.pipeline import pipeline


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("vlm") / "tiny")


def with_files(folder: Path, rows: list[dict[str, Any]]) -> dict[str, pa.Table]:
    """Return the tables of `rows` with a picture file each; a row with `missing` has none."""
    for number, row in enumerate(rows):
        path = folder / f"{number}.png"
        if not row.pop("missing", False):
            Image.new("RGB", (64, 48), (40 * number % 255, 90, 30)).save(path)
        row |= {"uri": str(path), "offset": 0, "length": path.stat().st_size if path.exists() else 1, "format": "png"}
        if "error" not in row:
            row |= {"width": 64, "height": 48}
    return tables(rows)


def captioner(model: Path, **more: Any) -> Captioner:
    settings = {"model": str(model)} | more.pop("settings", {})
    asked = {"settings": settings, "max_tokens": 24, "max_fallback_share": 1.0} | more
    return Captioner(backend="vlm", model=asked, how={"device": "cpu", "batch_size": 4})


def test_a_random_model_writes_nothing_and_loses_nothing(model: Path, tmp_path: Path) -> None:
    rows = [POSTER | {}, SHAPE | {}, {"missing": True}, {"error": "corrupt", "width": None, "height": None}]
    given = with_files(tmp_path, rows)
    made = captioner(model)(**given)
    assert made.schema.equals(CAPTIONS)
    assert made["error"].to_pylist() == [None, None, None, "corrupt"]
    captions, usage = made["captions"].to_pylist(), made["usage"].to_pylist()
    facts = caption(**given)["captions"].to_pylist()
    for row in range(3):
        assert [(one["language"], one["level"], one["text"]) for one in captions[row]] == [
            (one["language"], one["level"], one["text"]) for one in facts[row]
        ]
        levels = [one for one in captions[row] if one["level"] != "source"]
        assert all(one["backend"] == "facts" and one["flags"][-1].startswith("fallback:") for one in levels)
    assert captions[3] == [] and usage[3] is None
    assert usage[0]["requests"] == 2 and usage[0]["output_tokens"] > 0 and usage[0]["input_tokens"] > 200
    assert usage[2]["requests"] == 0 and "unreadable" in captions[2][0]["flags"][-1]


def test_a_model_that_cannot_caption_stops_the_run(model: Path, tmp_path: Path) -> None:
    given = with_files(tmp_path, [SHAPE | {} for _ in range(20)])
    with pytest.raises(TooManyFailures, match=r"20 of 20 images .* caption --preview|20 of 20 images.*--preview"):
        captioner(model, max_fallback_share=0.5, max_tokens=4, retries=0)(**given)


def planned(**caption: Any) -> Any:
    sections = {"vlm": {"model": "/models/x"}} if caption.get("backend") == "vlm" else {}
    config = parse_config({"source": "a", "out": "b", "caption": caption, **sections}, origin="test")
    return next(line for line in pipeline(config) if line.stage.name == "caption")


def test_a_changed_prompt_makes_the_stage_stale_and_a_batch_size_does_not(tmp_path: Path) -> None:
    ours = planned(backend="vlm")
    folder = tmp_path / "prompts"
    folder.mkdir()
    (folder / "caption_system.j2").write_text("Describe it in JSON.")
    theirs = planned(backend="vlm", prompts=str(folder))
    assert theirs.parameters["model"]["prompts_sha256"] != ours.parameters["model"]["prompts_sha256"]
    (folder / "caption_system.j2").write_text("Describe it.")
    assert planned(backend="vlm", prompts=str(folder)).parameters != theirs.parameters
    assert "batch_size" not in json.dumps(ours.parameters) and ours.how["how"]["batch_size"] == 8


def test_facts_depend_on_no_key_of_models() -> None:
    assert set(planned().parameters) == {
        *("backend", "languages", "levels", "min_tag_score", "max_tags", "min_line_confidence"),
        *("min_colour_share", "min_mention_score", "max_entities"),
    }
    with pytest.raises(ConfigError, match=r"caption\.temperature has no effect with caption\.backend facts"):
        planned(temperature=0.5)


def test_a_backend_needs_its_section() -> None:
    with pytest.raises(ConfigError, match="backend vlm needs a section `vlm`"):
        pipeline(parse_config({"source": "a", "out": "b", "caption": {"backend": "vlm"}}, origin="test"))


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("caption.j2", "{{ widht }}", r"caption.j2, line 1: 'widht' is undefined"),
        ("caption.j2", "a\n{% if lines %}\nb", r"caption.j2, line \d: Unexpected end of template"),
        ("repair.j2", "\n{{ faults | datta }}", r"repair.j2, line 2: No filter named 'datta'"),
        ("caption.j2", "{% include 'other.j2' %}", r"caption.j2.*other.j2"),
        ("caption.j2", "{{ lines[0].text }}", r"caption.j2, line 1: list object has no element 0"),
        ("notes.j2", "x", r"replaces no prompt: it must hold one or more of caption.j2"),
    ],
)
def test_a_wrong_template_is_one_line_before_anything_runs(tmp_path: Path, name: str, text: str, expected: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ConfigError, match=expected) as caught:
        planned(backend="vlm", prompts=str(tmp_path))
    assert "\n" not in str(caught.value)


def test_a_template_may_include_the_users_own(tmp_path: Path) -> None:
    (tmp_path / "caption.j2").write_text("{% include 'style.j2' %}")
    (tmp_path / "style.j2").write_text("Say it in a haiku.")
    first = planned(backend="vlm", prompts=str(tmp_path)).parameters
    (tmp_path / "style.j2").write_text("Say it in prose.")
    assert planned(backend="vlm", prompts=str(tmp_path)).parameters != first
