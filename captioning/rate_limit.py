"""Requests and tokens per minute as token buckets, shared by every process that names the same file.

The generic cell rate algorithm (ITU-T I.371) keeps one number, the time at which the bucket would be full again, and is equal
to a leaky bucket with that capacity. A reservation is granted at once and says how long to wait, so waiting costs no polling
and the order of reservations is the order of sending. The number lies in a file of eight bytes under a lock; a process that is
killed holds nothing. Time is the wall clock, because processes must agree on it.
"""

import fcntl
import struct
import time
from collections.abc import Callable
from pathlib import Path

BURST_SECONDS = 2.0
"""How much may be sent at once after a pause, in seconds' worth of the rate; a server counts minutes or less."""


class RateLimit:
    """A rate of `per_minute` units; `file` None keeps it to this object."""

    def __init__(self, per_minute: float, *, file: Path | None = None, clock: Callable[[], float] = time.time) -> None:
        """Open or make the shared file.

        per_minute: units that flow back in a minute; one reservation may be larger than the bucket, and then drains it.
        """
        self._seconds_per_unit = 60.0 / per_minute
        self._clock, self._file, self._full_at = clock, file, 0.0
        if file is not None:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()

    def reserve(self, units: float) -> float:
        """Take `units` and return the seconds to wait before they may be used."""
        return self._shifted(units)

    def correct(self, units: float) -> None:
        """Take `units` more, or give them back when negative, once it is known what was used."""
        self._shifted(units)

    def _shifted(self, units: float) -> float:
        now = self._clock()
        if self._file is None:
            self._full_at, wait = _reserved(self._full_at, now, units * self._seconds_per_unit)
            return wait
        with self._file.open("r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # of this open file: lockf would let threads of one process pass
            stored = file.read(8)
            full_at = struct.unpack("<d", stored)[0] if len(stored) == 8 else 0.0
            full_at, wait = _reserved(full_at, now, units * self._seconds_per_unit)
            file.seek(0)
            file.write(struct.pack("<d", full_at))
        return wait


def _reserved(full_at: float, now: float, seconds: float) -> tuple[float, float]:
    """Return the new state and the seconds to wait; a clock that was set back, or nonsense in the file, counts as empty."""
    if not full_at < now + 86400:
        full_at = now
    start = max(full_at, now)
    return (start if seconds >= 0 else full_at) + seconds, max(0.0, start - now - BURST_SECONDS)
