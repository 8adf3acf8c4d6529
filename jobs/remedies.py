"""Reviewed proposals to remedies: the approved lines as one file, and the YAML of a new run that takes it.

A loop is a new run: the old one stays as it is, and the new one's YAML names the file of remedies, which names the old run.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from curation.cards import write_page
from curation.errors import ConfigError
from curation.remedies import REASON
from curation.tables import Run


def apply(run: Run, proposals: Path, out: Path) -> dict[str, int]:
    """Write the approved proposals as remedies and return how many there are of each action.

    out: a .jsonl file for the remedies; or a .yaml file: the configuration of a new run, with the remedies beside it.
    Raises ConfigError when nothing is approved, or a line, an id or the ending of `out` is wrong.
    """
    if out.suffix not in (".jsonl", ".yaml", ".yml"):
        raise ConfigError(f"--out {out}: must end in .jsonl (remedies) or .yaml (a new run and its remedies)")
    remedies = [remedy for number, line in _lines(proposals) for remedy in _approved(run, line, f"{proposals}, line {number}")]
    if not remedies:
        raise ConfigError(f"no proposal in {proposals} is approved: set `approved` to true, or to a list of ids, and apply again")
    beside = out.with_suffix(".jsonl")
    write_page(beside, "".join(json.dumps(remedy, ensure_ascii=False) + "\n" for remedy in remedies))
    counts = {action: sum(one["action"] == action for one in remedies) for action in ("drop", "relabel", "fetch")}
    if out.suffix != ".jsonl":
        write_page(out, _new_run(run, beside, counts))
    return counts


def _lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--apply {path} cannot be read as UTF-8 text: {error}") from None
    for number, line in enumerate(lines, start=1):
        if line.strip():
            try:
                value = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise ConfigError(f"{path}, line {number} is no JSON: {error}") from None
            if not isinstance(value, dict) or "approved" not in value or "action" not in value:
                raise ConfigError(f"{path}, line {number} is no proposal: `imageloom remediate --failures` writes them")
            yield number, value


def _approved(run: Run, proposal: dict[str, Any], where: str) -> Iterator[dict[str, Any]]:
    approved = proposal["approved"]
    if approved is None or approved is False:
        return
    detail = f"proposal {proposal.get('proposal')}: {proposal.get('reason')}"
    source = {"run": str(run.root)}
    if proposal["action"] == "fetch":
        wanted = {"queries": proposal.get("queries"), "images": proposal.get("images_to_fetch")}
        yield {"action": "fetch", **wanted, "detail": detail, **source}
        return
    if proposal["action"] == "relabel" and not proposal.get("right"):
        raise ConfigError(f"{where}: an approved relabel needs `right`, the phrase that replaces {proposal.get('wrong')!r}")
    for id_ in _ids(run, proposal, where):
        if proposal["action"] == "drop":
            yield {"action": "drop", "id": id_, "reason": REASON, "detail": detail, **source}
        else:
            words = {"wrong": proposal["wrong"], "right": proposal["right"]}
            yield {"action": "relabel", "id": id_, **words, "detail": detail, **source}


def _ids(run: Run, proposal: dict[str, Any], where: str) -> list[str]:
    """Return the ids that are approved: all of the proposal, or those listed."""
    approved, offered = proposal["approved"], list(proposal.get("ids") or [])
    if approved is not True and not isinstance(approved, list):
        raise ConfigError(f"{where}: approved is {approved!r}; it must be true, false, null, or a list of ids")
    chosen = offered if approved is True else approved
    strange = [id_ for id_ in chosen if id_ not in offered]
    if strange:
        raise ConfigError(f"{where}: {strange[0]!r} is approved but is no id of this proposal")
    known = set(run.read("images", ["id"])["id"].to_pylist())
    for id_ in chosen:
        if id_ not in known:
            raise ConfigError(f"{where}: {id_} is no image of {run.root}: these proposals are for another run")
    return list(dict.fromkeys(chosen))


def _new_run(run: Run, remedies: Path, counts: dict[str, int]) -> str:
    """Return the old run's configuration with another `out` and the remedies."""
    try:
        settings = yaml.safe_load((run.root / "config.yaml").read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{run.root}/config.yaml cannot be read ({error}); use --out FILE.jsonl and name it yourself") from None
    settings["out"] = _fresh(run.root)
    if counts["drop"]:
        settings["select"] = {**(settings.get("select") or {}), "exclude": str(remedies.absolute())}
    if counts["relabel"]:
        settings["caption"] = {**(settings.get("caption") or {}), "corrections": str(remedies.absolute())}
    lines = [f"# Remedies for the run {run.root}, whose images/ has the digest {run.digest('images')[:16]}."]
    if counts["fetch"]:
        lines.append(
            f"# {counts['fetch']} lines of {remedies.name} say what to fetch: put it into the source before this run; or, to"
        )
        lines.append(
            f"# compute nothing of the old images again, into a folder of its own, with source: FOLDER and base: {run.root}"
        )
    return "\n".join(lines) + "\n" + str(yaml.safe_dump(settings, sort_keys=False, allow_unicode=True))


def _fresh(root: Path) -> str:
    names = (root.with_name(f"{root.name}-remediated{number or ''}") for number in range(1000))
    return str(next(name for name in names if not name.exists()))
