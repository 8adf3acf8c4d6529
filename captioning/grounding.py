"""Evidence of a model's caption: which of its words can be traced to something that was measured or told.

A caption from facts carries its evidence by construction; a model's is searched for it: its quotations in the lines that were
read, names of linked entities and labels, families of measured colours. What is not found here is the model's own sight.
"""

import re
from collections.abc import Iterator

from captioning.quotations import in_evidence, quotations
from captioning.validate import Evidence


def grounds(text: str, *, evidence: Evidence) -> list[dict[str, str]]:
    """Return EVIDENCE rows, in the order of the caption: the clause as the caption has it, the kind of fact, and its value."""
    facts = evidence.facts
    found: list[tuple[int, dict[str, str]]] = []
    for quotation in quotations(text, evidence.written):
        source = "caption"
        if in_evidence(quotation.words, evidence.written, ()):
            source = "ocr" if in_evidence(quotation.words, evidence.lines, ()) else "watermark"
        clause = text[max(0, quotation.start - 1) : quotation.end + 1]
        found.append((quotation.start - 1, _row(clause, source, quotation.words)))
    spoken: list[tuple[str, str, str]] = []
    for entity in facts.entities:
        spoken += [(name, "entity", entity.value) for name in dict.fromkeys((entity.title, entity.title_zh, entity.text)) if name]
    for subject in facts.subjects:
        spoken += [(name, "tag", f"{subject.score:.2f}") for name in dict.fromkeys((subject.en, subject.zh))]
    for colour in facts.colours:
        spoken += [(name, "colour", f"{colour.hex} {colour.share:.3f}") for name in (colour.en, colour.zh)]
    for name, source, value in spoken:
        found += [(start, _row(text[start:end], source, value)) for start, end in _places(text, name)]
    taken: list[tuple[int, int]] = []
    rows = []
    for start, row in sorted(found, key=lambda pair: (pair[0], -len(pair[1]["clause"]))):
        end = start + len(row["clause"])
        if all(end <= first or start >= last for first, last in taken):
            taken.append((start, end))
            rows.append(row)
    return rows


def _row(clause: str, source: str, value: str) -> dict[str, str]:
    return {"clause": clause, "source": source, "value": value}


def _places(text: str, name: str) -> Iterator[tuple[int, int]]:
    """Yield where a name first stands in a caption: as whole words when it is spelt with letters."""
    edge = r"(?<!\w){}(?!\w)" if name.isascii() else "{}"
    if match := re.search(edge.format(re.escape(name)), text, re.IGNORECASE):
        yield match.span()
