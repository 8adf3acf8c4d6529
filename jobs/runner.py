"""Runs the stage list: what is finished and current is skipped, what is half done is resumed, what is stale is named.

A stage is current when its manifest's fingerprint equals that of its parameters and its inputs' content digests. Input digests
are content hashes, so a stage that is redone with the same result leaves everything after it current.
"""

import fcntl
import logging
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import IO, Any

from curation.errors import ConfigError, StageFailed, StaleInput, TooManyFailures
from curation.schema import VERSION
from curation.tables import LOCK, Run, fingerprint
from jobs import stage as stages
from jobs.adopt import adopt, check_base, digest_of
from jobs.progress import Progress
from jobs.stage import Item, Stage

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Planned:
    """A stage with everything its result depends on."""

    stage: Stage
    parameters: Mapping[str, Any]
    base: Path | None = None  # an older run whose parts this one begins with
    how: Mapping[str, Any] = field(default_factory=dict)  # settings of the worker that no result depends on


@dataclass
class Outcome:
    """What happened to one stage in this invocation."""

    name: str
    state: str  # current, done
    rows: int = 0
    wall_seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_rss_bytes: int = 0
    results: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class Limits:
    """How the runner uses the machine and what it tolerates."""

    address: str = "local"
    num_cpus: int | None = None
    object_store_mb: int = 200
    max_attempts: int = 3
    item_timeout_seconds: float = 3600.0
    max_failed_share: float = 0.5
    gpus: Mapping[str, float] = field(default_factory=dict)


def run_stages(
    run: Run,
    plan: Sequence[Planned],
    *,
    limits: Limits,
    redo: Sequence[str] = (),
    progress: Progress,
    begin: Callable[[], None] | None = None,
) -> list[Outcome]:
    """Bring every stage of `plan` up to date in order and return what was done.

    redo: names of stages to compute again; the stages after them follow when their inputs' content changed.
    begin: called once the run is ours, before the first stage.
    Raises StaleInput when a finished stage was built from other parameters or inputs, before anything runs.
    """
    names = [planned.stage.name for planned in plan]
    for name in redo:
        if name not in names:
            raise ConfigError(f"--redo {name}: no such stage in this run; stages are {', '.join(names)}")
    for base in {planned.base for planned in plan if planned.base is not None}:
        check_base(Run(base))
    outcomes: list[Outcome] = []
    forgiven: set[str] = set()
    with _exclusive(run), ExitStack() as stack:
        if begin is not None:
            begin()
        crew = _Crew(run, limits, stack)
        for planned in plan:
            stage = planned.stage
            print_ = fingerprint_of(run, planned)
            forced = stage.name in redo or bool(forgiven & {*stage.inputs, *stage.optional})
            try:
                if _discard_if_stale(run, planned, print_, forced=forced, redone=stage.name in redo):
                    forgiven.add(stage.table)
            except StaleInput as error:
                raise StaleInput(f"{error}. {_remedy(run, plan, redo, done=len(outcomes))}") from None
            outcomes.append(_bring_up_to_date(run, planned, print_, crew, progress))
            _check_failures(run, stage, limits)
    return outcomes


class _Crew:
    """Starts Ray when the first stage needs it, and one pool of workers per kind: CPU workers, and workers with GPUs."""

    def __init__(self, run: Run, limits: Limits, stack: ExitStack) -> None:
        self.run, self.limits, self.stack = run, limits, stack
        self._resources: dict[str, float] = {}
        self._pools: dict[float, Any] = {}

    def pool(self, stage: str) -> Any:
        gpus = self.limits.gpus.get(stage, 0.0)
        if gpus not in self._pools:
            from jobs.pool import Pool

            self._pools[gpus] = Pool(
                str(self.run.root),
                num_workers=self._num_workers(stage, gpus),
                max_attempts=self.limits.max_attempts,
                item_timeout_seconds=self.limits.item_timeout_seconds,
                num_gpus=gpus,
            )
            self.stack.callback(self._pools[gpus].close)
        return self._pools[gpus]

    def _num_workers(self, stage: str, gpus: float) -> int:
        offered = self._offered()
        if not gpus:
            return int(offered.get("CPU", 1))
        workers = int(offered.get("GPU", 0) / gpus)
        if workers < 1:
            raise ConfigError(f"ray.gpus asks {gpus} GPUs for {stage}, but Ray offers {offered.get('GPU', 0):g}")
        return workers

    def _offered(self) -> dict[str, float]:
        if not self._resources:
            from jobs.cluster import session

            limits = self.limits
            self._resources = self.stack.enter_context(
                session(address=limits.address, num_cpus=limits.num_cpus, object_store_mb=limits.object_store_mb)
            )
        return self._resources


