"""The client against a server over loopback that misbehaves as told: every ask ends as the fault demands."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from asking import ask, picture
from faulty_server import FaultyServer, question_of, serving

from captioning.answer import Ask, Reply
from captioning.endpoint import Endpoint
from curation.errors import ConfigError, EndpointError

SECRET = "sk-loopback-0123456789abcdef"


@pytest.fixture
def server() -> Iterator[FaultyServer]:
    with serving(FaultyServer(latency_seconds=0.01)) as running:
        yield running


def endpoint(server: FaultyServer, **more: Any) -> Endpoint:
    return Endpoint(server.url, "known", **({"timeout_seconds": 1.5, "deadline_seconds": 20, "concurrency": 16} | more))


RECOVERS = ["[429x3]", "[503]", "[date]", "[408]", "[409]", "[425]", "[502]", "[504]", "[500x2]", "[html]", "[empty]", "[list]",
            "[error200]", "[null]", "[blank]", "[cut]", "[reset]", "[abort]", "[slow]", "[reset][html][429]"]  # fmt: skip
ENDS = {
    "[400]": ("bad_request", 1),
    "[404]": ("not_found", 1),
    "[413]": ("too_large", 1),
    "[422]": ("bad_request", 1),
    "[500x9]": ("server_error", 3),
    "[htmlx9]": ("bad_gateway", 4),
    "[nullx9]": ("no_content", 4),
    "[cutx9]": ("cut", 4),
}


def test_every_fault_ends_as_it_demands_and_no_ask_is_lost_or_answered_twice(server: FaultyServer) -> None:
    # 502 and the like count towards max_tries; a wrong address is told from a missing page by an earlier answer
    good = [f"plain {number}" for number in range(30)]
    texts = [name for pair in zip(good, [*RECOVERS, *ENDS], strict=False) for name in pair] + good[len(RECOVERS) + len(ENDS) :]
    with endpoint(server, max_tries=4) as client:
        assert client.answer([ask("first")])[0].text == "answer to first"
        replies = dict(zip(texts, client.answer([ask(text) for text in texts]), strict=True))
    for text in [*good, *RECOVERS]:
        assert replies[text].text == f"answer to {text}", replies[text]
        assert server.answered[text] == 1
    for text, (code, requests) in ENDS.items():
        assert replies[text].error is not None and replies[text].error[0] == code
        assert server.questions[text] == requests and server.answered[text] == 0
    told = {text: replies[text].requests for text in texts}
    assert told == {text: server.questions[text] for text in texts}


def test_replies_stand_in_the_order_of_their_asks(server: FaultyServer) -> None:
    texts = [f"{number} {'[503]' if number % 3 == 0 else ''}" for number in range(60)]
    with endpoint(server) as client:
        assert [reply.text for reply in client.answer([ask(text) for text in texts])] == [f"answer to {text}" for text in texts]


@pytest.mark.parametrize(("fault", "code"), [("401", "unauthorized"), ("403", "forbidden"), ("402", "payment"),
                                             ("noimages", "no_images")])  # fmt: skip
def test_what_concerns_every_ask_stops_everything(server: FaultyServer, fault: str, code: str) -> None:
    asks = [ask(f"plain {number}") for number in range(8)] + [ask(f"[{fault}x99]")] + [ask(f"later {n}") for n in range(200)]
    with endpoint(server, concurrency=4) as client:
        with pytest.raises(EndpointError, match=code) as caught:
            client.answer(asks)
        assert sum(server.questions.values()) < 40
        with pytest.raises(EndpointError, match=code):
            client.answer([ask("more")])
    assert caught.value.exit_code == 10 and "\n" not in str(caught.value)


def test_a_missing_page_before_any_answer_is_a_wrong_address(server: FaultyServer) -> None:
    with endpoint(server) as client, pytest.raises(EndpointError, match=r"endpoint\.url or endpoint\.model"):
        client.answer([ask("[404x9]")])


def test_a_server_that_is_not_there_is_said_at_once() -> None:
    with Endpoint("http://127.0.0.1:9/v1", "known", max_tries=2) as client, pytest.raises(EndpointError, match="unreachable"):
        client.answer([ask(str(number)) for number in range(5)])


def test_a_server_that_fails_for_everyone_stops_the_run(server: FaultyServer) -> None:
    asks = [ask(f"{number} [html x][htmlx99]") for number in range(100)]
    with endpoint(server, max_tries=1, max_consecutive_failures=10, concurrency=2) as client:
        with pytest.raises(EndpointError, match="10 asks failed in a row"):
            client.answer(asks)
    assert sum(server.questions.values()) < 20


def test_the_deadline_ends_an_ask_that_is_refused_for_ever(server: FaultyServer) -> None:
    started = time.monotonic()
    with endpoint(server, deadline_seconds=1.0) as client:
        refused, good = client.answer([ask("[429x999]"), ask("good")])
    assert refused.error is not None and refused.error[0] == "rate_limited" and good.text
    assert time.monotonic() - started < 3


def test_the_waits_that_a_server_asks_for_are_kept(server: FaultyServer) -> None:
    server.retry_after = "1"
    with endpoint(server) as client:
        client.answer([ask("[429]")])
    assert server.times[1] - server.times[0] >= 0.99


def test_a_schema_that_the_server_refuses_is_dropped_for_all(server: FaultyServer) -> None:
    asks = [ask(f"{number} [noschema]", json_schema={"type": "object"}) for number in range(12)]
    with endpoint(server, concurrency=1) as client:
        replies = client.answer(asks)
        assert client.sender.schema_refused
    assert all(reply.text for reply in replies)
    # the second question may leave while the first is asked again
    assert sum("response_format" in body for body in server.bodies) <= 2 and len(server.bodies) <= 14


def test_pictures_are_made_safe_before_they_are_sent(server: FaultyServer) -> None:
    import base64
    import io

    from PIL import Image

    def encoded(image: Image.Image, kind: str, **more: Any) -> bytes:
        buffer = io.BytesIO()
        image.save(buffer, format=kind, **more)
        return buffer.getvalue()

    turned = Image.Exif()
    turned[0x0112] = 6
    base = Image.new("RGB", (300, 200), "blue")
    kinds = {
        "cmyk": encoded(base.convert("CMYK"), "JPEG"),
        "palette": encoded(base.quantize(8), "PNG"),
        "alpha": encoded(base.convert("RGBA"), "PNG"),
        "deep": encoded(Image.new("I;16", (300, 200), 900), "PNG"),
        "webp": encoded(base, "WEBP"),
        "animated": encoded(base, "GIF", save_all=True, append_images=[Image.new("RGB", (300, 200), "red")]),
        "point": encoded(Image.new("RGB", (1, 1)), "PNG"),
        "strip": encoded(Image.new("RGB", (2500, 10)), "PNG"),
        "turned": encoded(base, "JPEG", exif=turned),
        "huge": encoded(Image.new("RGB", (4000, 3000)), "JPEG"),
    }
    bad = {"torn": kinds["huge"][:2000], "text": b"<html>", "none": b""}
    with endpoint(server) as client:
        replies = client.answer([ask(name, image=image) for name, image in {**kinds, **bad}.items()])
    for name, reply in zip({**kinds, **bad}, replies, strict=True):
        assert (reply.text is not None) == (name in kinds), (name, reply)
        assert name in kinds or (reply.error is not None and reply.error[0] == "bad_image" and server.questions[name] == 0)
    for body in server.bodies:
        url = body["messages"][-1]["content"][0]["image_url"]["url"]
        sent = Image.open(io.BytesIO(base64.b64decode(url.removeprefix("data:image/jpeg;base64,"))))
        assert sent.format == "JPEG" and sent.mode == "RGB" and sent.width * sent.height <= 1_010_000
        assert max(sent.size) <= 150 * min(sent.size) and not sent.getexif()
        assert question_of(body) != "turned" or sent.size == (200, 300)


def test_a_plain_picture_of_the_right_size_is_sent_as_it_is(server: FaultyServer) -> None:
    import base64

    with endpoint(server) as client:
        client.answer([ask("plain", image=picture((80, 60)))])
    url = server.bodies[0]["messages"][-1]["content"][0]["image_url"]["url"]
    assert base64.b64decode(url.partition(",")[2]) == picture((80, 60))


def test_an_ask_of_another_shape_is_its_own_error(server: FaultyServer) -> None:
    shapes: list[Any] = [[{"role": "user"}], [{"role": "user", "content": None}], [None], [{"content": [{"text": "x"}]}], 7]
    odd = [Ask(str(number), messages) for number, messages in enumerate(shapes)]
    with endpoint(server) as client:
        *replies, good = client.answer([*odd, Ask("bytes", [{"role": "user", "content": b"x"}]), ask("good")])
    assert [reply.error and reply.error[0] for reply in replies] == ["bad_request"] * 6 and good.text


def test_the_key_is_sent_and_shown_nowhere(
    server: FaultyServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("SOME_KEY", SECRET)
    caplog.set_level("DEBUG")
    with endpoint(server, api_key_env="SOME_KEY", cache=str(tmp_path)) as client:
        replies = client.answer([ask("plain"), ask("[400]"), ask("[500x5]")])  # the server repeats the header in its errors
        with pytest.raises(EndpointError) as caught:
            client.answer([ask("[401]")])
        shown = f"{replies} {caught.value} {client!r} {caplog.text} {vars(client)}"
    assert server.headers[0]["Authorization"] == f"Bearer {SECRET}"
    stored = "".join(path.read_text() for path in tmp_path.rglob("*") if path.is_file() and path.suffix.startswith(".json"))
    assert SECRET not in shown + stored and "[key]" in str(replies)


def test_settings_that_cannot_work_are_refused(server: FaultyServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    with pytest.raises(ConfigError, match="NO_SUCH_KEY"):
        endpoint(server, api_key_env="NO_SUCH_KEY")
    with pytest.raises(ConfigError, match="budget has no effect"):
        endpoint(server, budget=1.0)
    for url in ("localhost:8000", "ftp://host/v1", "http://user:hunter2@host/v1", "https://host/v1?key=1"):
        with pytest.raises(ConfigError) as caught:
            Endpoint(url, "known")
        assert "hunter2" not in str(caught.value)


def test_a_second_run_costs_nothing(server: FaultyServer, tmp_path: Path) -> None:
    asks = [ask(f"plain {number}") for number in range(20)]
    with endpoint(server, cache=str(tmp_path)) as client:
        first = client.answer(asks)
    with endpoint(server, cache=str(tmp_path)) as client:
        second = client.answer(asks)
        others = [ask("plain 1", max_tokens=9), ask("plain 1", seed=1), ask("plain 1", image=picture(colour="blue"))]
        assert [reply.cached for reply in client.answer(others)] == [False] * 3
    assert [reply.text for reply in first] == [reply.text for reply in second]
    assert all(reply.cached and reply.requests == 0 for reply in second)
    assert sum(server.questions.values()) == 23


def test_one_request_serves_equal_questions(server: FaultyServer) -> None:
    server.latency_seconds = 0.2
    with endpoint(server) as client:
        replies = client.answer([ask("same") for _ in range(30)])
    assert server.questions["same"] == 1 and {reply.text for reply in replies} == {"answer to same"}
    assert sum(reply.requests for reply in replies) == 1


def test_the_budget_stops_sending_over_several_clients(server: FaultyServer, tmp_path: Path) -> None:
    """A response costs 100 + 10 tokens = 0.3: the budget of 3 is reached with the tenth, and what is in flight ends."""
    more = {"input_price": 1000.0, "output_price": 20_000.0, "budget": 3.0, "cache": str(tmp_path), "concurrency": 4}
    with endpoint(server, **more) as client:
        replies = client.answer([ask(f"plain {number}") for number in range(50)])
        spent = client.spent()
    good = [reply for reply in replies if reply.text]
    assert {reply.error[0] for reply in replies if reply.error} == {"budget"}
    assert 10 <= len(good) <= 13 and len(good) == sum(server.questions.values())
    assert spent.cost == pytest.approx(0.3 * len(good)) and spent.input_tokens == 100 * len(good)
    with endpoint(server, **more) as client:  # a run started again has no new budget, and its cache is still there
        again = client.answer([ask(f"plain {number}") for number in range(50)])
    assert sum(server.questions.values()) == len(good) == sum(reply.cached for reply in again)


def test_requests_keep_the_rate(server: FaultyServer) -> None:
    with endpoint(server, requests_per_minute=600) as client:  # 10 a second after a burst of two seconds
        client.answer([ask(f"plain {number}") for number in range(35)])
    elapsed = max(server.times) - min(server.times)
    assert 1.3 < elapsed < 3.0


def test_the_client_finds_the_servers_limit(server: FaultyServer) -> None:
    server.limit, server.latency_seconds = 8, 0.05
    with endpoint(server, concurrency=64) as client:
        replies = client.answer([ask(f"plain {number}") for number in range(250)])
        assert all(reply.text for reply in replies)
        assert 5 <= client.sender.gate.window.size <= 16
        grown = client.sender.gate.window.size
        for number in range(40):  # one at a time proves nothing of how many the server takes
            client.answer([ask(f"single {number}")])
        assert client.sender.gate.window.size == grown
    assert server.refused < 80 and max(server.answered.values()) == 1


def test_a_stream_draws_only_what_it_has_room_for(server: FaultyServer) -> None:
    drawn = 0

    def asks() -> Iterator[Ask]:
        nonlocal drawn
        for number in range(500):
            drawn += 1
            yield ask(f"plain {number}")

    with endpoint(server, concurrency=4) as client:
        stream = client.stream(asks())
        first = [next(stream) for _ in range(3)]
        assert drawn < 100 and all(reply.text == f"answer to {one.key}" for one, reply in first)
        stream.close()
        assert len(list(client.stream(ask(f"after {number}") for number in range(20)))) == 20


def test_it_works_on_an_event_loop_that_is_running(server: FaultyServer) -> None:
    async def main(client: Endpoint) -> tuple[list[Reply], list[str]]:
        plain = client.answer([ask("blocking")])  # as an asynchronous actor's method may call it
        texts = [reply.text or "" async for _, reply in client.astream(ask(f"plain {n}") for n in range(40))]
        return plain, texts

    with endpoint(server) as client:
        plain, texts = asyncio.run(main(client))
    assert plain[0].text and sorted(texts) == sorted(f"answer to plain {number}" for number in range(40))


def test_threads_share_one_client(server: FaultyServer) -> None:
    server.latency_seconds = 0.05
    found: list[Reply] = []
    with endpoint(server, concurrency=6) as client:
        threads = [
            threading.Thread(target=lambda t=t: found.extend(client.answer([ask(f"{t} {n}") for n in range(20)])))
            for t in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(found) == 80 and all(reply.text for reply in found) and server.most_in_flight <= 6


def test_nothing_is_left_behind(server: FaultyServer) -> None:
    def sockets() -> int:
        return sum(os.readlink(f"/proc/self/fd/{number}").startswith("socket") for number in os.listdir("/proc/self/fd")
                   if os.path.exists(f"/proc/self/fd/{number}") or os.path.islink(f"/proc/self/fd/{number}"))  # fmt: skip

    threads = threading.active_count()
    for _ in range(3):
        with endpoint(server) as client:
            for _ in range(5):
                client.answer([ask(f"[reset] {number}") for number in range(10)])
            tasks = asyncio.run_coroutine_threadsafe(_tasks(), client._loop).result(5)
            assert tasks <= 1
    deadline = time.monotonic() + 5
    while threading.active_count() > threads and time.monotonic() < deadline:
        time.sleep(0.05)
    assert threading.active_count() <= threads
    assert sockets() < 60


async def _tasks() -> int:
    return len(asyncio.all_tasks())


RESUMED = """
import sys
sys.path[:0] = [{tests!r}]
from asking import ask
from captioning.endpoint import Endpoint
with Endpoint({url!r}, "known", concurrency=4, cache={cache!r}) as client:
    print(sum(reply.text is not None for reply in client.answer([ask(f"plain {{n}}") for n in range(60)])), flush=True)
