"""Every example is a configuration that can be run as it is, is named in the README, and says what to expect."""

from pathlib import Path

import pytest
import yaml

from curation.tables import Run
from jobs.config import parse_config, read_config
from jobs.demo_wiki import write_wiki
from jobs.knowledge import build
from jobs.pipeline import pipeline
from jobs.progress import Lines
from jobs.runner import Limits

ROOT = Path(__file__).parent.parent
EXAMPLES = sorted((ROOT / "examples").glob("*.yaml"))


def needs_knowledge(path: Path) -> bool:
    return read_config(path, {}).knowledge is not None


CASES = [pytest.param(path, id=path.stem, marks=[pytest.mark.ray] if needs_knowledge(path) else []) for path in EXAMPLES]


@pytest.fixture(scope="module")
def encyclopedia(tmp_path_factory: pytest.TempPathFactory, shared_ray: dict[str, float]) -> Path:
    """The demo's knowledge base, as `make demo` builds it."""
    folder = tmp_path_factory.mktemp("knowledge")
    write_wiki(folder / "wiki.xml")
    build(Run(folder / "kb"), dumps=[folder / "wiki.xml"], limits=Limits(), progress=Lines())
    return folder / "kb"


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_what_a_run_writes_down_of_its_configuration_is_read_back(path: Path) -> None:
    config = read_config(path, {"out": "run"})
    assert parse_config(yaml.safe_load(yaml.safe_dump(config.model_dump(mode="json"))), origin="config.yaml") == config


@pytest.mark.parametrize("path", CASES)
def test_an_example_is_a_valid_configuration_with_stages(path: Path, request: pytest.FixtureRequest) -> None:
    built = {"knowledge": {"path": str(request.getfixturevalue("encyclopedia"))}} if needs_knowledge(path) else {}
    names = [planned.stage.name for planned in pipeline(read_config(path, built))]
    assert names[0] == "ingest"
    assert "duplicates" in names
    assert ("link" in names) == bool(built)


@pytest.mark.parametrize("path", EXAMPLES, ids=[path.stem for path in EXAMPLES])
def test_an_example_says_how_to_run_it_and_is_named_in_the_readme(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert f"imageloom run examples/{path.name}" in text or "make demo" in text
    assert path.name in (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_methods_of_the_examples_differ_in_their_stages() -> None:
    stages = {
        name: {planned.stage.name for planned in pipeline(read_config(ROOT / "examples" / f"{name}.yaml", {}))}
        for name in ("copies", "similarity")
    }
    assert stages["copies"] - stages["similarity"] >= {"knn", "keypoints"}
    assert stages["similarity"] - stages["copies"] >= {"join"}
