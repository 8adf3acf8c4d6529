"""Scenes -> versions -> ordered pairs: what is proposed for a picture, how it is rendered and checked, and what becomes of it.

A base with N edits that stand their checks gives N(N + 1) pairs (curation/edits.py). An edit that cannot be made, or whose
picture does not show what was asked, is a Refused with its reason; it costs the pairs it would have been part of, and no other.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from curation.edits import Box, Edit, apply, edit, ordered_pairs
from curation.errors import EditError
from curation.picture_edits import GEOMETRY, propose_picture
from curation.scene import Scene, difference_mask, render
from curation.text_checks import Read, check_base, check_text
from curation.text_edits import Desk, propose
from curation.text_fit import Seen, bounds, see
from curation.text_lines import Pixels, TextLine, coverage

Reading = Callable[[Pixels], Sequence[Read]]
"""Pixels -> lines of OCR, in px of the picture."""


@dataclass(frozen=True)
class Version:
    """An edited picture that stands its checks; number 0 is the base."""

    change: Edit
    pixels: Pixels
    read: Sequence[Read]
    checks: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Refused:
    """An edit that was not made, and why; no operations: it was never proposed."""

    change: Edit
    error: EditError


@dataclass(frozen=True)
class Pair:
    """Two versions of one scene, by number, and the edit between them."""

    source: int
    target: int
    change: Edit
    mask: Pixels | None  # 255 where they differ; None: everywhere, or of other sizes
    region: Box | None
    checks: Mapping[str, Any]


def generator_of(*names: object) -> np.random.Generator:
    """Return a generator that depends on the names alone."""
    digest = hashlib.blake2b("/".join(map(str, names)).encode(), digest_size=16).digest()
    return np.random.Generator(np.random.Philox(key=np.frombuffer(digest, dtype="<u8")))


def seen_scene(name: str, pixels: Pixels, lines: Sequence[Read], *, row: int | None) -> Scene:
    """Return a picture's scene: the lines that can be drawn again are its state, the others are occupied.

    Raises EditError: unreadable without lines, else the reason that stood in the way of the last line when none can be edited.
    """
    if not lines:
        raise EditError("unreadable", "no text is read in the picture")
    boxes = [bounds(line["polygon"]) for line in lines]
    state: dict[str, Any] = {}
    grounds: dict[str, tuple[Box, Pixels]] = {}
    occupied: list[Box] = []
    trouble: EditError | None = None
    for number, line in enumerate(lines):
        others = [box for other, box in enumerate(boxes) if other != number]
        try:
            seen = see(pixels, line["text"], line["polygon"], others=others)
        except EditError as error:
            trouble = error
            occupied.append(boxes[number])
            continue
        subject = f"line:{number:03d}"
        state[subject] = _anchored(seen, pixels.shape[1]).plain()
        grounds[subject] = (seen.box, seen.ground)
    if trouble is not None and not state:
        raise trouble
    return Scene(name, pixels, state, grounds, occupied=tuple(occupied), row=row)


def text_edits(desk: Desk, kinds: Sequence[str], *, count: int, max_operations: int) -> list[Edit | Refused]:
    """Return `count` edits of a scene's text, each of one to `max_operations` operations on different lines."""
    able = [kind for kind in kinds if kind != "background" or desk.scene.canvas is not None]
    order = [able[number] for number in desk.generator.permutation(len(able))]
    made: list[Edit | Refused] = []
    for number in range(count):
        wanted = 1 + desk.choose(max_operations)
        chosen = [order[(number + step) % len(order)] for step in range(wanted)]
        made.append(_edit_of(desk, chosen, lambda kind, taken: propose(kind, desk, taken=taken)))
    return made


