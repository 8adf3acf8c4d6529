"""Watermarks in captions: named as what they are, or left out, and never quoted as if they belonged to the scene.

A model that is trained on pictures with a watermark and on captions without one learns to draw watermarks unasked; one whose
captions quote it like any other text learns that posters say so. So the long caption and the tags name it ("a watermark reads
..."), and the other levels, which say what the picture is about, leave it out. Z-Image's captioner, too, is told to
describe visible text and watermarks (arXiv 2511.22699).

Which lines are watermarks is measured over the whole source (captioning/watermarks.py); here they only come out of the lines.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from captioning.quotations import Quotation, in_evidence, quotations

NAMED = re.compile(r"\bwatermark|水印", re.IGNORECASE)
SENTENCE_ENDS = ".!?。！？；;\n"
TAG_ENDS = ",，、;；\n"
Row = Mapping[str, Any]  # a LINE of OCR


def parted(lines: Sequence[Row], watermarks: Iterable[str]) -> tuple[list[Row], list[Row]]:
    """Return the lines of the scene and those that are watermarks, each in reading order; a mark that repeats stands once."""
    marks = set(watermarks)
    found: dict[str, Row] = {}
    for line in lines:
        if line["text"] in marks:
            found.setdefault(line["text"], line)
    return [line for line in lines if line["text"] not in marks], list(found.values())


def quoted_as_scene(text: str, *, lines: Sequence[str], marks: Sequence[str], level: str) -> list[str]:
    """Return the quotations that are watermarks and no text of the scene, in a sentence (or tag) that does not say so.

    lines, marks: texts of the scene and of the watermarks.
    """
    if not marks:
        return []
    found = quotations(text, [*lines, *marks])
    ends = TAG_ENDS if level == "tags" else SENTENCE_ENDS
    return [
        quotation.words
        for quotation in found
        if not in_evidence(quotation.words, lines, ())
        and in_evidence(quotation.words, marks, ())
        and not NAMED.search(_around(text, quotation, found, ends))
    ]


def _around(text: str, quotation: Quotation, found: Sequence[Quotation], ends: str) -> str:
    """Return the words of the sentence that a quotation stands in; what is quoted ends no sentence and names nothing."""
    own = list(text)
    for other in found:
        own[other.start : other.end] = "\ue000" * (other.end - other.start)
    before = max((position for position in range(quotation.start) if own[position] in ends), default=-1)
    after = min((position for position in range(quotation.end, len(own)) if own[position] in ends), default=len(own))
    return "".join(own[before + 1 : after])
