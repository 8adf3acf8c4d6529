"""The client against `transformers serve` with a tiny random Qwen2.5-VL: a real OpenAI-compatible server, faults in between."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from asking import ask
from faulty_server import FaultyServer, serving
from PIL import Image
from test_run import command
from tiny_vlm import build

from captioning.answer import Ask
from captioning.endpoint import Endpoint
from curation.tables import Run
from jobs.caption import Captioner
from jobs.config import read_config
from jobs.pipeline import pipeline

for package in ("openai", "accelerate"):
    pytest.importorskip(package, reason=f"transformers serve needs the package {package}")
pytestmark = pytest.mark.slow
START_SECONDS = 240


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(build(tmp_path_factory.mktemp("served") / "model"))


@pytest.fixture(scope="module")
def upstream(model: str) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "transformers.cli.transformers", "serve", model, "--host", "127.0.0.1", "--port", str(port),
               "--device", "cpu"]  # fmt: skip
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    server = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url, deadline = f"http://127.0.0.1:{port}", time.monotonic() + START_SECONDS
    try:
        while True:
            assert server.poll() is None and time.monotonic() < deadline, "transformers serve did not start"
            try:
                urllib.request.urlopen(f"{url}/health", timeout=2).read()
                break
            except OSError:
                time.sleep(0.3)
        yield url
    finally:
        server.terminate()
        server.wait(20)


def test_a_real_server_answers_through_faults(upstream: str, model: str, tmp_path: Path) -> None:
    faults = ["[429]", "[429x2]", "[500]", "[html]", "[reset]", "[cut]", "[null]", "[503]", "[abort]", "[date]"]
    ends = {"[400]": "bad_request", "[413]": "too_large", "[500x9]": "server_error"}
    texts = [f"plain {number}" for number in range(12)] + faults + list(ends)
    with serving(FaultyServer(upstream=upstream)) as server:
        with Endpoint(server.url, model, concurrency=4, cache=str(tmp_path)) as client:
            replies = dict(zip(texts, client.answer([ask(text) for text in texts]), strict=True))
            again = client.answer([ask(text) for text in texts if text not in ends])
        for text, code in ends.items():
            assert replies[text].error is not None and replies[text].error[0] == code
        for text, second in zip((text for text in texts if text not in ends), again, strict=True):
            first = replies[text]
            assert first.text is not None and first.finish_reason in ("stop", "length"), (text, first)
            assert first.input_tokens > 20 and 0 < first.output_tokens <= 8 + 10 * (text == "[null]")  # tries are billed
            assert server.answered[text] == 1 and second.text == first.text and second.cached


def test_the_servers_own_500_costs_only_the_ask_that_caused_it(upstream: str, model: str) -> None:
    """A text part that the server cannot read gives its own 500, after which it drops the connection of somebody else."""
    messages = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]}]
    broken = Ask("broken", messages, (), max_tokens=4)
    asks = [broken if number % 4 == 1 else ask(f"innocent {number}") for number in range(16)]
    with Endpoint(f"{upstream}/v1", model, concurrency=1, max_tries=2) as client:
        replies = client.answer(asks)
    for one, reply in zip(asks, replies, strict=True):
        if one is broken:
            assert reply.error is not None and reply.error[0] == "server_error"
        else:  # a random model may truly say nothing
            assert reply.text is not None or (reply.error is not None and reply.error[0] == "no_content"), (one.key, reply)
    assert sum(reply.text is not None for reply in replies) >= 8


def test_a_killed_run_pays_once(upstream: str, model: str, tmp_path: Path) -> None:
    script = (
        f"import sys; sys.path[:0] = [{str(Path(__file__).parent)!r}]\n"
        "from asking import ask\nfrom captioning.endpoint import Endpoint\nimport json\n"
        "with Endpoint(sys.argv[1], sys.argv[2], concurrency=2, cache=sys.argv[3]) as client:\n"
        "    print(json.dumps([r.text for r in client.answer([ask(f'plain {n}') for n in range(40)])]))\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    with serving(FaultyServer(upstream=upstream)) as server:
        command = [sys.executable, "-c", script, server.url, model, str(tmp_path)]
        killed = subprocess.Popen(command, env=environment)
        deadline = time.monotonic() + 60
        while sum(server.answered.values()) < 10 and time.monotonic() < deadline:
            time.sleep(0.002)
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        paid = sum(server.answered.values())
        texts = json.loads(subprocess.run(command, env=environment, capture_output=True, check=True, timeout=90).stdout)
        assert len(texts) == 40 and all(texts) and 10 <= paid < 40
        assert sum(server.answered.values()) <= 40 + 2  # what was in flight may be asked again, nothing else


def test_a_schema_is_asked_for_and_not_trusted(upstream: str, model: str) -> None:
    """transformers serve takes response_format in silence and answers with text that is no JSON."""
    with Endpoint(f"{upstream}/v1", model) as client:
        reply = client.answer([ask("Answer in JSON.", json_schema={"type": "object"})])[0]
    assert reply.text is not None
    with pytest.raises(ValueError):
        json.loads(reply.text)


SAID = {
    "en": {
        "tags": "noise, grain, texture, abstract, square",
        "short": "A square of coloured grain",
        "medium": "A small square that is filled with coloured grain from edge to edge, without any object.",
        "long": "A small square picture that is filled with coloured grain from edge to edge. No object can be made out; the "
        "dots are spread evenly, the light is flat, and nothing stands before or behind them.",
        "prompt": "coloured grain, abstract",
    },
    "zh": {
        "tags": "噪点，颗粒，纹理，抽象，方形",
        "short": "一方彩色颗粒",
        "medium": "一幅小小的方形画面，从左到右布满了彩色颗粒，看不到任何物体。",
        "long": "一幅小小的方形画面，从上到下布满了彩色颗粒，分布均匀，光线平淡，"
        "看不出任何物体，也没有前景和背景之分，整体风格抽象而简单。",
        "prompt": "彩色颗粒，抽象",
    },
}
"""What a good model might say of the pictures of `collection`; a random one says nothing of use."""
MET: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("[429x2]", "[500]", "[html]", "[reset]", "[cut]", "plain"), ("cut", "no_json")),
    "[400x9]": ("bad_request",),
    "[413x9]": ("too_large",),
    **dict.fromkeys(("[says]", "[429][says]", "[slow][says]"), ()),
}
"""What the proxy does to the question of a picture, by a word of its caption, and why it then falls back to facts."""


def collection(folder: Path) -> Path:
    """Write a picture of grain per fault, whose caption names the fault."""
    folder.mkdir()
    for number, fault in enumerate(MET):
        grain = np.random.default_rng(number).integers(0, 255, (64, 64, 3), np.uint8)
        Image.fromarray(grain).save(folder / f"{number:02}.png")
        (folder / f"{number:02}.txt").write_text(f"grain {fault}")
    return folder


def captions_of(run: Run, table: pa.Table) -> dict[str, list[dict[str, Any]]]:
    """Return the captions of every image but the source's, by what its own caption says."""
    said = run.read("images", ["caption"])["caption"].to_pylist()
    rows = zip(said, table["captions"].to_pylist(), strict=True)
    return {text.removeprefix("grain "): [one for one in row if one["level"] != "source"] for text, row in rows}


