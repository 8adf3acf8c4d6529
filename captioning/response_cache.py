"""Answers on disk by the key of their question, so that what was paid for once is never asked again.

One JSON file per answer, `<first two digits>/<key>.json`, written under another name and renamed: a reader sees a whole answer
or none, any number of processes may write, and a kill at any moment costs at most what is in flight. A file that is torn all
the same (power loss) fails its own check and counts as absent.
"""

import hashlib
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path

from captioning.answer import Reply

_FIELDS = ("text", "error", "finish_reason", "model", "input_tokens", "output_tokens")


class ResponseCache:
    """A folder of answers; `folder` None remembers nothing."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder

    def get(self, key: str) -> Reply | None:
        """Return the answer to a question, marked as cached, or None."""
        if self.folder is None:
            return None
        try:
            stored = json.loads(self._path(key).read_bytes())
            if stored["check"] != _check(key, stored["reply"]):
                return None
            reply = {name: stored["reply"][name] for name in _FIELDS}
        except (OSError, ValueError, KeyError, TypeError):
            return None
        error = reply.pop("error")
        return Reply(**reply, error=None if error is None else (error[0], error[1]), cached=True)

    def put(self, key: str, reply: Reply) -> None:
        """Keep an answer; the last one of a key stays."""
        if self.folder is None:
            return
        fields = {name: getattr(reply, name) for name in _FIELDS}
        path = self._path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}")
        stored = json.dumps({"reply": fields, "check": _check(key, fields)}, ensure_ascii=True)
        aside.write_text(stored, encoding="ascii")
        aside.rename(path)

    def keys(self) -> Iterator[str]:
        """Yield the keys of all answers, sorted."""
        if self.folder is not None:
            yield from sorted(path.stem for path in self.folder.glob("??/*.json") if not path.name.startswith("."))

    def _path(self, key: str) -> Path:
        assert self.folder is not None
        return self.folder / key[:2] / f"{key}.json"


def _check(key: str, fields: object) -> str:
    return hashlib.sha256(f"{key} {json.dumps(fields, sort_keys=True)}".encode()).hexdigest()[:16]
