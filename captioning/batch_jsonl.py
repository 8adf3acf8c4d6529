"""Questions and answers in the JSONL of OpenAI's Batch API, which answers within a day at half the price.

Export is a backend: what the cache holds it answers, everything else it writes as a line whose custom_id is the question's
cache key. So the captioner itself decides what to ask, second rounds included: export, import, export again for what needed
mending. Import fills the cache, whose answers the next run then finds. An error that would only be repeated becomes the reply
of its question; any other is left out, so that the question is asked again.

The part of an ask's key before the first slash names what is asked about. One question about it waits for its answer before
the next is written: "ID/retry-1" makes sense only when the answer to "ID" is known and of no use.

https://platform.openai.com/docs/guides/batch (limits: 50,000 lines and 200 MB per file)
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from captioning.answer import Ask, Reply
from captioning.chat_request import UNSENDABLE, Request, RequestForm, why_unsendable
from captioning.response_cache import ResponseCache
from captioning.verdicts import verdict
from curation.errors import SourceError

MAX_LINES = 50_000
MAX_BYTES = 190_000_000
EXPORTED = "exported"
"""Error code of a question that was written to a batch file instead of being answered."""


class BatchExport:
    """A backend that answers from the cache and writes the rest to batch files; use as a context manager."""

    def __init__(
        self, form: RequestForm, cache: ResponseCache, file: Path, *, max_lines: int = MAX_LINES, max_bytes: int = MAX_BYTES
    ) -> None:
        """Begin `file`; when it is full, `name-2.jsonl`, `name-3.jsonl`, ... follow beside it."""
        self._form, self._cache, self._first = form, cache, file
        self._max_lines, self._max_bytes = max_lines, max_bytes
        self._written: set[str] = set()
        self._waiting: set[str] = set()
        self._stream: IO[bytes] | None = None
        self._lines = self._bytes = 0
        self.files: list[Path] = []
        self.answered = self.unsendable = self.input_tokens = self.max_output_tokens = 0

    @property
    def lines(self) -> int:
        """Return how many questions were written."""
        return len(self._written)

    def answer(self, asks: Sequence[Ask]) -> list[Reply]:
        """Return the cached replies; the others have the error `exported` and are lines of the batch."""
        return [self._one(ask) for ask in asks]

    def close(self) -> None:
        """End the last file, and note what was asked beside the cache."""
        if self._stream is not None:
            self._stream.close()
        if self._cache.folder is not None and self._written:
            self._cache.folder.mkdir(parents=True, exist_ok=True)
            with (self._cache.folder / "exported.txt").open("a", encoding="ascii") as noted:
                noted.writelines(f"{key}\n" for key in sorted(self._written))

    def __enter__(self) -> "BatchExport":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _one(self, ask: Ask) -> Reply:
        try:
            request = self._form.request(ask)
        except UNSENDABLE as error:
            self.unsendable += 1
            return Reply(error=why_unsendable(error))
        cached = self._cache.get(request.key)
        if cached is not None:
            self.answered += 1
            return cached
        subject = ask.key.partition("/")[0]
        if request.key not in self._written and not ("/" in ask.key and subject in self._waiting):
            self._write(request)
        self._waiting.add(subject)
        return Reply(error=(EXPORTED, f"custom_id {request.key[:12]} of a batch"))

    def _write(self, request: Request) -> None:
        body = self._form.body(request)
        line = {"custom_id": request.key, "method": "POST", "url": "/v1/chat/completions", "body": body}
        encoded = json.dumps(line, ensure_ascii=True).encode("ascii") + b"\n"
        if self._stream is None or self._lines >= self._max_lines or self._bytes + len(encoded) > self._max_bytes:
            self._next_file()
        assert self._stream is not None
        self._stream.write(encoded)
        self._written.add(request.key)
        self._lines, self._bytes = self._lines + 1, self._bytes + len(encoded)
        self.input_tokens += request.input_tokens
        self.max_output_tokens += request.ask.max_tokens

    def _next_file(self) -> None:
        if self._stream is not None:
            self._stream.close()
        number = len(self.files) + 1
        path = self._first if number == 1 else self._first.with_name(f"{self._first.stem}-{number}{self._first.suffix}")
        path.parent.mkdir(parents=True, exist_ok=True)
        self._stream = path.open("wb")
        self.files.append(path)
        self._lines = self._bytes = 0


@dataclass
class Imported:
    """What an import found. filled: answers new in the cache. errors: (code, detail) by key.

    duplicates: keys that came more than once, of which the first answer counts. unreadable: numbers of lines that are no line
    of a batch. unknown: keys that were never exported. missing: keys exported and not answered by now.
    """

    filled: int = 0
    errors: dict[str, tuple[str, str]] = field(default_factory=dict)
    duplicates: list[str] = field(default_factory=list)
    unreadable: list[int] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    input_tokens: int = 0
    output_tokens: int = 0


def import_batch(files: Sequence[Path], cache: ResponseCache) -> Imported:
    """Put the answers in result files (output and error files alike) into the cache and say what became of every line.

    Raises SourceError for a file that cannot be read.
    """
    found, seen, exported = Imported(), set[str](), _exported(cache)
    for key, reply, lasting in _results(files, found):
        if key in seen:
            found.duplicates.append(key)
            continue
        seen.add(key)
        if exported and key not in exported:
            found.unknown.append(key)
        if reply.error is not None:
            found.errors[key] = reply.error
        else:
            found.filled += 1
        found.input_tokens += reply.input_tokens
        found.output_tokens += reply.output_tokens
        kept = cache.get(key)
        if (reply.error is None or lasting) and (kept is None or kept.error is not None):
            cache.put(key, reply)
    found.missing = sorted(key for key in exported if key not in seen and cache.get(key) is None)
    return found


def _results(files: Sequence[Path], found: Imported) -> Iterator[tuple[str, Reply, bool]]:
    """Yield key, reply and whether an error would only be repeated."""
    number = 0
    for path in files:
        try:
            with path.open("rb") as lines:
                for line in lines:
                    number += 1
                    parsed = _parsed(line)
                    if parsed is not None:
                        yield parsed
                    elif line.strip():
                        found.unreadable.append(number)
        except OSError as error:
            raise SourceError(f"{path} cannot be read: {error.strerror}") from None


def _parsed(line: bytes) -> tuple[str, Reply, bool] | None:
    try:
        result = json.loads(line)
        key = result["custom_id"]
        response, error = result.get("response"), result.get("error")
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
    if not (isinstance(key, str) and len(key) == 64 and set(key) <= set("0123456789abcdef")):
        return None
    if not isinstance(response, dict):
        code = str(error.get("code") or "batch") if isinstance(error, dict) else "batch"
        detail = str(error.get("message") or "no response") if isinstance(error, dict) else "no response"
        return key, Reply(error=(code, " ".join(detail.split())[:240])), False
    return (key, *_reply(response))


def _reply(response: dict[str, Any]) -> tuple[Reply, bool]:
    status = response.get("status_code")
    found = verdict(status if isinstance(status, int) else 0, json.dumps(response.get("body")).encode())
    used: dict[str, Any] = {"input_tokens": found.input_tokens or 0, "output_tokens": found.output_tokens or 0}
    if found.kind == "answer":
        return Reply(text=found.text, finish_reason=found.finish_reason, model=found.model, requests=1, **used), False
    return Reply(error=(found.code, found.detail), model=found.model, requests=1, **used), found.kind == "refused"


def _exported(cache: ResponseCache) -> set[str]:
    path = None if cache.folder is None else cache.folder / "exported.txt"
    return set(path.read_text(encoding="ascii").split()) if path is not None and path.is_file() else set()
