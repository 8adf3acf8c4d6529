"""Our client beside Ray's HTTP request stage on one server of known capacity: share of its throughput, CPU seconds, losses.

    python benchmarks/endpoint.py

The server answers on loopback in a process of its own, every request after a fixed latency, a limited number at a time; what
is above the limit is refused with 429, or waits in line where the server queues as vLLM does. Its capacity is limit / latency.
Our client is told a ceiling far above the limit and finds the limit by itself. Ray's stage is the class behind
ray.data.llm.HttpRequestProcessorConfig, called on batches of 16 as Ray Data calls it, six at once, alone and with its retries
on. Throughput counts from the first request to the last answer at the server; right answers are those equal to what the server
says to that question.
"""

import argparse
import asyncio
import io
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from about import about, heading
from PIL import Image

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from faulty_server import FaultyServer, serving  # noqa: E402
from watch import cpu_seconds  # noqa: E402

from captioning.answer import Ask  # noqa: E402
from captioning.chat_request import RequestForm  # noqa: E402
from captioning.endpoint import Endpoint  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results"
SIDE_PX = 128
SERVERS = {
    "refuses above 16": {"limit": 16, "latency_seconds": 0.4},
    "refuses above 64": {"limit": 64, "latency_seconds": 0.4},
    "queues, 16 at a time": {"slots": 16, "latency_seconds": 0.4},
    "refuses above 16, every 20th fails once": {"limit": 16, "latency_seconds": 0.4, "faults": True},
}
CLIENTS = ("imageloom", "Ray HttpRequestStage", "Ray HttpRequestStage, max_retries 8")


def main() -> None:
    """Measure every client on every server and write benchmarks/results/endpoint.{json,md}."""
    options = _options()
    load = os.getloadavg()[0]
    rows = [
        measured(server, client, seed)
        for server in SERVERS
        for client in CLIENTS
        for seed in range(options.runs if client == "imageloom" else 1)
    ]
    facts = about("python benchmarks/endpoint.py", load=round(load, 1), packages=("aiohttp", "ray"))
    RESULTS.joinpath("endpoint.json").write_text(json.dumps({"about": facts, "rows": rows}, indent=1) + "\n")
    RESULTS.joinpath("endpoint.md").write_text(page(facts, rows))
    print(page(facts, rows))


def measured(server: str, client: str, seed: int) -> dict[str, Any]:
    """Return one row: what one client got out of one server."""
    settings = SERVERS[server]
    capacity = settings.get("slots", settings.get("limit")) / settings["latency_seconds"]
    number = int(capacity * 20) if client == "imageloom" else 96
    asks = [_ask(f"{seed}-{n}", faulty=bool(settings.get("faults")) and n % 20 == 7) for n in range(number)]
    with _running(settings) as (url, pipe):
        cpu = cpu_seconds()
        replies = (_ours if client == "imageloom" else _rays(8 if "retries" in client else 0))(url, asks)
        cpu = cpu_seconds() - cpu
        pipe.send("counts")
        counts = pipe.recv()
    right = sum(reply == f"answer to {ask.key}" for ask, reply in zip(asks, replies, strict=True))
    return {
        "server": server,
        "client": client,
        "asks": number,
        "right": right,
        "wrong": sum(reply is not None for reply in replies) - right,
        "lost": sum(reply is None for reply in replies),
        "share_of_capacity": counts["answered"] / counts["seconds"] / capacity if counts["seconds"] else 0.0,
        "most_in_flight": counts["most_in_flight"],
        "refused": counts["refused"],
        "requests": counts["requests"],
        "cpu_ms_per_ask": 1000 * cpu / number,
    }


def _ours(url: str, asks: list[Ask]) -> list[str | None]:
    with Endpoint(url, "known", concurrency=256) as endpoint:
        return [reply.text for reply in endpoint.answer(asks)]


