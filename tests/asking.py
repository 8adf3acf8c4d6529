"""Asks with a small real picture, for tests of backends."""

import io
from functools import cache
from typing import Any

from PIL import Image

from captioning.answer import Ask


@cache
def picture(size: tuple[int, int] = (64, 48), colour: str = "red", kind: str = "JPEG") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, format=kind)
    return buffer.getvalue()


def ask(text: str, *, image: bytes | None = None, **more: Any) -> Ask:
    content = [{"type": "image"}, {"type": "text", "text": text}]
    messages = [{"role": "system", "content": "You caption."}, {"role": "user", "content": content}]
    return Ask(text, messages, (picture() if image is None else image,), **({"max_tokens": 8} | more))
