"""One ask from question to reply: cache, admission, rates, tries, costs, and the decision that no ask can succeed.

Everything here runs on one event loop, so it needs no locks; captioning/endpoint.py owns the loop.
"""

import asyncio
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

from captioning.answer import Ask, Reply
from captioning.backoff import asked_wait
from captioning.channel import Channel, Response
from captioning.chat_request import UNSENDABLE, Request, RequestForm, estimated_tokens, why_unsendable
from captioning.gate import Gate
from captioning.patience import Patience
from captioning.rate_limit import RateLimit
from captioning.response_cache import ResponseCache
from captioning.spending import Ledgers, Spent, cost_of
from captioning.verdicts import Verdict
from curation.errors import EndpointError

log = logging.getLogger(__name__)
ENCODERS = 2
"""Threads that decode and encode pictures beside the event loop."""
_REMEDIES = {
    "unauthorized": "check the key in the environment variable that endpoint.api_key_env names",
    "forbidden": "the key may not use this model",
    "payment": "the account is out of credit",
    "quota": "the account's quota is used up",
    "no_images": "serve a vision-language model (llama.cpp: with --mmproj), or ask another",
    "redirect": "give the address that the server redirects to in endpoint.url",
    "not_found": "endpoint.url or endpoint.model is wrong",
    "unreachable": "is the server up, and endpoint.url right?",
}


@dataclass(frozen=True)
class Terms:
    """What the user allows: see captioning.endpoint.Endpoint."""

    timeout_seconds: float
    deadline_seconds: float
    max_tries: int
    max_consecutive_failures: int
    input_price: float
    output_price: float
    budget: float | None


@dataclass
class Paid:
    """What the tries of one ask have cost so far."""

    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0

    def fields(self) -> dict[str, Any]:
        """Return the fields of a reply."""
        return dict(vars(self))


