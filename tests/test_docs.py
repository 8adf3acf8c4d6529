"""The documentation says what is true: generated pages are current, every verb, key, table and file is named."""

import re
from pathlib import Path

import pytest

from jobs import document
from jobs.__main__ import app
from jobs.pipeline import STAGES

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("name", document.PAGES)
def test_generated_page_is_current(name: str) -> None:
    written = (ROOT / "docs" / name).read_text(encoding="utf-8")
    assert written == document.PAGES[name](), f"docs/{name} is old: run `python -m jobs.document`"


def test_every_stage_table_is_documented() -> None:
    page = document.tables_page()
    for stage in STAGES:
        if stage.table not in ("checkpoints", "samples", "evaluation", "report"):
            assert f"## {stage.table}\n" in page


def test_every_field_has_a_meaning() -> None:
    fields = [(name, field) for name, columns in document.TABLES.items() for field in columns]
    silent = [f"{name}.{field.name}" for name, field in fields if b"doc" not in (field.metadata or {})]
    assert silent == []


def test_every_configuration_key_has_a_meaning() -> None:
    rows = [line for line in document.config_page().splitlines() if line.startswith("| `")]
    silent = [line for line in rows if line.rstrip(" |").count("|") < 4 or not line.split("|")[-2].strip()]
    assert silent == []


def test_readme_names_every_verb() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    names = [command.name or command.callback.__name__ for command in app.registered_commands if command.callback]
    assert [name for name in names if f"imageloom {name}" not in readme] == []


def test_readme_tree_names_every_module() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    modules = [path for folder in ("curation", "graph", "captioning", "model", "jobs") for path in (ROOT / folder).glob("*.py")]
    missing = [path.relative_to(ROOT).as_posix() for path in modules if path.name != "__init__.py" and path.name not in readme]
    assert missing == []


def test_links_between_documents_lead_somewhere() -> None:
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("benchmarks/*.md")]
    broken = [
        f"{page.name}: {target}"
        for page in pages
        for target in re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8"))
        if "://" not in target and not (page.parent / target).exists()
    ]
    assert broken == []
