"""Generated pages: docs/tables.md from the schemas, docs/config.md from the typed configuration, docs/cli.md from the verbs,
docs/scale.md and docs/model.md from the arithmetic.

`python -m jobs.document` writes them; a test compares them with what this module would write, so they cannot fall behind.
"""

import dataclasses
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_type_hints

import pyarrow as pa
import typer
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from curation import schema
from curation.errors import FAILURE_CODES
from curation.metrics import METRICS_SCHEMA
from jobs.__main__ import app
from jobs.config import Config
from jobs.knowledge import STAGES as KNOWLEDGE_STAGES
from jobs.model_page import model_page
from jobs.pipeline import STAGES
from jobs.scale_page import scale_page
from model.config import SECTIONS, TrainConfig

UNSAID = re.compile(r"\b(?:typing|jobs\.config\w*|model\.config)\.|Annotated\[(?=\w+, )|, (?:Gt|Ge)\([^)]*\)\]")
"""What is left out of the names of types: modules and bounds."""

TABLES: dict[str, pa.Schema] = {
    "images": schema.IMAGES,
    "metrics": METRICS_SCHEMA,
    "embeddings": schema.embeddings_schema(1280, 512),
    "tags": schema.TAGS,
    "scores": schema.SCORES,
    "ocr": schema.OCR,
    "exact": schema.EXACT,
    "neighbours": schema.NEIGHBOURS,
    "hierarchy": schema.HIERARCHY,
    "caption_fit": schema.CAPTION_FIT,
    "centroids": schema.centroids_schema(1280),
    "lists": schema.LISTS,
    "nearest": schema.NEAREST,
    "pairs": schema.PAIRS,
    "edges": schema.EDGES,
    "keypoints": schema.KEYPOINTS,
    "verdicts": schema.VERDICTS,
    "confirmations": schema.VERDICTS,
    "forests": schema.FORESTS,
    "components": schema.COMPONENTS,
    "partitions": schema.PARTITIONS,
    "communities": schema.COMMUNITIES,
    "duplicates": schema.DUPLICATES,
    "placeholders": schema.PLACEHOLDERS,
    "watermarks": schema.WATERMARKS,
    "selection": schema.SELECTION,
    "mentions": schema.MENTIONS,
    "captions": schema.CAPTIONS,
    "taxonomy": schema.TAXONOMY,
    "balance": schema.BALANCE,
    "concept_shares": schema.CONCEPT_SHARES,
    "shards": schema.SHARDS,
    "sample_loss": schema.SAMPLE_LOSS,
    "edit_pairs": schema.EDIT_PAIRS,
    "pair_shards": schema.PAIR_SHARDS,
}
"""Every table of a run; embeddings are shown with example widths."""

KNOWLEDGE_TABLES: dict[str, pa.Schema] = {
    "entities": schema.ENTITIES,
    "links": schema.LINKS,
    "anchors": schema.ANCHORS,
    "concepts": schema.CONCEPTS,
    "pages": schema.PAGES,
    "languages": schema.LANGUAGES,
    "titles": schema.TITLES,
    "forms": schema.FORMS,
    "occurrences": schema.OCCURRENCES,
}
"""Every table of a knowledge base: what it is read for, then the steps on the way."""


def tables_page() -> str:
    """Return docs/tables.md."""
    parts = [
        "# Tables\n\nWritten by `python -m jobs.document` from `curation/schema*.py` and `curation/metrics.py`.\n",
        "Every table is a folder of parquet parts in the run folder. A table with an `id` is row-aligned with `images`: the same",
        "ids in the same order, part by part. A row that failed keeps its id and has `error` set; its code is one of "
        + ", ".join(f"`{code}`" for code in FAILURE_CODES)
        + ".\n",
    ]
    writers = {stage.table: stage for stage in reversed(STAGES)}  # the first line of a table speaks for the others
    for name, fields in TABLES.items():
        parts += _table(name, fields, f"Stage `{writers[name].name}`: {writers[name].does}.")
    parts += _table("pair_loss", schema.PAIR_LOSS, "A file by `imageloom losses` of edit pairs: how well the model makes each.")
    parts.append("# Tables of a knowledge base\n\n`imageloom knowledge build` writes them into a folder of their own.\n")
    does = {stage.table: stage.does for stage in KNOWLEDGE_STAGES}
    for name, fields in KNOWLEDGE_TABLES.items():
        parts += _table(name, fields, f"`KNOWLEDGE/{name}`: {does[name]}.")
    others = [f"`{name}` ({does[name]})" for name in does if name not in KNOWLEDGE_TABLES]
    parts.append(f"Without rows, files for the stages that follow: {', '.join(others)}.\n")
    return "\n".join(parts)


def _table(name: str, fields: pa.Schema, about: str) -> list[str]:
    head = f"## {name}\n\n{about}\n\n| column | type | unit | meaning |\n|---|---|---|---|"
    return [head, *(_field(field) for field in fields), ""]


