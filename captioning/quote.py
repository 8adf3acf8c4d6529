"""What asking will cost, before anything is sent: a backend that counts instead of asking.

Input tokens are estimated (captioning.chat_request.estimated_tokens). Output is what the cache's answers took on average, or
where there are none the most that is allowed. Second rounds are not known beforehand and are not in it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

from captioning.answer import Ask, Reply
from captioning.chat_request import UNSENDABLE, RequestForm, why_unsendable
from captioning.response_cache import ResponseCache
from captioning.spending import cost_of

SAMPLED = 500
"""Answers of the cache that the mean length is taken from."""
QUOTED = "quoted"
"""Error code of a question that was only counted."""


@dataclass(frozen=True)
class Quote:
    """An estimate. asks: questions that would be sent; cached: answered already; unsendable: those without a usable picture."""

    asks: int
    cached: int
    unsendable: int
    input_tokens: int
    output_tokens: int  # expected
    max_output_tokens: int
    cost: float  # expected
    max_cost: float

    def __str__(self) -> str:
        return (
            f"estimate: {self.asks} questions to ask ({self.cached} answered already, {self.unsendable} without a picture), "
            f"about {self.input_tokens} input and {self.output_tokens} output tokens, cost about {self.cost:.2f}, "
            f"at most {self.max_cost:.2f} without second rounds"
        )


class Quoting:
    """A backend that answers from the cache and counts the rest."""

    def __init__(self, form: RequestForm, cache: ResponseCache, *, input_price: float, output_price: float) -> None:
        self._form, self._cache = form, cache
        self._prices = {"input_price": input_price, "output_price": output_price}
        self._counted: set[str] = set()
        self._waiting: set[str] = set()
        self._cached = self._unsendable = self._input = self._most = 0

    def answer(self, asks: Sequence[Ask]) -> list[Reply]:
        """Return the cached replies; the others have the error `quoted`."""
        return [self._one(ask) for ask in asks]

    def quote(self) -> Quote:
        """Return the estimate for all that was asked so far."""
        lengths = [reply.output_tokens for key in islice(self._cache.keys(), SAMPLED) if (reply := self._cache.get(key))]
        mean = sum(lengths) / len(lengths) if lengths else None
        expected = self._most if mean is None else min(self._most, round(mean * len(self._counted)))
        cost, most = (cost_of(self._input, output, **self._prices) for output in (expected, self._most))
        return Quote(
            len(self._counted), self._cached, self._unsendable, self._input, expected, self._most, cost=cost, max_cost=most
        )

    def _one(self, ask: Ask) -> Reply:
        try:
            request = self._form.request(ask)
        except UNSENDABLE as error:
            self._unsendable += 1
            return Reply(error=why_unsendable(error))
        cached = self._cache.get(request.key)
        if cached is not None:
            self._cached += 1
            return cached
        subject = ask.key.partition("/")[0]
        if request.key not in self._counted and not ("/" in ask.key and subject in self._waiting):
            self._counted.add(request.key)
            self._input += request.input_tokens
            self._most += ask.max_tokens
        self._waiting.add(subject)
        return Reply(error=(QUOTED, f"about {request.input_tokens} input tokens"))
