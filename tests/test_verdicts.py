"""What a response amounts to, over the statuses and bodies that servers are known to send."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from captioning.verdicts import MAX_DETAIL_CHARACTERS, verdict


def body(**error: Any) -> bytes:
    return json.dumps({"error": error}).encode()


@pytest.mark.parametrize(
    ("status", "response", "kind", "code"),
    [
        (400, body(message="context length exceeded"), "refused", "bad_request"),
        (401, body(message="no"), "stop", "unauthorized"),
        (402, body(message="Insufficient Balance"), "stop", "payment"),
        (403, body(message="model not allowed"), "stop", "forbidden"),
        (403, body(message="input was flagged by moderation"), "refused", "flagged"),
        (404, b'{"detail": "Not Found"}', "refused", "not_found"),
        (408, b"", "again", "timeout"),
        (409, b"", "again", "conflict"),
        (413, b"<html>", "refused", "too_large"),
        (422, b'{"detail": [{"loc": ["body"]}]}', "refused", "bad_request"),
        (425, b"", "again", "too_early"),
        (429, body(message="slow down"), "load", "rate_limited"),
        (429, body(message="You exceeded your current quota", code="insufficient_quota"), "stop", "quota"),
        (500, body(message="cannot identify image file"), "server", "server_error"),
        (500, body(message="image input is not supported - hint: mmproj"), "stop", "no_images"),
        (501, b"", "refused", "bad_request"),
        (502, b"<html>", "again", "bad_gateway"),
        (503, b"", "load", "overloaded"),
        (504, b"", "again", "timeout"),
        (524, b"", "again", "bad_gateway"),
        (529, b"", "load", "overloaded"),
        (301, b"", "stop", "redirect"),
        (200, b"", "again", "bad_gateway"),
        (200, b"<html></html>", "again", "bad_gateway"),
        (200, b"[]", "again", "bad_gateway"),
        (200, b"null", "again", "bad_gateway"),
        (200, b'{"choices": []}', "again", "bad_gateway"),
        (200, b'{"choices": [{"message": null}]}', "again", "bad_gateway"),
        (200, b'{"choices": [{"message": {"content": null}}]}', "again", "no_content"),
        (200, b'{"choices": [{"message": {"content": "  \\n"}}]}', "again", "no_content"),
        (200, b'{"choices": [{"message": {"content": null, "refusal": "I cannot"}}]}', "refused", "flagged"),
        (200, b'{"choices": [{"message": {"content": ""}, "finish_reason": "content_filter"}]}', "refused", "content_filter"),
        (200, body(message="upstream", code=429), "load", "rate_limited"),
        (200, body(message="no key", code=401), "stop", "unauthorized"),
        (200, body(message="odd", code="x"), "again", "bad_gateway"),
        (200, b'{"error": null, "choices": [{"message": {"content": "a"}}]}', "answer", ""),
        (200, b'{"choices": [{"message": {"content": [{"type": "text", "text": "a"}]}}], "usage": null}', "answer", ""),
        (200, b"[" * 100_000, "again", "bad_gateway"),
    ],
)
def test_each_response_means_one_thing(status: int, response: bytes, kind: str, code: str) -> None:
    found = verdict(status, response)
    assert (found.kind, found.code) == (kind, code)
    assert (kind == "answer") == bool(found.text)


def test_a_refused_schema_is_told_from_a_bad_request() -> None:
    assert verdict(400, body(message="grammar"), with_schema=True).kind == "schema"
    assert verdict(400, body(message="grammar"), with_schema=False).kind == "refused"


def test_usage_is_counted_only_where_it_is_a_number() -> None:
    said = {"choices": [{"message": {"content": "a"}}], "usage": {"prompt_tokens": 7, "completion_tokens": True}}
    found = verdict(200, json.dumps(said).encode())
    assert (found.input_tokens, found.output_tokens) == (7, None)


@given(st.sampled_from([200, 400, 429, 500, 503]), st.binary(max_size=200))
def test_no_bytes_are_too_odd_for_a_verdict(status: int, response: bytes) -> None:
    found = verdict(status, response, secret="abc-secret")
    assert found.kind != "answer" or found.text
    assert len(found.detail) <= MAX_DETAIL_CHARACTERS + 20 and "\n" not in found.detail


@pytest.mark.parametrize("shown", ["abc-secret", "Bearer abcdefgh", "sk-proj-12345678", "key=ignored sk_live_12345678"])
def test_keys_are_not_shown(shown: str) -> None:
    found = verdict(401, body(message=f"Incorrect API key provided: {shown}"), secret="abc-secret")
    assert not {"abc-secret", "abcdefgh", "12345678"} & set(found.detail.replace("-", " ").replace("_", " ").split())
    assert "abc-secret" not in found.detail and "[key]" in found.detail
