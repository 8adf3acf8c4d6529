"""What a run depends on of a knowledge base: its folder, and the content of the tables that are read."""

from collections.abc import Sequence
from pathlib import Path

from curation.errors import ConfigError
from curation.tables import Run, fingerprint

LINK_TABLES = ("entities", "anchors", "links")
TAXONOMY_TABLES = ("entities", "concepts")


def knowledge_parameters(path: str, tables: Sequence[str]) -> dict[str, str]:
    """Return the folder and the hash of those of `tables` that it holds, so that a changed knowledge base makes a stage stale.

    Raises ConfigError when the folder holds no finished knowledge base.
    """
    run = Run(Path(path).expanduser())
    for name in ("entities", "anchors"):
        if not run.has(name):
            raise ConfigError(
                f"knowledge.path {run.root} holds no finished table {name}: build a knowledge base there with "
                "`imageloom knowledge build --dump FILE --out FOLDER`"
            )
    digests = {name: run.digest(name) for name in tables if run.has(name)}
    return {"knowledge": str(run.root), "knowledge_digest": fingerprint(digests)}
