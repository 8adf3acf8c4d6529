"""How many requests a server takes at once, found out by asking: additive increase, multiplicative decrease.

The window doubles with every window of successes until the first refusal, as TCP's slow start does, and that refusal halves it.
Later ones (429, 503, a try that timed out) lower it by a tenth, all of them no more than once per window, since the refusals of
one burst say one thing. Then
it grows by one per window of successes, and ten times slower near the size that was refused last, so that it stays close below
the server's limit and tries again rarely.

Jacobson & Karels 1988, Congestion avoidance and control, https://doi.org/10.1145/52325.52356; the plateau is CUBIC's idea,
https://www.rfc-editor.org/rfc/rfc9438
"""

import math

DECREASE = 0.9
"""A server's limit is one number, not a queue to drain: a tenth below what it refused is enough, half would idle it."""
PLATEAU = 10
"""Windows of successes before the size that was refused last is tried again."""


class Window:
    """The size of the window, between `floor` and `ceiling`; tells nothing of time, so it needs no clock."""

    def __init__(self, *, ceiling: int, start: int = 4, floor: int = 1) -> None:
        self._floor, self._ceiling = float(floor), float(ceiling)
        self._size = float(min(max(start, floor), ceiling))
        self._refused: float | None = None  # the size at the last refusal
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
        if self._refused is None:
            step = 1.0
        elif self._size + 1 < self._refused:
            step = 1 / self._size
        else:
            step = 1 / (PLATEAU * self._size)
        self._size = min(self._ceiling, self._size + step)

    def refused(self, epoch: int) -> None:
        """Note that a request sent in `epoch` was refused for load; those sent before the last decrease say nothing new."""
        self.refusals += 1
        if epoch != self._epoch:
            return
        self._epoch += 1
        factor = 0.5 if self._refused is None else DECREASE
        self._refused = float(self.size)
        self._size = max(self._floor, min(self._size * factor, self.size - 1))