def _bring_up_to_date(run: Run, planned: Planned, print_: str, crew: _Crew, progress: Progress) -> Outcome:
    stage = planned.stage
    manifest = run.manifest(stage.table)
    if manifest is not None:
        progress.current(stage.name, int(manifest["rows"]))
        return Outcome(stage.name, "current", int(manifest["rows"]))
    started = time.perf_counter()
    if planned.base is not None:
        adopt(run, Run(planned.base), stage, planned.parameters)
    work = stages.items(stage, run, planned.parameters)
    record = record_of(run, planned, print_)
    run.start(stage.table, {**record, "parts": sum(len(item["parts"]) for item in work)})
    finished = {commit.part for commit in run.recover(stage.table)}
    open_items = [item for item in work if not finished.issuperset(item["parts"])]
    outcome = Outcome(stage.name, "done")
    progress.begin(stage.name, total=len(work), done=len(work) - len(open_items))
    for result in _results(crew, planned, print_, open_items):
        outcome.results.append(result)
        outcome.peak_rss_bytes = max(outcome.peak_rss_bytes, result["peak_rss_bytes"])
        progress.advance(stage.name, rows=result["rows"])
    _check_complete(run, stage, work)
    manifest = run.finish(stage.table, {**record, "elapsed_seconds": round(time.perf_counter() - started, 3)})
    outcome.rows, outcome.cpu_seconds = int(manifest["rows"]), float(manifest["cpu_seconds"])
    outcome.wall_seconds = time.perf_counter() - started
    progress.end(stage.name, rows=outcome.rows, wall_seconds=outcome.wall_seconds, cpu_seconds=outcome.cpu_seconds)
    return outcome


def _results(crew: _Crew, planned: Planned, print_: str, open_items: list[Item]) -> Iterator[dict[str, Any]]:
    if open_items:
        parameters = {**planned.parameters, **planned.how}
        yield from crew.pool(planned.stage.name).map(planned.stage, parameters, print_, open_items)


def _check_complete(run: Run, stage: Stage, work: list[Item]) -> None:
    wanted = {part for item in work for part in item["parts"]}
    missing = wanted - {commit.part for commit in run.commits(stage.table)}
    if missing:
        raise StageFailed(f"{stage.name}: parts {sorted(missing)[:5]} were not committed")


def _check_failures(run: Run, stage: Stage, limits: Limits) -> None:
    manifest = run.manifest(stage.table)
    if stage.name != "ingest" or manifest is None:
        return
    rows, ok = int(manifest["rows"]), int(manifest["counts"].get("ok", 0))
    if rows and (rows - ok) / rows > limits.max_failed_share:
        codes = ", ".join(f"{code} {number}" for code, number in manifest["counts"].items() if code != "ok")
        raise TooManyFailures(
            f"{rows - ok} of {rows} images failed, more than ray.max_failed_share = {limits.max_failed_share} allows: {codes}"
        )


def fingerprint_of(run: Run, planned: Planned) -> str:
    """Return the hash of everything a stage's result depends on: its parameters and its inputs' content."""
    return fingerprint(_basis(run, planned))


def _basis(run: Run, planned: Planned) -> dict[str, Any]:
    stage = planned.stage
    inputs = {table: run.digest(table) for table in stage.inputs}
    inputs |= {table: run.digest(table) for table in stage.optional if run.has(table)}
    if planned.base is not None and (digest := digest_of(Run(planned.base), stage)):
        inputs["base"] = digest
    if stage.digest is not None:
        inputs["source"] = stages.resolve(stage.digest)(**planned.parameters)
    return {
        "stage": stage.name,
        "stage_version": stage.version,
        "schema_version": VERSION,
        "parameters": dict(planned.parameters),
        "inputs": inputs,
    }


