"""A pool of worker processes on Ray: a bounded window of items in flight, crashes counted, hangs ended.

Workers outlive a stage, so a process pays for its imports once; a worker that dies or overruns its limit is replaced and its
item tried again. After `max_attempts` the item is handed back to the stage marked `isolated`, which lets ingest find the one
image that kills its decoder; a stage that cannot isolate fails by name.
"""

import logging
import time
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import RayActorError, RayTaskError

from curation.errors import ImageloomError, StageFailed
from jobs.stage import Item, Stage
from jobs.worker import Worker

log = logging.getLogger(__name__)


@dataclass
class _Flight:
    """An item on its way: `since` is set once the worker's process is up, so its start does not count against the limit."""

    actor: Any
    item: Item
    attempts: int
    ready: Any
    since: float | None = None


class Pool:
    """Ray actors that compute items."""

    def __init__(
        self, root: str, *, num_workers: int, max_attempts: int, item_timeout_seconds: float, num_gpus: float = 0.0
    ) -> None:
        self.root = root
        self.num_workers = num_workers
        self.max_attempts = max_attempts
        self.item_timeout_seconds = item_timeout_seconds
        self._remote = ray.remote(num_cpus=1, num_gpus=num_gpus, max_restarts=0)(Worker)
        self._idle: deque[Any] = deque()
        self._actors: list[Any] = []

    def map(self, stage: Stage, parameters: Mapping[str, Any], fingerprint: str, items: list[Item]) -> Iterator[dict[str, Any]]:
        """Yield each item's result as it is committed, in any order; raises StageFailed naming the item."""
        waiting = deque((item, 0) for item in items)
        flying: dict[Any, _Flight] = {}
        while waiting or flying:
            while waiting and len(flying) < self.num_workers:
                item, attempts = waiting.popleft()
                actor = self._actor()
                ready = actor.ready.remote()
                flying[actor.work.remote(stage, dict(parameters), fingerprint, item)] = _Flight(actor, item, attempts, ready)
            done, _ = ray.wait(list(flying), num_returns=1, timeout=1.0)
            for ref in done:
                flight = flying.pop(ref)
                result = self._collect(ref, flight.actor, stage, flight.item)
                if result is None:
                    waiting.append(self._retry(stage, flight.item, flight.attempts + 1))
                else:
                    yield result
            for ref in self._overdue(flying):
                flight = flying.pop(ref)
                limit = self.item_timeout_seconds
                log.warning("%s %s ran longer than %.0f s and was ended", stage.name, flight.item["parts"], limit)
                self._discard(flight.actor)
                waiting.append(self._retry(stage, flight.item, flight.attempts + 1))

    def close(self) -> None:
        """End the workers, those with an item in hand too."""
        self._idle.clear()
        while self._actors:
            ray.kill(self._actors.pop())

    def _actor(self) -> Any:
        if self._idle:
            return self._idle.popleft()
        self._actors.append(self._remote.remote(self.root))
        return self._actors[-1]

    def _collect(self, ref: Any, actor: Any, stage: Stage, item: Item) -> dict[str, Any] | None:
        try:
            result = dict(ray.get(ref))
        except RayActorError as error:
            log.warning("%s %s: the worker process died (%s)", stage.name, item["parts"], str(error).splitlines()[0])
            self._actors.remove(actor)
            return None
        except RayTaskError as error:
            cause = error.cause
            self._idle.append(actor)
            if isinstance(cause, ImageloomError):
                raise cause from None
            if isinstance(cause, OSError):
                log.warning("%s %s: %s: %s", stage.name, item["parts"], type(cause).__name__, cause)
                return None
            raise StageFailed(f"{stage.name} failed on part {item['parts']}: {type(cause).__name__}: {cause}\n{error}") from None
        self._idle.append(actor)
        return result

    def _retry(self, stage: Stage, item: Item, attempts: int) -> tuple[Item, int]:
        if attempts < self.max_attempts:
            return item, attempts
        if stage.name == "ingest" and not item.get("isolated"):
            log.warning("%s %s failed %d times; decoding each image in a process of its own", stage.name, item["parts"], attempts)
            return {**item, "isolated": True}, 0
        raise StageFailed(
            f"{stage.name} failed {attempts} times on part {item['parts']}; see the log above. "
            "Finished parts are kept: run the same command again to continue."
        )

    def _overdue(self, flying: Mapping[Any, _Flight]) -> list[Any]:
        now = time.monotonic()
        for flight in flying.values():
            if flight.since is None and ray.wait([flight.ready], timeout=0)[0]:
                flight.since = now
        return [ref for ref, flight in flying.items() if flight.since and now - flight.since > self.item_timeout_seconds]

    def _discard(self, actor: Any) -> None:
        self._actors.remove(actor)
        ray.kill(actor)
