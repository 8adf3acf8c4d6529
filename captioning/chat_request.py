"""An ask as the body of a request to an OpenAI-compatible server: pictures made safe, a key of its content, a count of tokens.

Servers answer 500 to pictures that they cannot decode, so every picture is decoded here, and encoded anew unless it already is
a plain JPEG of the size that is sent. The key is a hash of all that the answer depends on: the pictures' bytes as sent, model,
messages and parameters. It names the answer in the cache and in batches.
"""

import base64
import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from captioning.answer import Ask, placeholders
from captioning.sent_picture import sent_picture, sent_size
from curation.decode import DecodePolicy, decode, verify
from curation.errors import DecodeError

FORMAT = 1
"""Raised when the same ask would be sent in another form, so that old answers are not taken for new ones."""
ANY_SHAPE = DecodePolicy(min_side_px=1, max_aspect=float("inf"))
UNSENDABLE = (DecodeError, ValueError, TypeError, LookupError, AttributeError)
"""What `RequestForm.request` raises for an ask with a broken picture, or of another shape than `captioning.answer.Ask` says."""
_METADATA = (b"Exif\x00\x00", b"http://ns.adobe.com/", b"ICC_PROFILE\x00")


@dataclass(frozen=True)
class Request:
    """An ask that can be sent. `key`: hex sha256 of its content. `input_tokens`: an estimate, by `estimated_tokens`."""

    ask: Ask
    key: str
    pictures: tuple[bytes, ...]
    input_tokens: int


@dataclass(frozen=True)
class RequestForm:
    """How asks become requests to one model.

    parameters: put into every body over what the ask says; null takes a key out. min_pixels, max_pixels: budget of a picture.
    image_token_px: see `estimated_tokens`.
    """

    model: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    min_pixels: int = 3136
    max_pixels: int = 1_003_520
    image_token_px: int = 28

    def request(self, ask: Ask) -> Request:
        """Return the ask with its pictures as they are sent; raises DecodeError for a picture that is none, ValueError for a
        number of pictures other than that of their places."""
        if placeholders(ask.messages) != len(ask.images):
            raise ValueError(f"{len(ask.images)} pictures for {placeholders(ask.messages)} places")
        budget = {"min_pixels": self.min_pixels, "max_pixels": self.max_pixels}
        made = [picture_as_sent(encoded, **budget) for encoded in ask.images]
        pictures, sizes = tuple(encoded for encoded, _ in made), [size for _, size in made]
        content = {
            "format": FORMAT,
            "messages": [dict(message) for message in ask.messages],
            "pictures": [hashlib.sha256(picture).hexdigest() for picture in pictures],
            "body": self._settings(ask),
        }
        canonical = json.dumps(content, sort_keys=True, ensure_ascii=True).encode("ascii")
        tokens = estimated_tokens(ask.messages, sizes, image_token_px=self.image_token_px)
        return Request(ask, hashlib.sha256(canonical).hexdigest(), pictures, tokens)

    def body(self, request: Request, *, with_schema: bool = True, another_seed: int = 0) -> dict[str, Any]:
        """Return the JSON body; `another_seed` is added to the ask's seed, for a server whose answer was malformed."""
        settings = self._settings(request.ask)
        if not with_schema:
            settings.pop("response_format", None)
        if another_seed and "seed" in settings:
            settings["seed"] += another_seed
        return settings | {"messages": list(_messages(request))}

    def _settings(self, ask: Ask) -> dict[str, Any]:
        settings: dict[str, Any] = {
            "model": self.model,
            "max_tokens": ask.max_tokens,
            "temperature": ask.temperature,
            "seed": ask.seed,
        }
        if ask.json_schema is not None:
            schema = {"name": "answer", "schema": ask.json_schema, "strict": True}
            settings["response_format"] = {"type": "json_schema", "json_schema": schema}
        return {name: value for name, value in {**settings, **self.parameters}.items() if value is not None}


def picture_as_sent(encoded: bytes, *, min_pixels: int, max_pixels: int) -> tuple[bytes, tuple[int, int]]:
    """Return a picture as a JPEG inside the budget, upright and sRGB, and its size; raises DecodeError.

    A plain JPEG of that size goes as it is: to encode it again would cost quality and change its key.
    """
    header = verify(encoded, ANY_SHAPE)
    size = sent_size(header.width_px, header.height_px, min_pixels=min_pixels, max_pixels=max_pixels)
    plain = header.format == "jpeg" and not header.flags and not any(mark in encoded[: 1 << 16] for mark in _METADATA)
    if plain and size == (header.width_px, header.height_px):
        return encoded, size
    pixels = decode(encoded, policy=ANY_SHAPE).pixels
    return sent_picture(pixels, min_pixels=min_pixels, max_pixels=max_pixels), size


def estimated_tokens(messages: Sequence[Mapping[str, Any]], sizes: Sequence[tuple[int, int]], *, image_token_px: int) -> int:
    """Return about how many tokens messages and pictures (width, height in px) are.

    Text: a token per four ASCII characters and one per other character, plus four per message. A picture: one per square of
    `image_token_px`, as Qwen2.5-VL (28) and Qwen3-VL (32) count, plus two that enclose it. An estimate: servers count their own.
    """
    text = "".join(_texts(messages))
    ascii_characters = sum(character.isascii() for character in text)
    pictures = sum(2 + math.ceil(width / image_token_px) * math.ceil(height / image_token_px) for width, height in sizes)
    return math.ceil(ascii_characters / 4) + len(text) - ascii_characters + 4 * len(messages) + pictures


def why_unsendable(error: Exception) -> tuple[str, str]:
    """Return the error of a reply for an ask that cannot be sent."""
    return ("bad_image", str(error)) if isinstance(error, DecodeError) else ("bad_request", f"{type(error).__name__}: {error}")


def _messages(request: Request) -> Iterator[dict[str, Any]]:
    pictures = iter(request.pictures)
    for message in request.ask.messages:
        content = message["content"]
        if not isinstance(content, str):
            content = [_picture(next(pictures)) if part["type"] == "image" else part for part in content]
        yield {**message, "content": content}


def _picture(encoded: bytes) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": "data:image/jpeg;base64," + base64.b64encode(encoded).decode("ascii")}}


def _texts(messages: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for message in messages:
        content = message["content"]
        yield from [content] if isinstance(content, str) else [part["text"] for part in content if part["type"] == "text"]
