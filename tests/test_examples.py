"""Every example is a configuration that can be run as it is, is named in the README, and says what to expect."""

from pathlib import Path

import pytest

from jobs.config import read_config
from jobs.pipeline import pipeline

ROOT = Path(__file__).parent.parent
EXAMPLES = sorted((ROOT / "examples").glob("*.yaml"))


@pytest.mark.parametrize("path", EXAMPLES, ids=[path.stem for path in EXAMPLES])
def test_an_example_is_a_valid_configuration_with_stages(path: Path) -> None:
    names = [planned.stage.name for planned in pipeline(read_config(path, {}))]
    assert names[0] == "ingest"
    assert "duplicates" in names


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
    assert stages["similarity"] - stages["copies"] >= {"join", "lists"}
