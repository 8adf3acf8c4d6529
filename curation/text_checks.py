"""What a reader sees in an edited picture against what was asked for.

Every line that the state holds must be read where it stands: a changed one as asked, an unchanged one as in the base. Where a
line was taken away nothing may be read, and nowhere anything that was not there. Texts compare after NFKC and without spaces,
which readers drop and insert; every letter, digit and mark must be right.
"""

import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

from curation.edits import Box, State
from curation.errors import EditError
from curation.scene import lines_of
from curation.text_fit import bounds
from curation.text_lines import coverage, line_of

Read = Mapping[str, Any]
"""One line of OCR: text, confidence, polygon."""


def check_text(
    read: Sequence[Read], *, state: State, reference: Sequence[Read], base: State, fixed: Sequence[Box] = ()
) -> dict[str, Any]:
    """Return what was verified of a picture that shows `state`, as JSON values.

    read: lines read in the picture. reference: lines read in the base, whose state is `base`; the base is checked against itself.
    fixed: boxes of text that no edit touches.
    Raises EditError: misread when a changed line is not read as asked, lost_line when an unchanged one is read otherwise than
    in the base, left_over when something is read that should not be there.
    """  # fmt: skip
    asked, before = lines_of(state), lines_of(base)
    boxes = {subject: coverage(line_of(value)).box for subject, value in asked.items()}
    results = []
    for subject, value in asked.items():
        seen = text_at(read, boxes[subject])
        if value == before.get(subject):
            _unchanged(seen, text_at(reference, boxes[subject]), value["text"])
        elif plain(seen) != plain(value["text"]):
            raise EditError("misread", f"asked for {value['text']!r}, read {seen!r}")
        else:
            results.append({"asked": value["text"], "read": seen})
    for box in fixed:
        _unchanged(text_at(read, box), text_at(reference, box), "text that cannot be edited")
    _nothing_else(read, [*boxes.values(), *fixed])
    return {"changed_lines": results, "unchanged_lines": len(asked) - len(results) + len(fixed)}


def check_base(read: Sequence[Read], *, state: State) -> None:
    """Raise EditError (misread) unless every line of a drawn layout is read as it was drawn."""
    for value in lines_of(state).values():
        seen = text_at(read, coverage(line_of(value)).box)
        if plain(seen) != plain(value["text"]):
            raise EditError("misread", f"drew {value['text']!r}, read {seen!r}")


def text_at(read: Sequence[Read], box: Box) -> str:
    """Return what is read inside a box, pieces from left to right; a piece counts where its middle is."""
    inside = [(bounds(line["polygon"]), line["text"]) for line in read if _middle_in(bounds(line["polygon"]), box)]
    return " ".join(text for _, text in sorted(inside))


def plain(text: str) -> str:
    """Return a text as it is compared: NFKC, without spaces."""
    return "".join(unicodedata.normalize("NFKC", text).split())


def _unchanged(seen: str, before: str, what: str) -> None:
    if plain(seen) != plain(before):
        raise EditError("lost_line", f"{what!r} should stay: read {before!r} before and {seen!r} after")


def _nothing_else(read: Sequence[Read], boxes: Sequence[Box]) -> None:
    for line in read:
        if not any(_middle_in(bounds(line["polygon"]), box) for box in boxes):
            raise EditError("left_over", f"read {line['text']!r} at {bounds(line['polygon'])}, where no text should be")


def _middle_in(inner: Box, outer: Box) -> bool:
    x, y = (inner[0] + inner[2]) / 2, (inner[1] + inner[3]) / 2
    slack = 0.3 * (outer[3] - outer[1])
    return outer[0] - slack <= x <= outer[2] + slack and outer[1] - slack <= y <= outer[3] + slack
