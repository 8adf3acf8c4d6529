"""A run's questions counted, exported and imported, by the captioner that would ask them."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from caption_rows import PHOTO, POSTER, tables
from PIL import Image

from curation.errors import ConfigError
from curation.schema import SELECTION, WATERMARKS
from curation.tables import Cost, Run
from jobs.batches import answer_later, exported, line_of, quote
from jobs.config import Config, parse_config

KEPT = 5


@pytest.fixture
def run(tmp_path: Path) -> Run:
    rows: list[dict[str, Any]] = []
    for number in range(KEPT + 1):
        path = tmp_path / f"{number}.png"
        Image.new("RGB", (90, 60), (40 * number, 90, 30)).save(path)
        rows.append({**(POSTER if number % 2 else PHOTO), "uri": str(path), "offset": 0, "length": path.stat().st_size})
    made = Run(tmp_path / "run")
    built = tables(rows)
    ids = built["images"]["id"].to_pylist()
    chosen = [
        {"id": one, "keep": number < KEPT, "reason": None if number < KEPT else "duplicate"} for number, one in enumerate(ids)
    ]
    filled = [{"status": "kept" if row["keep"] else "dropped"} | row for row in chosen]
    built["selection"] = pa.Table.from_pylist(filled, schema=SELECTION)
    unmarked = [{"id": one, "text": None, "share": 0.0, "texts": []} for one in ids]
    built["watermarks"] = pa.Table.from_pylist(unmarked, schema=WATERMARKS)
    for name, table in built.items():
        made.commit_part(name, 0, table, fingerprint="x", cost=Cost(0, 0))
        made.finish(name, {"parameters": {}})
    return made


def config(run: Run, **caption: object) -> Config:
    values = {"source": "-", "out": str(run.root), "endpoint": {"url": "http://127.0.0.1:9/v1", "model": "known"}}
    return parse_config(
        values | {"caption": {"backend": "endpoint", "input_price": 1.0, "output_price": 2.0} | caption}, origin="t"
    )


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_only_kept_images_are_asked_about_and_nothing_but_the_batch_is_written(run: Run, tmp_path: Path) -> None:
    before = sorted(run.root.rglob("*"))
    found = quote(run, config(run))
    assert (found.asks, found.cached, found.output_tokens) == (KEPT, 0, KEPT * 2048)
    assert found.max_cost == pytest.approx((found.input_tokens + 2 * found.output_tokens) / 1e6)
    assert sorted(run.root.rglob("*")) == before
    told = line_of(exported(run, config(run), tmp_path / "batch.jsonl"))
    assert told.startswith(f"{KEPT} questions") and len(lines(tmp_path / "batch.jsonl")) == KEPT
    assert all("response_format" in line["body"] for line in lines(tmp_path / "batch.jsonl"))


def test_one_json_value_is_printed_and_nothing_is_said_to_have_failed(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    (run.root / "config.yaml").write_text(json.dumps(config(run).model_dump(mode="json", exclude_defaults=True)))
    (tmp_path / "none.jsonl").write_text("")
    answer_later(
        run, config=None, estimate=True, export=tmp_path / "batch.jsonl", results=[tmp_path / "none.jsonl"], as_json=True
    )
    found = json.loads(capsys.readouterr().out)
    assert (found["import"]["filled"], found["export"]["lines"], found["estimate"]["asks"]) == (0, KEPT, KEPT)
    assert found["export"]["files"] == [str(tmp_path / "batch.jsonl")] and "fell back" not in caplog.text


def test_a_second_batch_holds_what_is_open_and_what_needs_another_answer(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (run.root / "config.yaml").write_text(json.dumps(config(run).model_dump(mode="json", exclude_defaults=True)))
    answer_later(run, config=None, estimate=False, export=tmp_path / "first.jsonl", results=[])
    keys = [line["custom_id"] for line in lines(tmp_path / "first.jsonl")]
    body = {"choices": [{"message": {"content": "no JSON at all"}, "finish_reason": "stop"}], "usage": {}}
    told = [{"custom_id": key, "response": {"status_code": 200, "body": body}, "error": None} for key in keys[:3]]
    (tmp_path / "out.jsonl").write_text("\n".join(json.dumps(one) for one in told))
    answer_later(run, config=None, estimate=True, export=tmp_path / "second.jsonl", results=[tmp_path / "out.jsonl"])
    second = lines(tmp_path / "second.jsonl")
    assert len(second) == KEPT and set(keys[3:]) < {line["custom_id"] for line in second}  # three retries, two still open
    assert sorted(line["body"]["seed"] for line in second) == [0, 0, 1, 1, 1]
    printed = capsys.readouterr().out
    assert (
        "3 answers imported" in printed and "2 still missing" in printed and "estimate: 5 questions to ask (3 answered" in printed
    )


def test_facts_ask_nothing(run: Run, tmp_path: Path) -> None:
    plain = parse_config({"source": "-", "out": str(run.root)}, origin="t")
    with pytest.raises(ConfigError, match=r"caption\.backend is facts"):
        exported(run, plain, tmp_path / "batch.jsonl")
