"""Remedies inside a run: the workers of selection and captions take the file, and a mistake in it ends the run early."""

import json
from pathlib import Path

import pyarrow as pa
import pytest
from searchable import write_run, write_table

from curation.errors import ConfigError
from curation.metrics import profile
from curation.remedies import file_sha256
from curation.schema import OCR, PLACEHOLDERS, SCORES, TAGS, WATERMARKS
from curation.tables import Run
from jobs.config import Config
from jobs.pipeline import pipeline
from jobs.stage import items, load


def remedies(folder: Path, run: Run) -> Path:
    """Write a file that drops row 0 and corrects the caption of row 1."""
    ids = run.read("images")["id"].to_pylist()
    lines = [
        {"action": "drop", "id": ids[0], "detail": "seen in bad samples"},
        {"action": "relabel", "id": ids[1], "wrong": "square", "right": "tile"},
        {"action": "fetch", "queries": {"en": ["more"]}, "images": 3},
    ]
    path = folder / "remedies.jsonl"
    path.write_text("\n".join(json.dumps(line) for line in lines))
    return path


def config(run: Run, path: Path | str) -> Config:
    return Config.model_validate(
        {"source": "pictures", "out": str(run.root), "select": {"exclude": str(path)}, "caption": {"corrections": str(path)}}
    )


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A run up to the selection, whose images came with captions of their own."""
    made = write_run(tmp_path / "own", ["red", "green", "blue"], decided=False, captions=False, encoder="BlindEncoder")
    images = made.read("images")
    captions = [*(f"a square no {row}" for row in range(3)), None]
    images = images.set_column(images.column_names.index("caption"), images.schema.field("caption"), [captions])
    again = Run(tmp_path / "again")
    for name in ("embeddings", "duplicates"):
        write_table(again, name, made.read(name))
    write_table(again, "images", images)
    write_table(again, "metrics", profile(images=images))
    rows = [{"id": image["id"], "tags": [], "lines": [], "error": image["error"]} for image in images.to_pylist()]
    for name, schema in (("tags", TAGS), ("ocr", OCR), ("scores", SCORES), ("watermarks", WATERMARKS)):
        write_table(again, name, pa.Table.from_pylist(rows, schema=schema))
    write_table(again, "placeholders", PLACEHOLDERS.empty_table())
    return again


def work(run: Run, name: str, settings: Config) -> list[dict]:
    """Do all of a stage's work as a worker does it, commit it, and return the rows."""
    (planned,) = [planned for planned in pipeline(settings) if planned.stage.name == name]
    call = load(planned.stage, planned.parameters)
    outputs = [output for item in items(planned.stage, run, planned.parameters) for output in call(run, item)]
    (rows,) = [output.rows for output in outputs]
    write_table(run, planned.stage.table, rows)
    return list(rows.to_pylist())


def test_a_run_with_remedies_drops_and_corrects_and_says_why(run: Run, tmp_path: Path) -> None:
    settings = config(run, remedies(tmp_path, run))
    decided = work(run, "select", settings)
    assert [(row["status"], row["reason"]) for row in decided[:3]] == [("dropped", "remediated"), ("kept", None), ("kept", None)]
    assert decided[0]["detail"] == "seen in bad samples"
    captions = work(run, "caption", settings)
    assert captions[0]["captions"] == []
    corrected = [one for one in captions[1]["captions"] if "corrected" in one["flags"]]
    assert {one["level"] for one in corrected} >= {"source", "medium", "long"}
    assert all("tile" in one["text"] for one in corrected)
    assert not any("corrected" in one["flags"] for one in captions[2]["captions"])


def test_a_changed_list_changes_the_parameters_and_so_makes_the_stage_stale(run: Run, tmp_path: Path) -> None:
    path = remedies(tmp_path, run)
    before = {planned.stage.name: planned.parameters for planned in pipeline(config(run, path))}
    path.write_text(path.read_text() + "\n")
    after = {planned.stage.name: planned.parameters for planned in pipeline(config(run, path))}
    assert [name for name in before if before[name] != after[name]] == ["select", "caption"]
    assert after["select"]["exclude_sha256"] == file_sha256(str(path))


def test_without_remedies_the_parameters_are_as_before() -> None:
    settings = Config.model_validate({"source": "pictures", "out": "run"})
    for planned in pipeline(settings):
        assert not {"exclude", "exclude_sha256", "corrections", "corrections_sha256"} & set(planned.parameters)


def test_a_list_that_is_not_there_is_told_before_anything_runs(tmp_path: Path, run: Run) -> None:
    with pytest.raises(ConfigError, match=r"remedies .*nowhere.jsonl cannot be read"):
        pipeline(config(run, tmp_path / "nowhere.jsonl"))