def _rays(max_retries: int) -> Callable[[str, list[Ask]], list[str | None]]:
    def answered(url: str, asks: list[Ask]) -> list[str | None]:
        from ray.llm._internal.batch.stages.http_request_stage import HttpRequestUDF

        stage = HttpRequestUDF(
            "__data", ["payload"], f"{url}/chat/completions", max_retries=max_retries, base_retry_wait_time_in_s=0.1
        )
        form = RequestForm("known")
        rows = [{"__idx_in_batch": n, "payload": form.body(form.request(ask))} for n, ask in enumerate(asks)]
        found: dict[int, str] = {}

        async def batch(some: list[dict[str, Any]]) -> None:
            try:
                async for row in stage.udf(some):
                    found[row["__idx_in_batch"]] = _content(row["http_response"])
            except Exception as error:
                print(f"Ray's stage lost the rest of a batch: {str(error)[-120:]}", file=sys.stderr)

        async def batches() -> None:
            await asyncio.gather(*(batch(rows[start : start + 16]) for start in range(0, len(rows), 16)))

        asyncio.run(batches())
        return [found.get(n) for n in range(len(asks))]

    return answered


def _content(response: Any) -> str:
    try:
        return str(response["choices"][0]["message"]["content"])
    except (KeyError, TypeError, IndexError):
        return json.dumps(response)  # an error passed on as an answer


def _ask(key: str, *, faulty: bool) -> Ask:
    fault = ("[500]", "[html]", "[reset]", "[503]", "[cut]")[sum(key.encode()) % 5] if faulty else ""
    text = f"{key} {fault}".strip()
    buffer = io.BytesIO()
    Image.effect_noise((SIDE_PX, SIDE_PX), 60).convert("RGB").save(buffer, format="JPEG", quality=90)
    content = [{"type": "image"}, {"type": "text", "text": text}]
    return Ask(text, [{"role": "user", "content": content}], (buffer.getvalue(),), max_tokens=16)


@contextmanager
def _running(settings: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    context = get_context("spawn")
    pipe, other = context.Pipe()
    process = context.Process(target=_serve, args=(settings, other), daemon=True)
    process.start()
    try:
        yield pipe.recv(), pipe
    finally:
        pipe.send("stop")
        process.join(20)


def _serve(settings: dict[str, Any], pipe: Any) -> None:
    server = FaultyServer(latency_seconds=settings["latency_seconds"], limit=settings.get("limit", 10_000), retry_after=None)
    server.slots = settings.get("slots")
    with serving(server):
        pipe.send(server.url)
        while pipe.recv() == "counts":
            pipe.send(
                {
                    "answered": sum(server.answered.values()),
                    "requests": sum(server.questions.values()),
                    "refused": server.refused,
                    "most_in_flight": server.most_working,
                    "seconds": server.last_answer - min(server.times, default=0.0),
                }
            )


def page(facts: dict[str, Any], rows: list[dict[str, Any]]) -> str:
    """Return the table; medians over the runs of a client."""
    lines = [
        "# Clients of OpenAI-compatible servers",
        "",
        heading(facts),
        "",
        "| server | client | share of capacity | most at work | right | wrong | lost | refused | requests/ask | CPU ms/ask |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for server in SERVERS:
        for client in CLIENTS:
            some = [row for row in rows if (row["server"], row["client"]) == (server, client)]
            value = {name: statistics.median(row[name] for row in some) for name in some[0] if name not in ("server", "client")}
            lines.append(
                f"| {server} | {client} | {value['share_of_capacity']:.3f} | {value['most_in_flight']:.0f} "
                f"| {value['right']:.0f} of {value['asks']:.0f} "
                f"| {value['wrong']:.0f} | {value['lost']:.0f} | {value['refused']:.0f} "
                f"| {value['requests'] / value['asks']:.2f} | {value['cpu_ms_per_ask']:.1f} |"
            )
    lines += ["", *(line for line in (__doc__ or "").splitlines()[4:])]
    return "\n".join(lines).rstrip() + "\n"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3, help="runs of our client, of which medians are shown")
    return parser.parse_args()


if __name__ == "__main__":
    started = time.monotonic()
    main()
    print(f"{time.monotonic() - started:.0f} s", file=sys.stderr)
