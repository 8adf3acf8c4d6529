"""How often and how long one ask is tried: what each failed try means for the next."""

import time
from dataclasses import dataclass

from captioning.backoff import asked_wait, backoff_seconds, uniform
from captioning.channel import Response

SERVER_TRIES = 3
"""Tries of an ask that is answered with 500: some servers answer so to a picture they cannot read, and always will."""
_MALFORMED = "does not match the expected"
"""llama.cpp's 500 for an answer that broke its own grammar: only another seed can help."""


@dataclass
class Patience:
    """The tries of one ask. `started` is the monotonic time of its first request."""

    key: str
    max_tries: int
    deadline_seconds: float
    started: float | None = None
    tries: int = 0
    counted: int = 0
    server_errors: int = 0
    with_schema: bool = True
    another_seed: int = 0

    def left_seconds(self) -> float:
        """Return the seconds until the ask's deadline, which begins with its first request."""
        now = time.monotonic()
        self.started = now if self.started is None else self.started
        return self.started + self.deadline_seconds - now

    def wait(self, response: Response, *, forgiven: bool, seen: bool) -> float | None:
        """Note a failed try and return the seconds until the next one, None when there is none.

        forgiven: the failure is somebody else's. seen: the server has answered something before, so that a connection that
        cannot be made means a restart and not a wrong address.
        """
        found = response.verdict
        self.tries += 1
        if found.kind == "schema":
            self.with_schema = False
            return 0.0
        if forgiven:
            return 0.0
        if found.kind == "server":
            self.server_errors += 1
            self.another_seed += _MALFORMED in found.detail
        refused_for_load = found.kind == "load" and found.code != "timeout"
        if not refused_for_load and not (not response.reached and seen):
            self.counted += 1  # the others end with the deadline alone
        if self.server_errors >= SERVER_TRIES or self.counted >= self.max_tries:
            return None
        asked = asked_wait(response.headers, now=time.time())
        # A little jitter, so that those who were refused together do not come back together.
        seconds = backoff_seconds(self.key, self.tries) if asked is None else asked + 0.1 * uniform(self.key, self.tries)
        return seconds if seconds < self.left_seconds() else None
