"""Batches, the cache, ledgers and estimates: files that must survive kills, repetition and nonsense."""

import json
import threading
from pathlib import Path
from typing import Any

import pytest
from asking import ask, picture

from captioning.answer import Reply
from captioning.batch_jsonl import EXPORTED, BatchExport, import_batch
from captioning.chat_request import RequestForm, estimated_tokens
from captioning.endpoint import Endpoint
from captioning.quote import Quoting
from captioning.response_cache import ResponseCache
from captioning.spending import Ledgers, Spent
from curation.errors import SourceError

FORM = RequestForm("known")


def result(key: str, text: str | None = "a caption", *, status: int = 200) -> dict[str, Any]:
    body = {
        "model": "known-1",
        "choices": [{"message": {"content": text}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 50, "completion_tokens": 5},
    }
    shown = body if status == 200 else {"error": {"message": "the image is too small"}}
    return {"id": "b", "custom_id": key, "response": {"status_code": status, "request_id": "r", "body": shown}, "error": None}


def exported(folder: Path, texts: list[str], **more: Any) -> tuple[ResponseCache, list[dict[str, Any]], BatchExport]:
    cache = ResponseCache(folder / "cache")
    with BatchExport(FORM, cache, folder / "batch.jsonl", **more) as export:
        replies = export.answer([ask(text) for text in texts])
    assert all(reply.error is not None and reply.error[0] == EXPORTED for reply in replies)
    return cache, [json.loads(line) for file in export.files for line in file.read_text().splitlines()], export


def test_what_is_imported_is_what_was_asked(tmp_path: Path) -> None:
    texts = [f"plain {number}" for number in range(10)]
    cache, lines, _ = exported(tmp_path, [*texts, texts[0]])
    assert [set(line) for line in lines] == [{"custom_id", "method", "url", "body"}] * 10
    assert all(len(line["custom_id"]) == 64 and line["method"] == "POST" for line in lines)
    told = [result(line["custom_id"], f"answer {number}") for number, line in enumerate(lines)]
    (tmp_path / "out.jsonl").write_text("\n".join(json.dumps(one) for one in reversed(told)))
    found = import_batch([tmp_path / "out.jsonl"], cache)
    assert (found.filled, found.errors, found.missing, found.output_tokens) == (10, {}, [], 50)
    with Endpoint("http://127.0.0.1:9/v1", "known", cache=str(tmp_path / "cache")) as client:  # nothing listens there
        replies = client.answer([ask(text) for text in texts])
    assert [reply.text for reply in replies] == [f"answer {number}" for number in range(10)]
    with BatchExport(FORM, cache, tmp_path / "again.jsonl") as second:
        assert [reply.text for reply in second.answer([ask(texts[3])])] == ["answer 3"]
    assert second.files == [] and second.answered == 1


def test_an_import_says_what_became_of_every_line(tmp_path: Path) -> None:
    cache, lines, _ = exported(tmp_path, [f"plain {number}" for number in range(7)])
    keys = [line["custom_id"] for line in lines]
    told = [
        result(keys[0]),
        result(keys[0], "another"),
        result(keys[1], status=400),
        {"custom_id": keys[2], "response": None, "error": {"code": "batch_expired", "message": "not in time"}},
        result(keys[3], status=500),
        result(keys[4], None),
        result("f" * 64),
        result("no key"),
    ]
    text = "\n".join(json.dumps(one) for one in told)
    (tmp_path / "out.jsonl").write_bytes(text.encode() + b'\n\n{"custom_id": "cut\n\xff\xfe\n[1]\n')
    found = import_batch([tmp_path / "out.jsonl"], cache)
    assert found.filled == 2 and found.duplicates == [keys[0]] and found.unknown == ["f" * 64]
    assert {key: error[0] for key, error in found.errors.items()} == {
        keys[1]: "bad_request", keys[2]: "batch_expired", keys[3]: "server_error", keys[4]: "no_content",
    }  # fmt: skip
    assert found.unreadable == [8, 10, 11, 12] and found.missing == sorted(keys[5:])
    first = cache.get(keys[0])
    assert first is not None and first.text == "a caption"
    refused = cache.get(keys[1])  # would be refused again: it is the reply of its question
    assert refused is not None and refused.error is not None and refused.error[0] == "bad_request"
    assert [cache.get(keys[number]) for number in (2, 3, 4)] == [None] * 3  # these are asked again


def test_files_end_before_the_limits_of_a_batch(tmp_path: Path) -> None:
    _, lines, export = exported(tmp_path, [f"plain {number}" for number in range(10)], max_lines=4)
    assert [file.name for file in export.files] == ["batch.jsonl", "batch-2.jsonl", "batch-3.jsonl"] and len(lines) == 10
    other = tmp_path / "bytes"
    _, lines, export = exported(other, [f"plain {number}" for number in range(10)], max_bytes=3_000)
    assert all(file.stat().st_size <= 3_000 for file in export.files) and len(lines) == 10


def test_a_file_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"none\.jsonl"):
        import_batch([tmp_path / "none.jsonl"], ResponseCache(tmp_path))


