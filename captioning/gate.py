"""Who may send now: no more requests in flight than the window holds, retried ones first, nobody while the server refuses all.

One refusal concerns the request that met it. When as many in a row as the window holds were refused and none was answered, the
server's wait is taken for everybody: the limit is then one of requests or tokens per minute, and sending on only prolongs it.
"""

import asyncio
from collections import deque
from typing import Literal

from captioning.congestion import Window

Outcome = Literal["answered", "load", "other"]


class Gate:
    """Admission to one server; belongs to one event loop."""

    def __init__(self, window: Window) -> None:
        self.window = window
        self.in_flight = 0
        self.most_in_flight = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._closed_until = 0.0
        self._refused_in_a_row = 0

    async def enter(self, *, again: bool) -> int:
        """Wait for a place and return the window's epoch; again: before those who have not sent yet."""
        loop = asyncio.get_running_loop()
        if self._waiting or not self._open(loop.time()):
            turn: asyncio.Future[None] = loop.create_future()
            self._waiting.appendleft(turn) if again else self._waiting.append(turn)
            try:
                await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():
                    self._give_back()
                raise
        else:
            self._take()
        return self.window.epoch

    def leave(self, epoch: int, outcome: Outcome, wait: float | None = None) -> None:
        """Give the place back; wait: the seconds that the server asks for."""
        if outcome == "answered":
            if self._waiting or self.in_flight >= self.window.size:  # a window that is not full proves nothing
                self.window.succeeded()
            self._refused_in_a_row = 0
        elif outcome == "load":
            self.window.refused(epoch, accepted=self.in_flight - 1)
            self._refused_in_a_row += 1
            if wait and self._refused_in_a_row >= max(4, self.window.size):
                loop = asyncio.get_running_loop()
                self._closed_until = max(self._closed_until, loop.time() + wait)
                loop.call_later(wait + 0.001, self._admit)
        self._give_back()

    def _open(self, now: float) -> bool:
        return self.in_flight < self.window.size and now >= self._closed_until

    def _take(self) -> None:
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)

    def _give_back(self) -> None:
        self.in_flight -= 1
        self._admit()

    def _admit(self) -> None:
        now = asyncio.get_running_loop().time()
        while self._waiting and self._open(now):
            turn = self._waiting.popleft()
            if not turn.done():
                self._take()
                turn.set_result(None)
