"""Endless batches of the samples of one task, by epoch and number.

A bucket of images of one shape is an endless row of passes: pass p is a permutation in which sample i occurs
floor((p + 1) w_i + u_i) - floor(p w_i + u_i) times, w_i its weight over the mean and u_i a fixed draw in [0, 1). Equal weights
give plain permutations; other weights are met exactly in the long run. Epoch e owns the batches that end in pass e, so a leftover
of one epoch opens the next and nothing is dropped.
"""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np

from model.buckets import Bucket
from model.draws import draws


class Passes:
    """The batches of buckets, each of one bucket; a lookup by epoch and number, or by position from the beginning."""

    def __init__(self, buckets: Sequence[Bucket], *, seed: int, key: int = -1) -> None:
        """key: the negative batch numbers key and key - 1 name this task's draws; two tasks of one training differ in them."""
        self.buckets, self._seed, self._key = list(buckets), seed, key
        self._order = lru_cache(maxsize=2)(self._epoch_order)
        self._stream = lru_cache(maxsize=2 * len(self.buckets) + 2)(self._pass)
        self._length = lru_cache(maxsize=16 * len(self.buckets) + 16)(self._counted)

    def epoch_length(self, epoch: int) -> int:
        """Return the number of batches of `epoch`; it may be 0 when the samples of one pass do not fill a batch."""
        return len(self._order(epoch))

    def batch(self, epoch: int, number: int) -> tuple[Bucket, np.ndarray]:
        """Return the bucket and the rows (B,) of batch `number` of `epoch`."""
        which, index = self._order(epoch)[number]
        size = self.buckets[which].batch_size
        return self.buckets[which], self._items(which, epoch, index * size, (index + 1) * size)

    def batches_before(self, epoch: int) -> int:
        """Return the number of batches of all earlier epochs."""
        return sum(self._length(k, epoch) // bucket.batch_size for k, bucket in enumerate(self.buckets))

    def samples_before(self, epoch: int) -> int:
        """Return the number of samples in the batches of all earlier epochs."""
        sizes = [bucket.batch_size for bucket in self.buckets]
        return sum(self._length(k, epoch) // size * size for k, size in enumerate(sizes))

    def at(self, position: int) -> tuple[Bucket, np.ndarray]:
        """Return the batch that has `position` batches before it, counted from the beginning of training."""
        epoch = last_at_most(self.batches_before, position)
        return self.batch(epoch, position - self.batches_before(epoch))

    def batches_within(self, samples: int) -> int:
        """Return how many batches, from the beginning of training, hold at most `samples` samples together."""
        epoch = last_at_most(self.samples_before, samples)
        ends = np.cumsum([self.buckets[which].batch_size for which, _ in self._order(epoch)])
        return self.batches_before(epoch) + int(np.searchsorted(ends, samples - self.samples_before(epoch), side="right"))

    def _epoch_order(self, epoch: int) -> list[tuple[int, int]]:
        owned = [
            (which, index)
            for which, bucket in enumerate(self.buckets)
            for index in range(
                self._length(which, epoch) // bucket.batch_size, self._length(which, epoch + 1) // bucket.batch_size
            )
        ]
        return [owned[i] for i in draws(self._seed, epoch, self._key, -1).permutation(len(owned))]

    def _counted(self, which: int, passes: int) -> int:
        """Length of a bucket's endless row up to the end of pass `passes` - 1."""
        bucket = self.buckets[which]
        return int((bucket.occurrences(passes) - bucket.occurrences(0)).sum())

    def _items(self, which: int, epoch: int, start: int, stop: int) -> np.ndarray:
        """Items `start` to `stop` of a bucket's endless row, which end in pass `epoch` or before."""
        parts: list[np.ndarray] = []
        number = epoch
        while stop > start:
            begin = self._length(which, number)
            if stop > begin:
                items = self._stream(which, number)
                parts.insert(0, items[max(start, begin) - begin : stop - begin])
                stop = max(start, begin)
            number -= 1
        return np.concatenate(parts)

    def _pass(self, which: int, number: int) -> np.ndarray:
        bucket = self.buckets[which]
        repeats = bucket.occurrences(number + 1) - bucket.occurrences(number)
        return draws(self._seed, number, self._key - 1, which).permutation(np.repeat(bucket.rows, repeats))


def last_at_most(growing: Callable[[int], int], bound: int) -> int:
    """Return the largest n >= 0 with growing(n) <= bound; `growing` never falls, begins at 0 and has no limit."""
    above = 1
    while growing(above) <= bound:
        above *= 2
    return bisect_right(range(above), bound, key=growing) - 1
