"""What a group of concepts is called: by a model, by the class its members share, by their words, or by its foremost member.

Most members of a group being of one class in the knowledge base (their categories in the plural, or what their descriptions say
they are), the class is the name: "vehicle" for bicycles, motorcycles and trains. Else words that most of the members' names have
in common, such as "number" for "number one" to "number nine". Else the member that stands for the group best, by the images that
show it and by how near it lies to the middle. The middle alone would name a group of colours "grey-green".
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from graph.tag_tree import Tree
from graph.words import is_spaceless

Namer = Callable[[Sequence[Sequence[str]]], Sequence[str | None]]
"""Groups of names, most central first, to one name for each; None where it has no usable one."""

MAX_NAMED = 12
"""Children of a group that a namer is told."""
MIN_CLASS_SHARE, MIN_WORD_SHARE = 0.5, 2 / 3
"""Share of a group's members that have to be of a class, and to have words in their names, for these to be its name."""
SMALL_WORDS = frozenset(
    (
        "a an the of in on at to by for from with and or is are its as into over under your my our "
        "zero one two three four five six seven eight nine ten"
    ).split()
)
"""Words that a name does not begin or end with when it is taken out of longer names; numerals are no kind of thing."""


@dataclass(frozen=True)
class Member:
    """A concept as a member of a group: its name in both languages, images that show it, and what the knowledge base calls it."""

    name: str
    name_zh: str | None = None
    images: int = 1
    classes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Named:
    """A group with its name, and who gave it: the namer, its members' class or words, or its foremost member."""

    member: Member
    by: str

    @property
    def name(self) -> str:
        """Return the name."""
        return self.member.name


def group_names(tree: Tree, members: Sequence[Member], *, namer: Namer | None = None, named_by: str = "model") -> list[Named]:
    """Return the name of every group, in order.

    members: of the texts of the tree. Groups are named from the bottom up, so a namer hears what it called the children.
    """
    known = list(members)
    found: list[Named] = []
    while len(known) < len(tree.parent):
        ready = _ready(tree, len(known))
        children = [[int(child) for child in tree.children(node)] for node in ready]
        told = [[known[child].name for child in some][:MAX_NAMED] for some in children]
        answers = namer(told) if namer else [None] * len(ready)
        for node, some, answer in zip(ready, children, answers, strict=True):
            near = [float(tree.vectors[child] @ tree.vectors[node]) for child in some]
            one = suggested([known[child] for child in some], near)
            if (usable := usable_name(answer)) is not None:
                one = Named(replace(one.member, name=usable, name_zh=None), named_by)
            found.append(one)
            known.append(one.member)
    return found


def suggested(members: Sequence[Member], near: Sequence[float]) -> Named:
    """Return the name of a group without a model; near: cosine of each member with the group's middle."""
    images = sum(member.images for member in members)
    classes = shared_classes(members)
    if classes:
        return Named(Member(classes[0], None, images, classes), "shared class")
    if words := shared_words([member.name for member in members]):
        return Named(Member(words, words if is_spaceless(words) else None, images), "shared words")
    weight = [max(cosine, 0.0) * np.log1p(member.images) for member, cosine in zip(members, near, strict=True)]
    best = members[int(np.argmax(np.round(weight, 6)))]
    return Named(replace(best, images=images), "foremost member")


def shared_classes(members: Sequence[Member]) -> tuple[str, ...]:
    """Return the classes of at least half of the members, and of two, the commonest first; of equally common ones the longer."""
    found = Counter(name for member in members for name in dict.fromkeys(member.classes))
    least = max(2, MIN_CLASS_SHARE * len(members))
    shared = [name for name, number in found.items() if number >= least]
    return tuple(sorted(shared, key=lambda name: (-found[name], -len(name.split()), name)))


def shared_words(names: Sequence[str]) -> str | None:
    """Return the longest run of words that most of the names have; of characters, two at least, where words are not spaced."""
    found = Counter(run for name in names for run in set(_runs(name.casefold())))
    least = max(2, MIN_WORD_SHARE * len(names))
    shared = [run for run, number in found.items() if number >= least]
    return max(shared, key=lambda run: (len(run.split()), len(run), found[run], run), default=None)


def _runs(name: str) -> Iterator[str]:
    if is_spaceless(name):
        yield from (name[start:end] for start in range(len(name)) for end in range(start + 2, min(len(name), start + 6) + 1))
        return
    words = re.findall(r"[^\W_]+(?:[-'][^\W_]+)*", name)
    for start in range(len(words)):
        for end in range(start + 1, min(len(words), start + 4) + 1):
            run = words[start:end]
            if run[0] not in SMALL_WORDS and run[-1] not in SMALL_WORDS:
                yield " ".join(run)


def _ready(tree: Tree, first: int) -> list[int]:
    """Return the groups from number `first` on whose children all have smaller numbers than it."""
    last = first
    while last < len(tree.parent) and (np.flatnonzero(tree.parent == last) < first).all():
        last += 1
    return list(range(first, last))


def usable_name(answer: str | None) -> str | None:
    """Return a model's answer as a name: one line of at most six words with a letter in it; None for anything else."""
    if answer is None:
        return None
    lines = [line.strip(" \t\"'`*.:-") for line in answer.strip().splitlines()]
    if len(lines) != 1 or not any(letter.isalpha() for letter in lines[0]) or "\ufffd" in lines[0]:
        return None
    return lines[0] if len(lines[0]) <= 60 and len(lines[0].split()) <= 6 else None