def captioned_again(run: Run) -> pa.Table:
    """Return CAPTIONS of a run, all of it, as `--redo caption` makes them."""
    (planned,) = [line for line in pipeline(read_config(run.root / "config.yaml", {})) if line.stage.name == "caption"]
    captioner = Captioner(**planned.parameters, **planned.how)
    parts = [captioner(**run.aligned(list(planned.stage.inputs), part)) for part in range(run.num_parts("images"))]
    return pa.concat_tables(parts)


def killed_when(driver: subprocess.Popen[bytes], server: FaultyServer, answers: int) -> None:
    """Kill a run when so many questions are answered and the one that hangs is out."""
    deadline = time.monotonic() + 400
    while time.monotonic() < deadline and driver.poll() is None:
        if server.answered.total() >= answers and any("[slow]" in question for question in server.questions):
            break
        time.sleep(0.02)
    assert driver.poll() is None and server.answered.total() == answers
    time.sleep(0.5)  # the answer is on its way to the cache
    driver.send_signal(signal.SIGKILL)
    driver.wait()


@pytest.mark.ray
def test_a_killed_run_captions_every_image_once_through_faults_and_again_for_nothing(
    upstream: str, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))  # for thumbnail_encoder
    with serving(FaultyServer(upstream=upstream, says=json.dumps({"text": [], **SAID}, ensure_ascii=False))) as server:
        settings = tmp_path / "run.yaml"
        settings.write_text(
            f"source: {collection(tmp_path / 'grain')}\nout: {tmp_path / 'run'}\ndedup: {{method: fast}}\n"
            "ingest: {part_rows: 6}\nembed: {model: 'thumbnail_encoder:Thumbnail'}\nscore: {nsfw: null}\n"
            "caption: {backend: endpoint, max_tokens: 8, repairs: 0, retries: 0, max_fallback_share: 1}\n"
            f"endpoint: {{url: '{server.url}', model: '{model}', concurrency: 4}}\n"
        )
        arguments = ("run", str(settings), "--until", "caption", "--workers", "1")
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        driver = subprocess.Popen([sys.executable, "-m", "jobs", *arguments], **quiet)
        killed_when(driver, server, len(MET) - 3)  # two are refused for good, one hangs
        command(*arguments)
        run, paid = Run(tmp_path / "run"), server.answered.copy()
        table = run.read("captions")
        assert captioned_again(run)["captions"].equals(table["captions"])
    assert set(paid.values()) == {1} and len(paid) == len(MET) - 2, "an answer was paid for twice, or lost"
    assert server.answered == paid, "what was answered is asked again"
    for fault, captions in captions_of(run, table).items():
        assert [(one["language"], one["level"]) for one in captions] == [(a, b) for a in SAID for b in SAID[a]]
        for one in captions:
            if reasons := tuple(f"fallback:{reason}" for reason in MET[fault]):
                assert one["backend"] == "facts" and one["flags"][-1].startswith(reasons), (fault, one)
                assert not any(word in one["text"] for word in ("injected", "<html", "Bad gateway", "busy"))
            else:
                assert (one["backend"], one["text"]) == ("endpoint", SAID[one["language"]][one["level"]]), (fault, one)
