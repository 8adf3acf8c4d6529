"""Asks answered by any OpenAI-compatible server: vLLM, SGLang, llama.cpp, `transformers serve`, hosted ones.

A backend of captioning/answer.py. Requests run on an event loop in a thread of the object's own, so the calls are plain ones
and work in a script, a thread or a Ray actor, asynchronous or not; threads that share the object share its limits. Every ask
ends as a reply: a text, or an error with its reason; an error is never a text. What the server answered is in the cache before
it is handed on, so a run that is killed pays for nothing twice. When no ask can succeed (wrong key, wrong model, no images, no
server), or the budget is spent, what is in flight ends and is kept, and nothing more is sent.
"""

import asyncio
import os
import queue
import threading
import weakref
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from captioning.answer import Ask, Reply
from captioning.channel import Channel, chat_url
from captioning.chat_request import RequestForm
from captioning.congestion import Window
from captioning.gate import Gate
from captioning.rate_limit import RateLimit
from captioning.response_cache import ResponseCache
from captioning.sending import Sender, Terms
from captioning.spending import Ledgers, Spent
from curation.errors import ConfigError, EndpointError

CLOSE_SECONDS = 5.0


class Endpoint:
    """A connection to one server and model; close it, or leave it to the end of the process."""

    def __init__(
        self,
        url: str,
        model: str,
        *,
        api_key_env: str | None = None,
        parameters: Mapping[str, Any] | None = None,
        concurrency: int = 32,
        requests_per_minute: float | None = None,
        tokens_per_minute: float | None = None,
        timeout_seconds: float = 180.0,
        deadline_seconds: float = 900.0,
        max_tries: int = 6,
        max_consecutive_failures: int = 100,
        input_price: float = 0.0,
        output_price: float = 0.0,
        budget: float | None = None,
        cache: str | None = None,
        min_pixels: int = 3136,
        max_pixels: int = 1_003_520,
        image_token_px: int = 28,
    ) -> None:
        """Prepare; nothing is sent.

        url: base address, with /v1. api_key_env: name of the environment variable that holds the key.
        parameters: laid over every request's body (`RequestForm`).
        concurrency: most requests in flight; how many the server takes is found out below that (captioning/congestion.py).
        deadline_seconds: of one ask with all its tries, from its first request. timeout_seconds: of one try.
        max_consecutive_failures: asks that may fail in a row, whatever the reason but the ask itself.
        input_price, output_price: per million tokens. budget: money for all processes and runs that share `cache`.
        cache: folder for answers, ledgers and shared limits; None keeps nothing.
        Raises ConfigError.
        """
        if budget is not None and not (input_price or output_price):
            raise ConfigError("endpoint.budget has no effect without endpoint.input_price and endpoint.output_price")
        folder = None if cache is None else Path(cache).expanduser()
        self._concurrency = concurrency
        self.sender = Sender(
            RequestForm(model, dict(parameters or {}), min_pixels, max_pixels, image_token_px),
            Channel(chat_url(url), secret=_key_in(api_key_env)),
            ResponseCache(folder),
            Ledgers(None if folder is None else folder / "spent"),
            Gate(Window(ceiling=concurrency)),
            Terms(timeout_seconds, deadline_seconds, max_tries, max_consecutive_failures, input_price, output_price, budget),
            requests_rate=_shared_rate(requests_per_minute, folder, "requests"),
            tokens_rate=_shared_rate(tokens_per_minute, folder, "tokens"),
        )
        self._loop = asyncio.new_event_loop()
        thread = threading.Thread(target=self._loop.run_forever, name="imageloom-endpoint", daemon=True)
        thread.start()
        self._shut = weakref.finalize(self, _shut, self._loop, thread, self.sender)

    def answer(self, asks: Sequence[Ask]) -> list[Reply]:
        """Return one reply per ask, in the same order; raises EndpointError when no ask can succeed."""
        replies: dict[int, Reply] = {}
        for index, _, reply in self._answered(asks):
            replies[index] = reply
        return [replies[index] for index in range(len(asks))]

    def stream(self, asks: Iterable[Ask]) -> Iterator[tuple[Ask, Reply]]:
        """Yield every ask with its reply as they come, in any order.

        Asks are drawn as there is room for them, so an iterator over a whole collection keeps the server full and memory small.
        Raises EndpointError when no ask can succeed, once those in flight have been yielded.
        """
        for _, ask, reply in self._answered(asks):
            yield ask, reply

    async def astream(self, asks: Iterable[Ask]) -> AsyncIterator[tuple[Ask, Reply]]:
        """Yield as `stream` does, to code that runs on an event loop itself; `asks` must not block."""
        source, pending = enumerate(asks), dict[asyncio.Future[Reply], Ask]()
        try:
            while True:
                while len(pending) < self._room() and (following := next(source, None)) is not None:
                    pending[asyncio.wrap_future(self._submit(following[1]))] = following[1]
                if not pending:
                    return
                done, _ = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                for future in done:
                    yield pending.pop(future), future.result()
        finally:
            for future in pending:
                future.cancel()
            await asyncio.gather(*pending, return_exceptions=True)

    def spent(self) -> Spent:
        """Return what all processes that share the cache have spent so far."""
        return self.sender.ledgers.total()

    def close(self) -> None:
        """End the connections and the thread; requests in flight are given up."""
        self._shut()

    def __enter__(self) -> "Endpoint":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _answered(self, asks: Iterable[Ask]) -> Iterator[tuple[int, Ask, Reply]]:
        """Yield (index, ask, reply) as replies come."""
        source, done = enumerate(asks), queue.SimpleQueue[Future[Reply]]()
        pending: dict[Future[Reply], tuple[int, Ask]] = {}
        stop: EndpointError | None = None
        try:
            while True:
                while stop is None and len(pending) < self._room() and (following := next(source, None)) is not None:
                    future = self._submit(following[1])
                    pending[future] = following
                    future.add_done_callback(done.put)
                if not pending:
                    break
                future = done.get()
                index, ask = pending.pop(future)
                try:
                    reply = future.result()
                except EndpointError as error:
                    stop = error
                    continue
                yield index, ask, reply
            if stop is not None:
                raise EndpointError(str(stop))
        finally:  # Ctrl-C, or whoever draws has enough
            for future in pending:
                future.cancel()

    def _submit(self, ask: Ask) -> Future[Reply]:
        if not self._shut.alive:
            raise EndpointError("the endpoint was closed")
        return asyncio.run_coroutine_threadsafe(self.sender.reply(ask), self._loop)

    def _room(self) -> int:
        """Return how many asks may be under way: enough to fill the server beside those that wait for another try."""
        return min(2 * self._concurrency + 16 + self.sender.sleeping, 8 * self._concurrency + 64)


def _key_in(variable: str | None) -> str:
    if variable is None:
        return ""
    key = os.environ.get(variable, "").strip()
    if not key:
        raise ConfigError(f"endpoint.api_key_env names {variable}, but the environment has no such variable, or it is empty")
    return key


def _shared_rate(per_minute: float | None, folder: Path | None, name: str) -> RateLimit | None:
    if per_minute is None:
        return None
    return RateLimit(per_minute, file=None if folder is None else folder / "limits" / name)


def _shut(loop: asyncio.AbstractEventLoop, thread: threading.Thread, sender: Sender) -> None:
    """Cancel what runs, close the connections, end the loop and its thread."""

    async def end() -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await sender.close()

    try:
        asyncio.run_coroutine_threadsafe(end(), loop).result(CLOSE_SECONDS)
    except TimeoutError:
        pass
    loop.call_soon_threadsafe(loop.stop)
    thread.join(CLOSE_SECONDS)
    if not thread.is_alive():
        loop.close()
