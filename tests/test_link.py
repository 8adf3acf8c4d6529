"""The stage `link` in a run's plan, and its worker over a run's tables."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from faulty_server import FaultyServer, serving

from curation.errors import ConfigError
from curation.schema import IMAGES
from jobs.config import parse_config
from jobs.linker import NameLinker
from jobs.pipeline import pipeline
from jobs.stage import load
from jobs.story import tell
from tests.tiny_knowledge import write_knowledge


def _planned(tmp_path: Path, **sections: object) -> dict[str, dict[str, object]]:
    config = parse_config({"source": str(tmp_path / "in"), "out": str(tmp_path / "out"), **sections}, origin="test")
    return {planned.stage.name: dict(planned.parameters) for planned in pipeline(config)}


def test_without_a_knowledge_base_nothing_is_linked(tmp_path: Path) -> None:
    assert "link" not in _planned(tmp_path)


def test_a_knowledge_base_adds_the_stage_with_its_content(tmp_path: Path) -> None:
    bases = [write_knowledge(tmp_path / "a"), write_knowledge(tmp_path / "b", edges=[(0, 1)])]
    planned = [_planned(tmp_path, knowledge={"path": str(base)}, link={"min_score": 0.4})["link"] for base in bases]
    assert planned[0]["min_score"] == 0.4 and planned[0]["knowledge"] == str(bases[0])
    assert planned[0]["knowledge_digest"] != planned[1]["knowledge_digest"]


def test_the_planned_parameters_make_a_worker(tmp_path: Path) -> None:
    base = write_knowledge(tmp_path / "kb")
    config = parse_config({"source": "in", "out": "out", "knowledge": {"path": str(base)}}, origin="test")
    (planned,) = [planned for planned in pipeline(config) if planned.stage.name == "link"]
    assert callable(load(planned.stage, planned.parameters))
    with pytest.raises(ConfigError, match="has changed"):
        load(planned.stage, {**planned.parameters, "knowledge_digest": "another"})


def test_linking_without_a_knowledge_base_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no effect"):
        _planned(tmp_path, link={"min_score": 0.4})
    with pytest.raises(ConfigError, match="no finished table"):
        _planned(tmp_path, knowledge={"path": str(tmp_path)})


def test_explain_tells_the_linked_entities(capsys: pytest.CaptureFixture[str]) -> None:
    image = {"key": "a.png", "id": "0", "uri": "/a.png", "member": None, "format": None, "caption": None}
    mention = {"title": "Moon", "score": 0.93, "source": "caption", "field": "en", "text": "the moon"}
    tell([{"images": image, "verdict": "kept", "mentions": {"mentions": [mention], "error": None}}])
    assert 'Moon 0.93: caption en says "the moon"' in capsys.readouterr().out


def _linked(tmp_path: Path, **sections: object) -> list[dict[str, Any]]:
    config = parse_config({"source": "in", "out": str(tmp_path / "out"), **sections}, origin="test")
    (planned,) = [planned for planned in pipeline(config) if planned.stage.name == "link"]
    how = {"how": planned.how["how"]} if planned.how else {}
    image = {name: None for name in IMAGES.names} | {"id": "0", "caption": "A PHONE BY APPLE"}
    tables = {
        "images": pa.table({name: [value] for name, value in image.items()}),
        "tags": pa.table({"id": ["0"], "tags": [[]]}),
        "ocr": pa.table({"id": ["0"], "lines": [[]]}),
    }
    found = NameLinker(**{**planned.parameters, **how, "min_score": 0.15})(**tables)
    return list(found["mentions"][0].as_py())


def test_a_model_behind_a_server_chooses_among_unsure_candidates(tmp_path: Path) -> None:
    base = {"path": str(write_knowledge(tmp_path / "kb"))}
    alone = _linked(tmp_path, knowledge=base)
    assert [mention["text"] for mention in alone] == ["APPLE"] and 0.2 < alone[0]["score"] < 0.8
    chosen: dict[str, list[dict[str, Any]]] = {}
    for says in ("0", "1", "2"):
        with serving(FaultyServer(says=says)) as server:
            endpoint = {"url": server.url, "model": "known", "cache": str(tmp_path / says)}
            chosen[says] = _linked(tmp_path, knowledge=base, link={"backend": "endpoint"}, endpoint=endpoint)
            assert server.questions.total() == 1
    assert chosen["0"] == []
    assert {chosen[says][0]["title"] for says in "12"} == {"Apple", "Apple Inc."}
    assert all(chosen[says][0]["score"] == pytest.approx(0.9) for says in "12")
