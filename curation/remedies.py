"""Approved remedies for a data set, as `imageloom remediate --apply` writes them: images to leave out, captions to correct.

A JSONL file, one remedy per line: {"action": "drop", "id", "detail"}, {"action": "relabel", "id", "wrong", "right"} or
{"action": "fetch", ...}; what is to be fetched is for the person or program that fetches. A selection takes the drops, the
captioner the relabels. Ids are hashes of the files' bytes, so a list holds for any run that meets the same files.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from curation.errors import ConfigError, StaleInput
from curation.schema import CAPTIONS, conform

ACTIONS = ("drop", "relabel", "fetch")
REASON = "remediated"
"""SELECTION.reason of an image that a remedy drops."""


@dataclass(frozen=True)
class Remedies:
    """drops: why each id is left out. relabels: by id, the phrases to replace and what by, in order."""

    drops: Mapping[str, str] = field(default_factory=dict)
    relabels: Mapping[str, Sequence[tuple[str, str]]] = field(default_factory=dict)


def read_remedies(path: Path | str) -> Remedies:
    """Return the remedies in a JSONL file; raises ConfigError when it cannot be read or a line is none, naming the line."""
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"remedies {path} cannot be read as UTF-8 text: {error}") from None
    drops: dict[str, str] = {}
    relabels: dict[str, list[tuple[str, str]]] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        remedy = _remedy(line, f"{path}, line {number}")
        if remedy["action"] == "drop":
            drops.setdefault(remedy["id"], str(remedy.get("detail") or "in the list of remedies"))
        elif remedy["action"] == "relabel":
            relabels.setdefault(remedy["id"], []).append((remedy["wrong"], remedy["right"]))
    return Remedies(drops, relabels)


def file_sha256(path: str) -> str:
    """Return the sha256 of a file of remedies, by which a stage knows whether it has changed; raises ConfigError."""
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except OSError as error:
        raise ConfigError(f"remedies {path} cannot be read: {error.strerror}") from None


def checked_remedies(path: str, sha256: str) -> Remedies:
    """Return the remedies of a file; raises StaleInput when it is no longer what the run was started with."""
    if file_sha256(path) != sha256:
        raise StaleInput(f"remedies {path} changed while the run was going; start the run again")
    return read_remedies(path)


def corrected(captions: pa.Table, relabels: Mapping[str, Sequence[tuple[str, str]]]) -> pa.Table:
    """Return CAPTIONS with the phrases of `relabels` replaced, by id, in every text; such captions get the flag corrected.

    A phrase is found whatever its case, and in scripts with spaces only as whole words.
    """
    rows = captions.to_pylist()
    for row in rows:
        for wrong, right in relabels.get(row["id"], ()):
            for caption in row["captions"] or []:
                _correct(caption, _phrase(wrong), right)
    column = pa.array([row["captions"] for row in rows], CAPTIONS.field("captions").type)
    return conform(captions.set_column(captions.column_names.index("captions"), "captions", column), CAPTIONS)


def _correct(caption: dict[str, Any], wrong: re.Pattern[str], right: str) -> None:
    text, times = wrong.subn(lambda _: right, caption["text"] or "")
    if times:
        caption["text"] = text
        caption["flags"] = list(dict.fromkeys([*(caption["flags"] or []), "corrected"]))
        caption["evidence"] = [*(caption["evidence"] or []), {"clause": right, "source": "remedy", "value": wrong.pattern}]


def _phrase(text: str) -> re.Pattern[str]:
    spaced = text.isascii()
    words = r"\s+".join(re.escape(word) for word in text.split())
    return re.compile(rf"(?<!\w){words}(?!\w)" if spaced else words, re.IGNORECASE)


def _remedy(line: str, where: str) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{where} is no JSON: {error}") from None
    if not isinstance(value, dict) or value.get("action") not in ACTIONS:
        raise ConfigError(f"{where}: needs an action, one of {', '.join(ACTIONS)}")
    needed = {"drop": ("id",), "relabel": ("id", "wrong", "right"), "fetch": ()}[value["action"]]
    for name in needed:
        if not isinstance(value.get(name), str) or not value[name].strip():
            raise ConfigError(f"{where}: a remedy to {value['action']} needs text in {', '.join(needed)}")
    return value
