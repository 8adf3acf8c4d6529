"""Edits as reversible records: what a subject was and what it becomes, with inverses and composition.

A picture's state gives each subject a value: a text line its TextLine (None: not there), the picture its brightness, crop and
so on. An Operation says that one subject goes from `before` to `after`; an Edit is operations on different subjects, sorted by
subject. So operations on one subject form a groupoid (they compose when the first ends where the second begins, and each has
an inverse), those on different subjects commute, and everything below is exact. How a state looks is curation/scene.py's
matter: it renders a state in one fixed order, whatever the order in which a person would have made the edits.

From one base and N edits of it follow N + 1 pictures and N(N + 1) ordered pairs; the edit of a pair is the inverse of its
source's edit followed by its target's. The idea is VisualCloze's, https://arxiv.org/abs/2504.07960, as Z-Image uses it
(arXiv 2511.22699, section 2.5).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations, permutations
from typing import Any

from curation.errors import EditError

Box = tuple[int, int, int, int]
"""x0, y0, x1, y1 in px of the base; the right and lower border are outside."""

State = Mapping[str, Any]
"""Value by subject; equal values are equal objects of plain data."""


@dataclass(frozen=True)
class Operation:
    """One subject's change; `region` is what of the base it touches, None: all of it (it is no part of what is compared)."""

    subject: str
    before: Any
    after: Any
    region: Box | None = field(default=None, compare=False)

    def inverse(self) -> "Operation":
        """Return the operation that undoes this one."""
        return Operation(self.subject, self.after, self.before, self.region)


Edit = tuple[Operation, ...]
"""Operations on different subjects, sorted by subject; the empty edit changes nothing."""


def edit(operations: Sequence[Operation]) -> Edit:
    """Return operations as one Edit.

    Raises EditError: no_change when an operation's value stays what it was, overlap when two operations are on one subject
    or their regions intersect (then the result would depend on which came first).
    """
    for operation in operations:
        if operation.before == operation.after:
            raise EditError("no_change", f"{operation.subject} is {operation.before!r} before and after")
    for one, other in combinations(operations, 2):
        if one.subject == other.subject:
            raise EditError("overlap", f"two operations on {one.subject}: compose them, or take one")
        if one.region and other.region and intersect(one.region, other.region):
            raise EditError("overlap", f"{one.subject} at {one.region} and {other.subject} at {other.region} overlap")
    return _sorted(operations)


def invert(change: Edit) -> Edit:
    """Return the edit that undoes `change`: invert(invert(x)) == x, and compose(x, invert(x)) is empty."""
    return tuple(operation.inverse() for operation in change)


def compose(first: Edit, second: Edit) -> Edit:
    """Return the edit that does `first` and then `second`; a subject that ends where it began is left out.

    Associative where it is defined. Raises EditError (mismatch) when `second` expects a subject elsewhere than `first` left it.
    """
    left = {operation.subject: operation for operation in first}
    done: list[Operation] = []
    for operation in second:
        earlier = left.pop(operation.subject, None)
        if earlier is None:
            done.append(operation)
        elif earlier.after != operation.before:
            raise EditError("mismatch", f"{operation.subject} ends as {earlier.after!r} but should be {operation.before!r}")
        elif earlier.before != operation.after:
            region = _union(earlier.region, operation.region)
            done.append(Operation(operation.subject, earlier.before, operation.after, region))
    return _sorted([*left.values(), *done])


def apply(change: Edit, state: State) -> dict[str, Any]:
    """Return the state after an edit; a subject whose value is None is absent.

    Raises EditError (mismatch) when the state does not hold what the edit expects.
    """
    after = dict(state)
    for operation in change:
        if after.get(operation.subject) != operation.before:
            held = after.get(operation.subject)
            raise EditError("mismatch", f"{operation.subject} is {held!r}, but the edit expects {operation.before!r}")
        after[operation.subject] = operation.after
    return {subject: value for subject, value in after.items() if value is not None}


def between(source: Edit, target: Edit) -> Edit:
    """Return the edit from one version to another, both given as edits of one base."""
    return compose(invert(source), target)


def ordered_pairs(versions: Sequence[Edit]) -> Iterator[tuple[int, int, Edit]]:
    """Yield (source, target, edit) for all N(N + 1) ordered pairs of the base, number 0, and its N versions, 1 to N."""
    every: list[Edit] = [(), *versions]
    for source, target in permutations(range(len(every)), 2):
        yield source, target, between(every[source], every[target])


def intersect(one: Box, other: Box) -> bool:
    """Say whether two boxes share a pixel."""
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _union(one: Box | None, other: Box | None) -> Box | None:
    if one is None or other is None:
        return None
    return min(one[0], other[0]), min(one[1], other[1]), max(one[2], other[2]), max(one[3], other[3])


def _sorted(operations: Sequence[Operation]) -> Edit:
    return tuple(sorted(operations, key=lambda operation: operation.subject))
