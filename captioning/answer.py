"""One question to a model that sees and writes, and its answer: what every backend takes and gives.

A backend is anything with a method `answer(asks) -> list[Reply]`: one reply per ask, in the same order, and never an
exception for one ask's failure. captioning/vlm.py runs a model in process, captioning/endpoint.py speaks to a server.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

Message = Mapping[str, Any]
IMAGE_PART: Mapping[str, str] = {"type": "image"}  # the placeholder of a picture within a message's content


@dataclass(frozen=True)
class Ask:
    """One question in OpenAI's chat format.

    `messages` are {"role", "content"}; content is a string or a list of parts, {"type": "text", "text": ...} or the
    placeholder {"type": "image"}. The n-th placeholder, counted over all messages in order, stands for `images[n]`: an
    encoded file's bytes as stored (JPEG, PNG, ...), so that `len(images)` equals the number of placeholders. A server's
    client replaces each by {"type": "image_url", "image_url": {"url": "data:image/jpeg;base64,..."}}, a model in process
    decodes it. `key` names the ask in logs, batches and caches' reports; it never changes the answer.
    """

    key: str
    messages: Sequence[Message]
    images: Sequence[bytes] = ()
    max_tokens: int = 1024
    temperature: float = 0.0  # 0 is greedy, and then the seed has no effect
    seed: int = 0
    json_schema: Mapping[str, Any] | None = None  # the reply shall be JSON of this schema, where the backend can force it


@dataclass(frozen=True)
class Reply:
    """One answer: text, or an error of a code and one line of detail; never both, never neither.

    `finish_reason` is the OpenAI word ("stop", "length", "content_filter", ...), None with an error. Tokens are what the
    backend counted or the server billed over all `requests` (tries included); a cached reply made no request.
    """

    text: str | None = None
    error: tuple[str, str] | None = None  # (code, detail)
    finish_reason: str | None = None
    model: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    requests: int = 0
    cached: bool = False

    def __post_init__(self) -> None:
        if (self.text is None) == (self.error is None):
            raise ValueError("a reply holds either a text or an error")


class Backend(Protocol):
    """Whatever answers asks: a model in process or a server's client."""

    def answer(self, asks: Sequence[Ask]) -> list[Reply]:
        """Return one reply per ask, in the same order."""
        ...


def placeholders(messages: Sequence[Message]) -> int:
    """How many pictures the messages stand for: the number of image placeholders in their contents."""
    contents = (message["content"] for message in messages if not isinstance(message["content"], str))
    return sum(part["type"] == "image" for content in contents for part in content)
