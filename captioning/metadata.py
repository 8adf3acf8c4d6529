"""What the source says of an image beside its caption, as short texts by name: titles, authors, places, keywords.

World knowledge in captions comes from here, so nothing is chosen by a fixed list of keys; but addresses, hashes, file names and
numbers say nothing of a picture, and everything is cleaned and capped, being a stranger's text.
"""

import json
import re
from typing import Any

from captioning.evidence import Row, source_captions
from captioning.outside import cleaned

MAX_ENTRIES, MAX_CHARACTERS = 10, 300
NOT_TOLD = re.compile(
    r"(^|_)(id|uid|uuid|sha\d*|md5|hash|url|uri|path|file|filename|file_name|split|width|height|size|bytes|format|mime|key|index|phash|"
    r"score|similarity|status|license|exif|orientation|software|make|model)$|^caption_[a-z]{2}$",
    re.IGNORECASE,
)
MACHINE = re.compile(
    r"^(https?://|www\.|data:|[a-z]:\\|[./~])|^[0-9a-f-]{16,}$|^[\d.,:eE+\s-]+$|\.(jpe?g|png|webp|gif|tiff?|avif)$", re.I
)


def metadata_texts(image: Row) -> dict[str, str]:
    """Return the texts of IMAGES.metadata that speak of the picture, in the order of their names; captions are not repeated."""
    about = json.loads(image.get("metadata") or "{}")
    spoken = set(source_captions(image).values())
    texts = {name: _text(value) for name, value in about.items()} if isinstance(about, dict) else {}
    told = {name: text for name, text in sorted(texts.items()) if text and text not in spoken and not NOT_TOLD.search(name)}
    chosen = [(cleaned(name, 40), cleaned(text, MAX_CHARACTERS)) for name, text in told.items() if not MACHINE.search(text)]
    return {name: text for name, text in chosen[:MAX_ENTRIES] if name and text}


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return ", ".join(value)
    return ""