def picture_edits(desk: Desk, kinds: Sequence[str], *, count: int, max_operations: int) -> list[Edit | Refused]:
    """Return `count` edits of a picture as a whole; an edit that moves every pixel stands alone."""
    order = [kinds[number] for number in desk.generator.permutation(len(kinds))]
    made: list[Edit | Refused] = []
    for number in range(count):
        first = order[number % len(order)]
        later = [kind for kind in order[count:] if kind not in GEOMETRY]
        wanted = 0 if first in GEOMETRY or not later else desk.choose(max_operations)
        chosen = [first, *(later[desk.choose(len(later))] for _ in range(wanted))]
        made.append(_edit_of(desk, list(dict.fromkeys(chosen)), lambda kind, _: propose_picture(kind, desk)))
    return made


def versions(scene: Scene, edits: Sequence[Edit | Refused], *, read: Reading | None) -> tuple[list[Version], list[Refused]]:
    """Return the base and every edit whose picture stands its checks, and what was refused.

    read: reads the text of the pictures; None: text is not checked. Raises EditError when the base itself is not as it should be.
    """
    seen = read(scene.base) if read is not None else []
    if read is not None and scene.row is None:
        check_base(seen, state=scene.state)
    kept = [Version((), scene.base, seen)]
    refused: list[Refused] = []
    for change in edits:
        if isinstance(change, Refused):
            refused.append(change)
            continue
        try:
            kept.append(_version(scene, change, kept, read))
        except EditError as error:
            refused.append(Refused(change, error))
    return kept, refused


def pairs_of(kept: Sequence[Version]) -> list[Pair]:
    """Return all N(N + 1) ordered pairs of the base and its N versions, each with its edit, mask and checks."""
    made = []
    for source, target, change in ordered_pairs([version.change for version in kept[1:]]):
        local = all(operation.region is not None for operation in change)
        found = difference_mask(kept[source].pixels, kept[target].pixels) if local else None
        mask, region = found if found is not None else (None, None)
        share = {} if mask is None else {"changed_share": round(float(mask.mean()) / 255, 6), "same_outside_mask": True}
        checks = {"source": kept[source].checks, "target": kept[target].checks, **share}
        made.append(Pair(source, target, change, mask, region, checks))
    return made


def plain_edit(change: Edit) -> list[dict[str, Any]]:
    """Return the operations of an edit as JSON values: what makes them reversible."""
    return [{"subject": one.subject, "before": one.before, "after": one.after, "region": one.region} for one in change]


def pair_name(source: str, target: str, change: Edit) -> str:
    """Return the pair's name: 32 hex digits over its pictures and operations."""
    text = json.dumps([source, target, plain_edit(change)], sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _anchored(seen: Seen, width_px: int) -> TextLine:
    """Return the line, held by its middle where it stands in the middle of the picture: a longer text then stays centred."""
    x0, _, x1, _ = coverage(seen.line).box
    if abs(x0 + x1 - width_px) > 0.03 * width_px:
        return seen.line
    centred = replace(seen.line, anchor="m", x=round((x0 + x1) / 2))
    left, _, right, _ = coverage(centred).box
    return replace(centred, x=centred.x + round((x0 + x1 - left - right) / 2))


def _edit_of(desk: Desk, kinds: Sequence[str], one: Callable[[str, Sequence[str]], Any]) -> Edit | Refused:
    """Return operations of the kinds as one edit; those that do not go together with the first are left out."""
    operations: list[Any] = []
    trouble: EditError | None = None
    for kind in kinds:
        try:
            operation = one(kind, [made.subject for made in operations])
            edit([*operations, operation])
        except EditError as error:
            trouble = error
            continue
        operations.append(operation)
    if not operations:
        return Refused((), trouble or EditError("no_room", "no operation was proposed"))
    return edit(operations)


def _version(scene: Scene, change: Edit, kept: Sequence[Version], read: Reading | None) -> Version:
    """Render and check one edit; raises EditError."""
    pixels = render(scene, change)
    if any(np.array_equal(pixels, other.pixels) for other in kept):
        raise EditError("no_change", "the picture equals the base or another version")
    if read is None:
        return Version(change, pixels, [])
    seen = read(pixels)
    after = apply(change, scene.state)
    checks = check_text(seen, state=after, reference=kept[0].read, base=scene.state, fixed=scene.occupied)
    return Version(change, pixels, seen, checks)