@dataclass
class Sender:
    """The state that all asks to one server share."""

    form: RequestForm
    channel: Channel
    cache: ResponseCache
    ledgers: Ledgers
    gate: Gate
    terms: Terms
    requests_rate: RateLimit | None = None
    tokens_rate: RateLimit | None = None
    schema_refused: bool = False
    sleeping: int = 0
    _stopped: EndpointError | None = None
    _seen: bool = False  # the server has answered something
    _answered: bool = False  # ... with an answer
    _resets_to_come: int = 0  # 500s whose connection may yet break under somebody else
    _failed_in_a_row: int = 0
    _under_way: dict[str, "asyncio.Future[Reply]"] = field(default_factory=dict)
    _wakeup: asyncio.Event = field(default_factory=asyncio.Event)
    _encoders: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(ENCODERS, "imageloom-encode"))

    async def reply(self, ask: Ask) -> Reply:
        """Return the reply to one ask; raises EndpointError when no ask can succeed."""
        if self._stopped is not None:
            raise self._stopped
        try:
            request = await asyncio.get_running_loop().run_in_executor(self._encoders, self.form.request, ask)
        except UNSENDABLE as error:
            return Reply(error=why_unsendable(error))
        while request.key in self._under_way:  # the same question is being asked: one request serves both
            first = self._under_way[request.key]
            await asyncio.wait([first])
            if not first.cancelled():
                return replace(first.result(), cached=True, requests=0)
        return self.cache.get(request.key) or await self._leading(request)

    async def close(self) -> None:
        """Close connections and threads."""
        await self.channel.close()
        self._encoders.shutdown(wait=False, cancel_futures=True)

    async def _leading(self, request: Request) -> Reply:
        """Ask, and let those who have the same question wait for the reply."""
        shared: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._under_way[request.key] = shared
        try:
            reply = await self._tried(request)
            if reply.text is not None:
                self.cache.put(request.key, reply)
            shared.set_result(reply)
            return reply
        except BaseException as error:  # Ctrl-C too: whoever waits must hear of it
            if isinstance(error, EndpointError):
                shared.set_exception(error)
                shared.exception()  # nobody may be waiting
            else:
                shared.cancel()
            raise
        finally:
            del self._under_way[request.key]

    async def _tried(self, request: Request) -> Reply:
        patience = Patience(request.key, self.terms.max_tries, self.terms.deadline_seconds)
        paid = Paid()
        while True:
            response = await self._try(request, patience, paid)
            if response is None:
                limit = f"endpoint.budget {self.terms.budget:g} is spent; nothing more is sent"
                return Reply(error=("budget", limit), **paid.fields())
            found = response.verdict
            if found.kind == "answer":
                self._note_answer(request, patience)
                return Reply(text=found.text, finish_reason=found.finish_reason, model=found.model, **paid.fields())
            wait = self._next_wait(response, patience)
            if wait is None:
                return self._failed(found, patience, paid)
            await self._sleep(wait)

    async def _try(self, request: Request, patience: Patience, paid: Paid) -> Response | None:
        """Send once when it is this ask's turn; None when the budget is spent."""
        epoch = await self.gate.enter(again=patience.tries > 0)
        response: Response | None = None
        try:
            if self._stopped is not None:
                raise self._stopped
            if self.terms.budget is not None and self.ledgers.total().cost >= self.terms.budget * (1 - 1e-9):  # sums round
                return None
            await self._rates(request)
            patience.with_schema = patience.with_schema and not self.schema_refused
            body = self.form.body(request, with_schema=patience.with_schema, another_seed=patience.another_seed)
            left = max(0.001, min(self.terms.timeout_seconds, patience.left_seconds()))
            response = await self.channel.post(body, timeout_seconds=left)
            if response.reached:
                self._pay(request, response.verdict, paid)
            return response
        finally:
            self._leave(epoch, response)

    def _leave(self, epoch: int, response: Response | None) -> None:
        if response is None:
            self.gate.leave(epoch, "other")
            return
        kind = response.verdict.kind
        wait = asked_wait(response.headers, now=time.time()) if kind == "load" else None
        self.gate.leave(epoch, "answered" if kind == "answer" else "load" if kind == "load" else "other", wait)

    async def _rates(self, request: Request) -> None:
        waits = [
            self.requests_rate.reserve(1) if self.requests_rate else 0.0,
            self.tokens_rate.reserve(request.input_tokens + request.ask.max_tokens) if self.tokens_rate else 0.0,
        ]
        if max(waits) > 0:
            await asyncio.sleep(max(waits))

    def _pay(self, request: Request, found: Verdict, paid: Paid) -> None:
        """Count what a response cost: the tokens that the server told, or for an answer without them our estimate."""
        told = found.input_tokens is not None and found.output_tokens is not None
        if not told and found.kind != "answer":
            used = (0, 0)
        else:
            text = [{"content": found.text}]
            used = (
                request.input_tokens if found.input_tokens is None else found.input_tokens,
                estimated_tokens(text, (), image_token_px=1) if found.output_tokens is None else found.output_tokens,
            )
        paid.requests += 1
        paid.input_tokens += used[0]
        paid.output_tokens += used[1]
        cost = cost_of(*used, input_price=self.terms.input_price, output_price=self.terms.output_price)
        self.ledgers.add(Spent(1, *used, cost, int(found.kind == "answer" and not told)))
        if self.tokens_rate:
            self.tokens_rate.correct(sum(used) - request.input_tokens - request.ask.max_tokens)

    def _next_wait(self, response: Response, patience: Patience) -> float | None:
        found = response.verdict
        self._seen = self._seen or response.reached
        if found.kind == "stop" or (found.code == "not_found" and not self._answered):
            self._stop(found.code, found.detail)
        if found.kind == "refused":
            return None
        forgiven = found.code == "connection" and self._resets_to_come > 0
        if forgiven:
            self._resets_to_come -= 1
        elif found.kind == "server":
            self._resets_to_come = min(self._resets_to_come + 1, self.gate.in_flight + 1)
        return patience.wait(response, forgiven=forgiven, seen=self._seen)

    def _failed(self, found: Verdict, patience: Patience, paid: Paid) -> Reply:
        """Return the reply of an ask that is given up; stops everything when too many in a row are."""
        tried = f" ({patience.tries} tries)" if patience.tries > 1 else ""
        if found.kind != "refused":
            self._failed_in_a_row += 1
            if found.code == "unreachable" and not self._seen:
                self._stop(found.code, found.detail)
            if self._failed_in_a_row >= self.terms.max_consecutive_failures:
                self._stop(found.code, f"{self._failed_in_a_row} asks failed in a row, the last with: {found.detail}")
        return Reply(error=(found.code, found.detail + tried), model=found.model, **paid.fields())

    def _note_answer(self, request: Request, patience: Patience) -> None:
        self._answered, self._failed_in_a_row = True, 0
        if request.ask.json_schema is not None and not patience.with_schema and not self.schema_refused:
            self.schema_refused = True
            log.warning(
                "%s refuses response_format json_schema: it is asked without, and every answer is checked", self.channel.url
            )

    def _stop(self, code: str, detail: str) -> None:
        """Refuse everything from now on; raises."""
        if self._stopped is None:
            remedy = _REMEDIES.get(code, "look at the server's log")
            self._stopped = EndpointError(f"{self.channel.url} ({self.form.model}): {code}: {detail}; {remedy}")
            self._wakeup.set()
        raise self._stopped

    async def _sleep(self, seconds: float) -> None:
        """Wait for the next try, or until everything stops."""
        if seconds <= 0:
            return
        self.sleeping += 1
        try:
            await asyncio.wait_for(self._wakeup.wait(), seconds)
        except TimeoutError:
            return
        finally:
            self.sleeping -= 1