"""


def command(server: FaultyServer, cache: Path) -> list[str]:
    return [sys.executable, "-c", RESUMED.format(tests=str(Path(__file__).parent), url=server.url, cache=str(cache))]


def test_a_killed_run_goes_on_without_paying_twice(server: FaultyServer, tmp_path: Path) -> None:
    server.latency_seconds = 0.05
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    first = subprocess.Popen(command(server, tmp_path), env=environment)
    deadline = time.monotonic() + 30
    while sum(server.answered.values()) < 20 and time.monotonic() < deadline:
        time.sleep(0.005)
    first.send_signal(signal.SIGKILL)
    first.wait()
    kept = len(list(tmp_path.glob("??/*.json")))
    second = subprocess.run(command(server, tmp_path), env=environment, capture_output=True, text=True, check=True, timeout=60)
    assert second.stdout.strip() == "60" and 12 <= kept < 60
    twice = sum(count - 1 for count in server.questions.values())
    assert twice <= 4  # no more than were in flight when it was killed
    assert sum(server.questions.values()) == 60 + twice


@pytest.mark.usefixtures("default_signals")
def test_ctrl_c_ends_a_run_at_once(server: FaultyServer, tmp_path: Path) -> None:
    server.latency_seconds = 0.3
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    run = subprocess.Popen(command(server, tmp_path), env=environment, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 30
    while sum(server.answered.values()) < 4 and time.monotonic() < deadline:
        time.sleep(0.005)
    pressed = time.monotonic()
    run.send_signal(signal.SIGINT)
    _, errors = run.communicate(timeout=20)
    assert time.monotonic() - pressed < 3 and "KeyboardInterrupt" in errors
    assert "never retrieved" not in errors and "pending" not in errors and "Unclosed" not in errors


def test_the_ledger_of_a_killed_process_is_whole(server: FaultyServer, tmp_path: Path) -> None:
    with endpoint(server, cache=str(tmp_path), input_price=1.0) as client:
        client.answer([ask(f"plain {number}") for number in range(5)])
    lines = [json.loads(line) for path in (tmp_path / "spent").iterdir() for line in path.read_text().splitlines()]
    assert sum(line["requests"] for line in lines) == 5 and sum(line["input_tokens"] for line in lines) == 500


@pytest.mark.ray
def test_an_actor_of_ray_asks_as_a_script_does(server: FaultyServer, shared_ray: dict[str, float], tmp_path: Path) -> None:
    import ray

    class Asking:
        def __init__(self, url: str, cache: str) -> None:
            from captioning.endpoint import Endpoint

            self.client = Endpoint(url, "known", cache=cache)

        async def ask(self, asks: list[Ask]) -> list[str | None]:
            return [reply.text for reply in self.client.answer(asks)]  # on the actor's running event loop

        async def stop(self, asks: list[Ask]) -> None:
            self.client.answer(asks)

    actor = ray.remote(num_cpus=0.5)(Asking).remote(server.url, str(tmp_path))
    texts = [f"{number} [reset]" for number in range(10)]
    found = ray.get(actor.ask.remote([ask(text) for text in texts]), timeout=120)
    assert found == [f"answer to {text}" for text in texts]
    with pytest.raises(EndpointError, match="unauthorized"):
        ray.get(actor.stop.remote([ask("[401]")]), timeout=60)
    ray.kill(actor)