def config_page() -> str:
    """Return docs/config.md."""
    parts = ["# Configuration\n\nWritten by `python -m jobs.document` from `jobs/config*.py` and `model/config.py`.\n"]
    parts.append("A run needs `source` and `out`; everything else has a default. An unknown key is an error.\n")
    parts += _section("top level", Config, Config.__doc__ or "")
    for name, info in Config.model_fields.items():
        parts += _described(name, info.annotation)
    return "\n".join(parts)


def cli_page() -> str:
    """Return docs/cli.md."""
    command: Any = typer.main.get_command(app)
    parts = ["# Command line\n\nWritten by `python -m jobs.document` from `jobs/__main__.py`.\n"]
    parts.append("`imageloom VERB ...` is the same as `python -m jobs VERB ...`.\n")
    for name, verb in _verbs(command.commands):
        parts.append(f"## {name}\n\n{inspect.cleandoc(verb.help)}\n\n| argument | meaning |\n|---|---|")
        for parameter in verb.params:
            names = ", ".join(f"`{option}`" for option in parameter.opts)
            default = parameter.default
            shown = "" if default in (None, False, []) or callable(default) else f" (default: `{default}`)"
            parts.append(f"| {names} | {_cell(getattr(parameter, 'help', '') or '')}{shown} |")
        parts.append("")
    parts.append("Exit codes: " + _exit_codes())
    return "\n".join(parts) + "\n"


def _verbs(commands: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every verb by its full name; a group of verbs is followed by its own."""
    for name, verb in commands.items():
        if hasattr(verb, "commands"):
            yield from _verbs(verb.commands, f"{prefix}{name} ")
        else:
            yield prefix + name, verb


def _exit_codes() -> str:
    import jobs.__main__ as verbs

    return " ".join((verbs.__doc__ or "").partition("Exit codes: ")[2].split())


def _field(field: pa.Field) -> str:
    metadata = {key.decode(): value.decode() for key, value in (field.metadata or {}).items()}
    return f"| `{field.name}` | {_cell(str(field.type))} | {metadata.get('unit', '')} | {_cell(metadata.get('doc', ''))} |"


def _described(name: str, annotation: Any) -> list[str]:
    kind = next((arg for arg in (annotation, *getattr(annotation, "__args__", ())) if inspect.isclass(arg)), None)
    if kind is TrainConfig:
        pieces = [("train", TrainConfig), *((f"train.{key}", section) for key, section in SECTIONS.items())]
        return [line for place, settings in pieces for line in _dataclass(place, settings)]
    if kind is None or not issubclass(kind, BaseModel):
        return []
    nested = [line for key, info in kind.model_fields.items() for line in _described(f"{name}.{key}", info.annotation)]
    return _section(name, kind, kind.__doc__ or "") + nested


def _section(name: str, kind: type[BaseModel], doc: str) -> list[str]:
    rows = [
        f"| `{key}` | {_type(info.annotation)} | {_default(info.default)} | {_cell(info.description or _refer(key))} |"
        for key, info in kind.model_fields.items()
    ]
    lines = [f"## {name}\n\n{inspect.cleandoc(doc)}\n"]
    return [*lines, "| key | type | default | meaning |\n|---|---|---|---|", *rows, ""] if rows else lines


def _refer(key: str) -> str:
    return f"section `{key}` below"


def _dataclass(place: str, kind: Any) -> list[str]:
    docs = _field_docs(kind)
    hints = get_type_hints(kind)
    rows = []
    for field in dataclasses.fields(kind):
        default = getattr(kind(), field.name)
        shown = "see below" if dataclasses.is_dataclass(default) else _default(default)
        rows.append(f"| `{field.name}` | {_type(hints[field.name])} | {shown} | {_cell(docs.get(field.name, ''))} |")
    return [
        f"## {place}\n\n{inspect.cleandoc(kind.__doc__)}\n",
        "| key | type | default | meaning |\n|---|---|---|---|",
        *rows,
        "",
    ]


def _field_docs(kind: Any) -> dict[str, str]:
    """Return each field's documentation: the string below it, or the comment behind it."""
    docs: dict[str, str] = {}
    last = ""
    for line in inspect.getsource(kind).splitlines():
        text = line.strip()
        name = text.partition(":")[0]
        if name in kind.__dataclass_fields__:
            last, docs[name] = name, text.partition("  # ")[2]
        elif last and text.startswith('"""') and text.endswith('"""') and len(text) > 6 and not docs[last]:
            docs[last] = text.strip('"')
    return docs


def _type(annotation: Any) -> str:
    text = annotation.__name__ if inspect.isclass(annotation) and not getattr(annotation, "__args__", None) else str(annotation)
    return f"`{_cell(re.sub(UNSAID, '', text))}`"


def _default(value: Any) -> str:
    if value is PydanticUndefined:
        return "required"
    if isinstance(value, BaseModel):
        return "see below"
    return f"`{_cell(str(list(value) if isinstance(value, tuple) else value))}`"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


PAGES = {"tables.md": tables_page, "config.md": config_page, "cli.md": cli_page, "scale.md": scale_page, "model.md": model_page}


def main() -> None:
    """Write every generated page."""
    folder = Path(__file__).parent.parent / "docs"
    folder.mkdir(exist_ok=True)
    for name, page in PAGES.items():
        folder.joinpath(name).write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