def test_a_key_depends_on_all_that_is_sent_and_on_nothing_else() -> None:
    base = ask("plain")
    same = FORM.request(ask("plain")).key
    assert same == FORM.request(base).key == RequestForm("known", image_token_px=32).request(base).key
    others = [
        FORM.request(other).key
        for other in (ask("plain "), ask("plain", seed=1), ask("plain", temperature=0.5), ask("plain", max_tokens=9),
                      ask("plain", json_schema={}), ask("plain", image=picture(colour="blue")))
    ] + [RequestForm("other").request(base).key, RequestForm("known", {"top_p": 0.5}).request(base).key]  # fmt: skip
    assert len({same, *others}) == 9


def test_parameters_overrule_and_null_removes() -> None:
    form = RequestForm("known", {"seed": None, "max_tokens": None, "max_completion_tokens": 7})
    body = form.body(form.request(ask("plain")))
    assert "seed" not in body and "max_tokens" not in body and body["max_completion_tokens"] == 7


def test_the_number_of_pictures_must_be_that_of_their_places() -> None:
    with pytest.raises(ValueError, match="0 pictures for 1 places"):
        FORM.request(type(ask("x"))("x", ask("x").messages, ()))


def test_the_cache_gives_back_what_was_put_and_torn_files_count_as_absent(tmp_path: Path) -> None:
    cache, key = ResponseCache(tmp_path), "ab" * 32
    cache.put(key, Reply(text="海报 \ud800 \x00", finish_reason="stop", model="m", input_tokens=3, output_tokens=2, requests=4))
    found = cache.get(key)
    assert found == Reply(text="海报 \ud800 \x00", finish_reason="stop", model="m", input_tokens=3, output_tokens=2, cached=True)
    file = next(tmp_path.glob("??/*.json"))
    whole = file.read_bytes()
    for damaged in (b"", whole[:-10], whole.replace(b'"m"', b'"n"'), b"[]", b"\xff"):
        file.write_bytes(damaged)
        assert cache.get(key) is None
    assert cache.get("cd" * 32) is None and list(cache.keys()) == [key]


def test_writers_of_one_answer_do_not_disturb_each_other(tmp_path: Path) -> None:
    cache, key = ResponseCache(tmp_path), "ab" * 32
    seen: list[Reply | None] = []

    def work() -> None:
        for _ in range(100):
            cache.put(key, Reply(text="x" * 3000))
            seen.append(cache.get(key))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 400 and all(one is not None and one.text == "x" * 3000 for one in seen)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == [f"{key}.json"]


def test_ledgers_sum_over_objects_and_skip_what_is_being_written(tmp_path: Path) -> None:
    first, second = Ledgers(tmp_path), Ledgers(tmp_path)
    for _ in range(10):
        first.add(Spent(1, 100, 10, 0.5))
    second.add(Spent(1, 1, 1, 0.25))
    with next(iter(tmp_path.iterdir())).open("ab") as torn:
        torn.write(b'{"requests": 1, "inp')
    assert Ledgers(tmp_path).total() == second.total() == first.total() == Spent(11, 1001, 101, 5.25)


def test_an_estimate_is_the_formula_times_the_prices(tmp_path: Path) -> None:
    """Closed form: 80x60 px are 3 x 3 squares of 28 px and 2; 'You caption.' and the text are 12 and 8 characters."""
    assert estimated_tokens(ask("abcdefgh").messages, [(80, 60)], image_token_px=28) == 11 + 5 + 2 * 4
    assert estimated_tokens([{"content": "海报"}], [], image_token_px=28) == 2 + 4
    cache = ResponseCache(tmp_path)
    asks = [ask(f"text {number:03}", image=picture((80, 60)), max_tokens=100) for number in range(5)]
    quoting = Quoting(FORM, cache, input_price=10.0, output_price=30.0)
    quoting.answer([*asks, asks[0], ask("torn", image=b"no")])
    quote = quoting.quote()
    assert (quote.asks, quote.unsendable, quote.input_tokens, quote.output_tokens) == (5, 1, 5 * 24, 500)
    assert quote.cost == quote.max_cost == pytest.approx((120 * 10 + 500 * 30) / 1e6)
    cache.put(FORM.request(asks[0]).key, Reply(text="a", output_tokens=20))
    quoting = Quoting(FORM, cache, input_price=10.0, output_price=30.0)
    quoting.answer(asks)
    quote = quoting.quote()
    assert (quote.asks, quote.cached, quote.output_tokens, quote.max_output_tokens) == (4, 1, 80, 400)
    assert str(quote).startswith("estimate")