def record_of(run: Run, planned: Planned, print_: str) -> dict[str, Any]:
    """Return what a stage's manifest says of how it was made."""
    return {**_basis(run, planned), "fingerprint": print_, "code_version": code_version(), "table": planned.stage.table}


def _discard_if_stale(run: Run, planned: Planned, print_: str, *, forced: bool, redone: bool) -> bool:
    """Remove the table when it must be computed again; returns whether it was removed."""
    table = planned.stage.table
    if not run.folder(table).is_dir():
        return False
    if not redone:  # what is redone may be damaged
        begun = _begun(run, table)
        if begun is None or begun["fingerprint"] == print_:
            return False
        if not forced:
            raise StaleInput(_why_stale(run, planned, begun))
    _discard(run.folder(table))
    return True


def _discard(folder: Path) -> None:
    """Remove a table's folder; under its own name it vanishes at once, so a kill in between leaves no half table to resume."""
    aside = folder.with_name(f".{folder.name}.discarded")
    shutil.rmtree(aside, ignore_errors=True)
    folder.rename(aside)
    shutil.rmtree(aside, ignore_errors=True)


def _begun(run: Run, table: str) -> dict[str, Any] | None:
    return run.manifest(table) or run.started(table)


def _why_stale(run: Run, planned: Planned, begun: Mapping[str, Any]) -> str:
    stage = planned.stage
    now = _basis(run, planned)
    before, after = _flat(begun["parameters"]), _flat(now["parameters"])
    reasons = [
        f"parameter {name} was {before.get(name)!r} and is now {after.get(name)!r}"
        for name in sorted({*before, *after})
        if before.get(name) != after.get(name)
    ]
    reasons += [
        "files of the source were added, removed or changed since it was listed"
        if name == "source"
        else f"its input {name} was {str(begun['inputs'].get(name))[:8]} and is now {str(now['inputs'].get(name))[:8]}"
        for name in sorted({*begun["inputs"], *now["inputs"]})
        if begun["inputs"].get(name) != now["inputs"].get(name)
    ]
    reasons = reasons or [f"version {begun.get('stage_version')} of the stage is now {stage.version}"]
    return f"{stage.table}/ is stale: {'; '.join(reasons[:3])}"


def _remedy(run: Run, plan: Sequence[Planned], redo: Sequence[str], *, done: int) -> str:
    """Return the options that bring everything up to date: stages that are stale by themselves, and what was asked for."""
    stale = {planned.stage.name for planned in plan[done:]} & set(redo)
    again: set[str] = set()  # tables
    for planned in plan:
        stage = planned.stage
        if not again & {*stage.inputs, *stage.optional}:
            begun = _begun(run, stage.table)
            if begun is None or begun["fingerprint"] == fingerprint_of(run, planned):
                continue
            stale.add(stage.name)
        again.add(stage.table)
    options = " ".join(f"--redo {planned.stage.name}" for planned in plan if planned.stage.name in stale)
    return f"Repeat the command with {options} to compute what is stale, and what follows from it, again."


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested parameters under dotted names, as they would be written in a sentence."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) and value else {f"{prefix}{name}": value}
    return flat


def code_version() -> str:
    """Return the installed version of imageloom."""
    try:
        return version("imageloom")
    except PackageNotFoundError:
        return "0+uninstalled"


@contextmanager
def _exclusive(run: Run) -> Iterator[None]:
    """Hold the run's lock: a second driver on the same run is told so; the lock ends with the process, even by kill -9."""
    try:
        run.root.mkdir(parents=True, exist_ok=True)
        file = (run.root / LOCK).open("w")
    except OSError as error:
        raise ConfigError(f"out {run.root} cannot be made or written: {error.strerror}") from error
    with file:
        _lock(file, run.root)
        yield


def _lock(file: IO[str], root: Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ConfigError(f"{root} is in use by another imageloom process; wait for it or stop it") from None
