"""A knowledge base: the second list of stages, from dumps of an encyclopedia to entities, links, anchors and concepts.

It runs through the same runner as a run of images: the same parts, commits, manifests, resume and progress.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from captioning.chunks import open_source
from captioning.dump import open_dump
from captioning.langlinks import is_sql
from curation.errors import ConfigError
from curation.tables import Run
from jobs.progress import Progress
from jobs.runner import Limits, Outcome, Planned, run_stages
from jobs.stage import Stage

STAGES: tuple[Stage, ...] = (
    Stage("pages", "pages", (), "jobs.knowledge_inputs:work", "pages of the dumps: kind, links, lead, running text",
          plan="jobs.knowledge_inputs:plan", digest="jobs.knowledge_inputs:source_digest"),
    Stage("languages", "languages", (), "jobs.knowledge_inputs:work_languages", "language links and Wikidata items",
          plan="jobs.knowledge_inputs:plan", digest="jobs.knowledge_inputs:source_digest"),
    Stage("titles", "titles", ("pages",), "jobs.knowledge_titles:work", "which title means which entity",
          plan="jobs.knowledge_titles:plan"),
    Stage("links", "links", ("pages", "titles"), "jobs.knowledge_titles:work_links", "who links to whom",
          plan="jobs.knowledge_titles:plan_links"),
    Stage("surfaces", "surfaces", ("pages", "titles"), "jobs.knowledge_anchors:work_surfaces",
          "texts that name entities, part by part", plan="jobs.knowledge_anchors:plan_surfaces", optional=("languages",)),
    Stage("forms", "forms", ("titles", "surfaces"), "jobs.knowledge_anchors:work_forms", "texts that name entities, sorted",
          plan="jobs.knowledge_anchors:plan_ranges"),
    Stage("lexicon", "lexicon", ("forms",), "jobs.knowledge_anchors:work_lexicon", "hashes of all these texts",
          plan="jobs.knowledge_anchors:plan_one"),
    Stage("occurrences", "occurrences", ("pages", "lexicon"), "jobs.knowledge_anchors:work_occurrences",
          "where they stand without being links", plan="jobs.knowledge_titles:plan_links"),
    Stage("tally", "tally", ("titles", "links", "lexicon", "occurrences"), "jobs.knowledge_anchors:work_tally",
          "sums over all parts", plan="jobs.knowledge_anchors:plan_one"),
    Stage("anchors", "anchors", ("titles", "forms", "lexicon", "tally"), "jobs.knowledge_anchors:work_anchors",
          "texts that name entities, with how often", plan="jobs.knowledge_anchors:plan_ranges"),
    Stage("meanings", "meanings", ("titles",), "jobs.knowledge_entities:work_meanings", "what the language links say, by entity",
          plan="jobs.knowledge_entities:plan_meanings", optional=("languages",)),
    Stage("entities", "entities", ("pages", "titles", "tally", "meanings"), "jobs.knowledge_entities:work",
          "what is known of every entity", plan="jobs.knowledge_entities:plan"),
    Stage("concepts", "concepts", ("entities", "links"), "jobs.concept_graph:work",
          "rank, visual verdict and parent of every entity", plan="jobs.concept_graph:plan", version=2),
)  # fmt: skip

KINDS = ("dump", "edges", "cirrus", "languages")
"""What an input file may be."""


def build(
    kb: Run,
    *,
    dumps: Sequence[Path],
    edges: Sequence[Path] = (),
    cirrus: Sequence[Path] = (),
    languages: Sequence[Path] = (),
    language: str | None = None,
    split_mb: float = 8.0,
    forms_per_range: int = 200_000,
    concepts: Mapping[str, Any] | None = None,
    concepts_how: Mapping[str, Any] | None = None,
    limits: Limits,
    redo: Sequence[str] = (),
    progress: Progress,
) -> list[Outcome]:
    """Bring every table of the knowledge base up to date and return what was done.

    concepts: settings of the stage `concepts` that are not the defaults; concepts_how: those that change no result.
    split_mb: MB of a packed file per part; four times as much of a plain one. language: default, the first dump's own, or en.
    Raises ConfigError without any input, SourceError for one that cannot be read.
    """
    inputs = [_input(path, kind) for kind, paths in zip(KINDS, (dumps, edges, cirrus), strict=False) for path in paths]
    if not inputs:
        raise ConfigError("a knowledge base needs pages: give --dump, --edges or --cirrus")
    spoken = language or (open_dump(dumps[0]).site.language if dumps else "en")
    given: dict[str, dict[str, Any]] = {
        "pages": {"inputs": inputs, "split_bytes": int(split_mb * (1 << 20)), "language": spoken},
        "languages": {
            "inputs": [_input(path, "languages") for path in languages],
            "split_bytes": int(split_mb * (1 << 20)),
            "language": spoken,
        },
        "titles": {"forms_per_range": forms_per_range},
        "surfaces": {"language": spoken},
        "concepts": dict(concepts or {}),
    }
    free = {"concepts": {"how": dict(concepts_how)}} if concepts_how else {}
    asked = [stage for stage in STAGES if languages or stage.name != "languages"]
    plan = [Planned(stage, given.get(stage.name, {}), None, free.get(stage.name, {})) for stage in asked]
    return run_stages(kb, plan, limits=limits, redo=redo, progress=progress)


def _input(path: Path, kind: str) -> dict[str, str]:
    return {"path": str(path.expanduser().absolute()), "kind": kind}


def check_language_input(path: Path, *, sql: bool) -> None:
    """Raise ConfigError when a file given as --langlinks is no SQL dump, or one given as --sitelinks is one."""
    if is_sql(open_source(path).head) != sql:
        option, other = ("--langlinks", "--sitelinks") if sql else ("--sitelinks", "--langlinks")
        kind = "SQL dump" if sql else "JSON dump of Wikidata"
        raise ConfigError(f"{option} {path} is no {kind}; is it meant for {other}?")
