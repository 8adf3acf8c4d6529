"""A backend that replays recorded replies in order and keeps what it was asked."""

from collections.abc import Iterable, Sequence

from captioning.answer import Ask, Reply


class Recorded:
    """Answers each ask with the next recorded reply."""

    def __init__(self, replies: Iterable[Reply]) -> None:
        self._replies = iter(replies)
        self.asked: list[Ask] = []

    def answer(self, asks: Sequence[Ask]) -> list[Reply]:
        """Return one recorded reply per ask."""
        self.asked += asks
        return [next(self._replies) for _ in asks]
