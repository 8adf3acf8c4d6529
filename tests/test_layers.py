"""The floors of the house, read from the imports: nothing reaches up, and heavy frameworks wait until they are needed."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MAY_IMPORT = {  # package -> which of our packages it may import
    "curation": {"curation"},
    "graph": {"graph", "curation"},
    "captioning": {"captioning", "curation"},
    "model": {"model", "curation"},
    "jobs": {"jobs", "curation", "graph", "captioning", "model"},
}
ONLY_IN_JOBS = {"ray", "yaml", "typer", "pydantic"}
HEAVY = {"torch", "torchvision", "transformers", "diffusers", "timm", "open_clip", "paddleocr", "onnxruntime"}
EMPTY_NAMES = {"utils", "util", "common", "misc", "helpers", "manager", "base", "core"}
SHADOWING_NAMES = {"profile", "graph", "model", "select", "types", "queue", "statistics"}

FILES = [path for package in MAY_IMPORT for path in sorted((ROOT / package).rglob("*.py"))]


def package_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0]


def imported(nodes: list[ast.stmt] | ast.Module) -> Iterator[str]:
    """Yield the first part of every absolute import below `nodes`; a relative import counts as its own name."""
    tops = nodes if isinstance(nodes, list) else [nodes]
    for node in (node for top in tops for node in ast.walk(top)):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "." if node.level else (node.module or "").split(".")[0]


def at_import_time(tree: ast.Module) -> list[ast.stmt]:
    """Return the statements that run when the module is imported: all but functions, classes and type-checking blocks."""
    deferred = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return [node for node in tree.body if not isinstance(node, deferred) and not for_type_checking(node)]


def for_type_checking(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)


def every_file_whose(found: dict[Path, set[str]]) -> list[str]:
    return [f"{path.relative_to(ROOT)} imports {', '.join(sorted(names))}" for path, names in found.items() if names]


def test_no_package_reaches_up_or_sideways():
    ours = set(MAY_IMPORT)
    found = {path: set(imported(ast.parse(path.read_text()))) & ours - MAY_IMPORT[package_of(path)] for path in FILES}
    assert every_file_whose(found) == []


def test_only_jobs_knows_ray_and_configuration():
    below = [path for path in FILES if package_of(path) != "jobs"]
    found = {path: set(imported(ast.parse(path.read_text()))) & ONLY_IN_JOBS for path in below}
    assert every_file_whose(found) == []


def test_heavy_frameworks_are_imported_at_the_top_only_in_model():
    allowed = {path for path in FILES if package_of(path) == "model" and path.name != "config.py"}
    rest = [path for path in FILES if path not in allowed]
    found = {path: set(imported(at_import_time(ast.parse(path.read_text())))) & HEAVY for path in rest}
    assert every_file_whose(found) == []


def test_imports_are_absolute():
    assert [str(path) for path in FILES if "." in imported(ast.parse(path.read_text()))] == []


def test_every_module_is_named_by_an_idea():
    assert [str(path.relative_to(ROOT)) for path in FILES if path.stem in EMPTY_NAMES] == []


def test_no_module_of_jobs_hides_another_module():
    assert [path.name for path in FILES if package_of(path) == "jobs" and path.stem in SHADOWING_NAMES] == []


def test_init_files_hold_a_docstring_and_nothing_else():
    for path in (path for path in FILES if path.name == "__init__.py"):
        body = ast.parse(path.read_text()).body
        assert len(body) == 1, path
        assert isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant), path


def test_every_module_opens_with_a_docstring():
    assert [str(path.relative_to(ROOT)) for path in FILES if not ast.get_docstring(ast.parse(path.read_text()))] == []


def test_tests_are_flat():
    assert [path.name for path in (ROOT / "tests").iterdir() if path.is_dir() and any(path.rglob("*.py"))] == []


@pytest.mark.skipif(not (ROOT / "jobs" / "__main__.py").exists(), reason="jobs/__main__.py is missing")
def test_help_loads_neither_torch_nor_ray():
    """Ask Python itself for the list of imported modules; -X importtime writes one line each to standard error."""
    command = [sys.executable, "-X", "importtime", "-m", "jobs", "--help"]
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    names = (line.rsplit("|", 1)[1].strip() for line in process.stderr.splitlines() if line.startswith("import time:"))
    loaded = {name.split(".")[0] for name in names}
    assert "typer" in loaded or "argparse" in loaded
    assert loaded & {"ray", *HEAVY} == set()
