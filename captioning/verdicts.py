"""What one try at a server amounts to: an answer, a reason to try again, a refusal of this ask, or a refusal of every ask.

Servers pass errors off as answers (HTML with status 200, `{"error": ...}` with status 200, a content of null), and Ray's own
HTTP stage hands them on as captions; here only a non-empty text in `choices[0].message.content` is an answer.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["answer", "again", "load", "server", "schema", "refused", "stop"]
"""again: try later; load: try later, and fewer at a time; server: 500, try few times; schema: try without the JSON schema;
refused: this ask will never be answered; stop: no ask will."""


@dataclass(frozen=True)
class Verdict:
    """What a try amounts to; `code` and `detail` say why there is no answer."""

    kind: Kind
    code: str = ""
    detail: str = ""
    text: str = ""
    finish_reason: str | None = None
    model: str = ""
    input_tokens: int | None = None  # None: the server did not say
    output_tokens: int | None = None


_LOAD = {429: "rate_limited", 503: "overloaded", 529: "overloaded"}
_AGAIN = {408: "timeout", 409: "conflict", 425: "too_early", 502: "bad_gateway", 504: "timeout"}
_STOP = {401: "unauthorized", 402: "payment", 403: "forbidden"}
_REFUSED = {400: "bad_request", 404: "not_found", 413: "too_large", 415: "bad_request", 422: "bad_request"}
_FLAGGED = ("moderation", "flagged", "content policy", "content_policy", "content_filter", "safety")
_NO_QUOTA = ("insufficient_quota", "insufficient balance", "exceeded your current quota", "billing_hard_limit")
_NO_IMAGES = re.compile(
    r"image input is not supported|mmproj|does not support (image|vision|multimodal)|not a multimodal model|"
    r"at most 0 image",
    re.IGNORECASE,
)
_KEYS = re.compile(r"\b(sk|pk|key|Bearer)[-_ ][A-Za-z0-9_\-.*]{6,}", re.IGNORECASE)
MAX_DETAIL_CHARACTERS = 240


def verdict(status: int, body: bytes, *, secret: str = "", with_schema: bool = False) -> Verdict:
    """Return what a complete HTTP response amounts to.

    secret: never shown in a detail. with_schema: the request asked for a JSON schema, which some servers refuse with 400.
    """
    payload = _object(body)
    if status == 200:
        return _of_success(payload, body, secret)
    message = _message(payload, body, secret)
    return _of_status(status, message, with_schema)


def broken(code: str, error: BaseException | str, *, secret: str = "") -> Verdict:
    """Return the verdict on a try that brought no complete response; a try that timed out is a sign of load."""
    return Verdict("load" if code == "timeout" else "again", code, _line(str(error) or type(error).__name__, secret))


def _of_status(status: int, message: str, with_schema: bool) -> Verdict:
    lower = message.lower()
    if _NO_IMAGES.search(message):
        return Verdict("stop", "no_images", message)
    if status in _STOP and any(word in lower for word in _FLAGGED):
        return Verdict("refused", "flagged", message)
    if status == 429 and any(word in lower for word in _NO_QUOTA):
        return Verdict("stop", "quota", message)
    if status in _STOP or 300 <= status < 400:
        return Verdict("stop", _STOP.get(status, "redirect"), f"status {status}: {message}")
    if status in (400, 422) and with_schema:
        return Verdict("schema", "bad_request", f"status {status}: {message}")
    for kind, codes in (("load", _LOAD), ("again", _AGAIN), ("refused", _REFUSED)):
        if status in codes:
            return Verdict(kind, codes[status], f"status {status}: {message}")  # type: ignore[arg-type]
    if status == 500:
        return Verdict("server", "server_error", f"status 500: {message}")
    # Proxies count on from 520; 501 and 505 mean that the server cannot do this at all.
    return Verdict("again" if status > 505 else "refused", "bad_gateway" if status > 505 else "bad_request", f"status {status}")


def _of_success(payload: Any, body: bytes, secret: str) -> Verdict:
    if payload is None:
        what = "an empty body" if not body.strip() else f"{_line(body[:80].decode('utf-8', 'replace'), secret)!r} is no JSON"
        return Verdict("again", "bad_gateway", f"status 200: {what}")
    if payload.get("error"):
        error = payload["error"]
        inner = error.get("code") if isinstance(error, dict) else None
        message = _message(payload, body, secret)
        return _of_status(int(str(inner)), message, False) if _is_status(inner) else Verdict("again", "bad_gateway", message)
    try:
        choice = payload["choices"][0]
        message, reason = choice["message"], choice.get("finish_reason")
        text = _text(message.get("content"))
    except (KeyError, IndexError, TypeError, AttributeError):
        return Verdict("again", "bad_gateway", "status 200: the JSON is no chat completion")
    usage = payload.get("usage") if isinstance(payload.get("usage"), dict) else {}
    told: dict[str, Any] = {
        "finish_reason": str(reason) if reason else None,
        "model": str(payload.get("model") or ""),
        "input_tokens": _count(usage.get("prompt_tokens")),
        "output_tokens": _count(usage.get("completion_tokens")),
    }
    if not text.strip():
        if message.get("refusal"):
            return Verdict("refused", "flagged", _line(str(message["refusal"]), secret), **told)
        if reason == "content_filter":
            return Verdict("refused", "content_filter", "the server withheld the answer", **told)
        return Verdict("again", "no_content", f"status 200: content is {message.get('content')!r:.20}", **told)
    return Verdict("answer", text=text, **told)


def _text(content: Any) -> str:
    """Return the text of a message's content: a string, or a list of parts as some servers send it."""
    if isinstance(content, list):
        return "".join(part.get("text") or "" for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else ""


def _object(body: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _message(payload: Any, body: bytes, secret: str) -> str:
    found: Any = payload
    for name in ("error", "detail", "message"):
        if isinstance(found, Mapping) and name in found:
            found = found[name]
    if isinstance(found, Mapping):
        found = " ".join(str(found[name]) for name in ("message", "code") if found.get(name)) or json.dumps(found)
    code = payload.get("error", {}).get("code") if isinstance(payload, dict) and isinstance(payload.get("error"), dict) else None
    text = str(found) if found is not None else body[:400].decode("utf-8", "replace")
    return _line(f"{text} ({code})" if code and str(code) not in text else text, secret)


def _line(text: str, secret: str) -> str:
    """Return a text from outside as one short line that shows no key."""
    if secret:
        text = text.replace(secret, "[key]")
    return " ".join(_KEYS.sub("[key]", text).split())[:MAX_DETAIL_CHARACTERS]


def _is_status(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 400 <= value < 600


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
