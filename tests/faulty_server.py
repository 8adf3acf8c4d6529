"""A server that misbehaves as told by the question itself, before it passes requests on to a real server.

A question whose text holds `[429x2]` meets status 429 in its first two requests and is then passed on; `[reset]` is x1, several
faults follow each other. Without an upstream it answers by itself, after a fixed latency, and refuses what is above its limit or
lets it wait, which makes a server of known capacity; what it says is told beforehand, and `[says]` has it say that in place of
the real server. It counts every request by its question.
"""

import asyncio
import json
import re
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any

from aiohttp import ClientSession, ClientTimeout, web

FAULT = re.compile(r"\[([a-z0-9_]+?)(?:x(\d+))?\]")
STATUS = re.compile(r"\d{3}")


@dataclass
class FaultyServer:
    """What it is told and what it has seen."""

    upstream: str | None = None
    latency_seconds: float = 0.0
    limit: int = 10_000  # more requests at once are refused with 429
    retry_after: str | None = "0.05"
    secret: str | None = None
    says: str | None = None  # its answer; None: one that repeats the question
    url: str = ""
    questions: Counter[str] = field(default_factory=Counter)  # requests by question
    answered: Counter[str] = field(default_factory=Counter)
    refused: int = 0
    in_flight: int = 0
    most_in_flight: int = 0
    bodies: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    slots: int | None = None  # requests worked on at a time; the others wait in line
    most_working: int = 0
    last_answer: float = 0.0
    _working: int = 0
    _line: asyncio.Semaphore | None = None

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = json.loads(await request.read())
        text = question_of(body)
        number = self.questions[text]
        self.questions[text] += 1
        self.bodies.append(body)
        self.headers.append(dict(request.headers))
        self.times.append(asyncio.get_running_loop().time())
        faults = [name for name, times in FAULT.findall(text) for _ in range(int(times or 1))]
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            if number < len(faults):
                return await self.fail(request, faults[number], body)
            if self.in_flight > self.limit:
                self.refused += 1
                return web.json_response({"error": {"message": "busy"}}, status=429, headers=self.wait_headers())
            return await self.pass_on(body, text)
        finally:
            self.in_flight -= 1

    def wait_headers(self) -> dict[str, str]:
        return {} if self.retry_after is None else {"Retry-After": self.retry_after}

    async def fail(self, request: web.Request, fault: str, body: dict[str, Any]) -> web.StreamResponse:
        if STATUS.fullmatch(fault):
            headers = self.wait_headers() if fault in ("429", "503") else {}
            shown = {"error": {"message": f"injected {fault}, key {request.headers.get('Authorization')}"}}
            return web.json_response(shown, status=int(fault), headers=headers)
        if fault == "date":
            headers = {"Retry-After": formatdate(usegmt=True)}
            return web.json_response({"error": "later"}, status=429, headers=headers)
        if fault == "html":
            return web.Response(text="<html><body>Bad gateway</body></html>", content_type="text/html")
        if fault == "empty":
            return web.Response(body=b"")
        if fault == "error200":
            return web.json_response({"error": {"message": "upstream failed", "code": 502}})
        if fault == "says":
            self.answered[question_of(body)] += 1
            return web.json_response(completion(self.says))
        if fault == "null":
            return web.json_response(completion(None))
        if fault == "blank":
            return web.json_response(completion(" \n\t"))
        if fault == "list":
            return web.json_response([1, 2])
        if fault == "noimages":
            shown = "image input is not supported - hint: provide the mmproj"
            return web.json_response({"error": {"code": 500, "message": shown}}, status=500)
        if fault == "noschema" and "response_format" in body:
            return web.json_response({"error": {"message": "response_format.type json_schema is not supported"}}, status=400)
        if fault == "noschema":
            return await self.pass_on(body, question_of(body))
        if fault == "slow":
            await asyncio.sleep(60)
        return await self.break_off(request, fault)

    async def break_off(self, request: web.Request, fault: str) -> web.StreamResponse:
        transport = request.transport
        if transport is None:  # the client has gone
            return web.Response()
        if fault == "cut":
            response = web.StreamResponse(headers={"Content-Length": "5000", "Content-Type": "application/json"})
            await response.prepare(request)
            await response.write(b'{"choices": [{"message": {"content": "half a')
            await asyncio.sleep(0.01)
            transport.close()
            return response
        if fault == "reset":
            connection: socket.socket = transport.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        transport.abort()
        return web.Response()

    async def pass_on(self, body: dict[str, Any], text: str) -> web.StreamResponse:
        if self.upstream is None:
            if self._line is None:
                self._line = asyncio.Semaphore(self.slots or 1_000_000)
            async with self._line:
                self._working += 1
                self.most_working = max(self.most_working, self._working)
                await asyncio.sleep(self.latency_seconds)
                self._working -= 1
            self.answered[text] += 1
            self.last_answer = asyncio.get_running_loop().time()
            return web.json_response(completion(f"answer to {text}" if self.says is None else self.says))
        async with ClientSession(timeout=ClientTimeout(total=60)) as session:
            async with session.post(f"{self.upstream}/v1/chat/completions", json=body) as response:
                content, status = await response.read(), response.status
        self.answered[text] += status == 200
        return web.Response(body=content, status=status, content_type="application/json")


def completion(text: str | None, reason: str = "stop") -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": reason}
    return {"model": "known", "choices": [choice], "usage": {"prompt_tokens": 100, "completion_tokens": 10}}


def question_of(body: dict[str, Any]) -> str:
    content = body["messages"][-1]["content"]
    return content if isinstance(content, str) else next(part["text"] for part in content if part["type"] == "text")


@contextmanager
def serving(server: FaultyServer) -> Iterator[FaultyServer]:
    """Run the server on a loopback port in a thread of its own."""
    loop, ready = asyncio.new_event_loop(), threading.Event()

    async def start() -> web.AppRunner:
        application = web.Application(client_max_size=1 << 30)
        application.router.add_post("/v1/chat/completions", server.handle)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, backlog=1024)
        await site.start()
        server.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        ready.set()
        return runner

    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    runner = asyncio.run_coroutine_threadsafe(start(), loop).result(10)
    assert ready.wait(10)
    try:
        yield server
    finally:
        asyncio.run_coroutine_threadsafe(stop(runner), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


async def stop(runner: web.AppRunner) -> None:
    await runner.cleanup()
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
