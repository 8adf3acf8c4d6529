"""All questions of a run for a server, counted or written to batch files instead of asked; and the answers of batches.

The captioner decides what to ask, as in the run itself; only who answers is exchanged. Nothing but the cache is written.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from captioning.answer import Backend
from captioning.batch_jsonl import BatchExport, Imported, import_batch
from captioning.chat_request import RequestForm
from captioning.quote import Quote, Quoting
from captioning.response_cache import ResponseCache
from curation.errors import ConfigError
from curation.tables import Run
from jobs.backends import backend_settings
from jobs.caption import Captioner
from jobs.config import Config, read_config
from jobs.pipeline import pipeline

SHOWN_ERRORS = 5
EXPORT_COUNTS = ("lines", "answered", "unsendable", "input_tokens", "max_output_tokens")


def answer_later(
    run: Run, *, config: Path | None, estimate: bool, export: Path | None, results: Sequence[Path], as_json: bool = False
) -> None:
    """Import, export, estimate, in that order, whichever are asked for, and print what came of it, as text or one JSON value."""
    settings = read_config(config or run.root / "config.yaml", {"out": str(run.root)})
    done: dict[str, Any] = {}
    shown: list[str] = []
    if results:
        imported = import_batch(results, _cache(settings))
        done["import"] = asdict(imported)
        shown += told(imported)
    if export is not None:
        written = exported(run, settings, export)
        done["export"] = {name: getattr(written, name) for name in EXPORT_COUNTS} | {
            "files": [str(file) for file in written.files]
        }
        shown.append(line_of(written))
    if estimate:
        found = quote(run, settings)
        done["estimate"] = asdict(found)
        shown.append(str(found))
    print(json.dumps(done, indent=1, ensure_ascii=False) if as_json else "\n".join(shown))


def exported(run: Run, config: Config, file: Path) -> BatchExport:
    """Write all questions without an answer to batch files."""
    with BatchExport(_form(config), _cache(config), file) as export:
        _ask_all(run, config, export)
    return export


def line_of(export: BatchExport) -> str:
    """Return one line on what was exported."""
    if not export.lines:
        return f"nothing to ask: {export.answered} questions are answered already, {export.unsendable} have no usable picture"
    return (
        f"{export.lines} questions in {', '.join(str(path) for path in export.files)}; {export.answered} are answered already, "
        f"{export.unsendable} have no usable picture; about {export.input_tokens} input tokens (an estimate), at most "
        f"{export.max_output_tokens} output tokens"
    )


def quote(run: Run, config: Config) -> Quote:
    """Return an estimate of what the open questions of a run will cost."""
    prices = {"input_price": config.caption.input_price, "output_price": config.caption.output_price}
    quoting = Quoting(_form(config), _cache(config), **prices)
    _ask_all(run, config, quoting)
    return quoting.quote()


def told(found: Imported) -> list[str]:
    """Return what an import found, as lines."""
    lines = [f"{found.filled} answers imported, {found.input_tokens} input and {found.output_tokens} output tokens"]
    for name, keys in (("duplicate", found.duplicates), ("unknown", found.unknown), ("still missing", found.missing)):
        lines += [f"{len(keys)} {name}: {', '.join(key[:12] for key in keys[:SHOWN_ERRORS])}"] if keys else []
    lines += [f"{len(found.unreadable)} lines unreadable: {found.unreadable[:SHOWN_ERRORS]}"] if found.unreadable else []
    lines += [f"{len(found.errors)} errors"] if found.errors else []
    return lines + [f"  {key[:12]} {code}: {detail}" for key, (code, detail) in list(found.errors.items())[:SHOWN_ERRORS]]


def _ask_all(run: Run, config: Config, answering: Backend) -> None:
    planned = next(line for line in pipeline(config) if line.stage.name == "caption")
    parameters = {**planned.parameters, **planned.how}
    parameters["model"] = {**parameters["model"], "max_fallback_share": 1.0}  # nothing is answered yet
    captioner = Captioner(**parameters, answering=answering)
    missing = [table for table in planned.stage.inputs if not run.has(table)]
    if missing:
        raise ConfigError(f"{run.root} has no complete {missing[0]}/; `imageloom run ... --until select` makes it")
    tables = [*planned.stage.inputs, *(table for table in planned.stage.optional if run.has(table))]
    for part in range(run.num_parts("images")):
        captioner(**run.aligned(tables, part))


def _form(config: Config) -> RequestForm:
    settings = _settings(config)
    names = ("model", "parameters", "min_pixels", "max_pixels", "image_token_px")
    return RequestForm(**{name: settings[name] for name in names})


def _cache(config: Config) -> ResponseCache:
    return ResponseCache(Path(_settings(config)["cache"]).expanduser())


def _settings(config: Config) -> dict[str, Any]:
    if config.caption.backend != "endpoint":
        raise ConfigError(f"caption.backend is {config.caption.backend}: only the questions of an endpoint can wait for a batch")
    return backend_settings(config, "endpoint")
