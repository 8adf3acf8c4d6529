"""What was measured of a pair, in one sentence: the report, `explain` and the contact sheets all say it in these words.

Enters: the JSON object of VERDICTS.evidence or DUPLICATES.evidence, the relation, and the limits that applied. Leaves: a sentence
for a person. For a pair that only looks alike the sentence names the first limit that it missed, since that is why it was not
merged. Evidence of an unknown method is told name by name, so a new method never makes a report fail.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

Evidence = Mapping[str, Any]
Limits = Mapping[str, Any]
"""Values of the thresholds by their names in the configuration; one that is absent is not mentioned."""

ORIENTATIONS = (
    "",
    "turned by a quarter",
    "turned upside down",
    "turned by three quarters",
    "mirrored",
    "mirrored and turned by a quarter",
    "mirrored and turned upside down",
    "mirrored and turned by three quarters",
)
"""The states of `graph.thumbnails.turn`, in words."""


TURNS: Mapping[str, str] = {
    "same": "",
    "mirror": "mirrored",
    "flip": "mirrored top to bottom",
    "rotate180": "turned upside down",
    "transpose": "mirrored along a diagonal",
    "rotate90": "turned by a quarter",
    "rotate270": "turned by three quarters",
    "transverse": "mirrored along a diagonal",
}
"""The orientations of `curation.hashing`, in words."""


def describe(
    evidence: Evidence | str | None, *, relation: str = "copy", similarity: float | None = None, limits: Limits | None = None
) -> str:
    """Return one sentence that says what was measured of a pair, and what decided.

    evidence: as stored, a JSON text or its object; None and text that is no JSON object are told as they are.
    relation: copy, contains, contained or different. similarity: cosine of the pair, for methods that decide by it.
    limits: thresholds of the run that measured it.
    """
    known = _object(evidence)
    if known is None:
        return f"Evidence: {evidence}." if evidence else "No evidence was kept."
    method = str(known.get("method", ""))
    tell = _SENTENCES.get(method, _any_method)
    through = " (measured on an exact copy of this image)" if known.get("through") else ""
    if similarity is not None and method in _WITH_SIMILARITY:
        known = {"similarity": similarity, **known}
    return f"{tell(known, relation, limits or {})}{through}."


def method_of(evidence: Evidence | str | None) -> str:
    """Return the name of the method that decided; empty when none is named."""
    return str((_object(evidence) or {}).get("method", ""))


def _object(evidence: Evidence | str | None) -> Evidence | None:
    if not isinstance(evidence, str):
        return evidence
    try:
        value = json.loads(evidence)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _same_bytes(known: Evidence, relation: str, limits: Limits) -> str:
    return "The two files hold the same bytes"


def _same_pixels(known: Evidence, relation: str, limits: Limits) -> str:
    return "The files differ, the pictures do not: same size, same pixels"


def _unreadable(known: Evidence, relation: str, limits: Limits) -> str:
    return "One of the two could not be read, so nothing was compared"


def _whole(known: Evidence, relation: str, limits: Limits) -> str:
    fits = f"Laid over each other whole{_turned(known)}, {_agreement(known)}"
    if relation == "different" and (else_drawn := _drawn_otherwise(known, limits)):
        return f"{fits}, but {else_drawn}"
    return fits


def _drawn_otherwise(known: Evidence, limits: Limits) -> str:
    """Return why pictures that fit are not copies: another mark, colour, line or place; empty when that did not decide."""
    most_recoloured, most_away = limits.get("max_recoloured", 1.0), limits.get("max_deviation", float("inf"))
    if known.get("exchanged", 0.0) >= limits.get("min_exchanged", float("inf")):
        return (
            "a numeral, a word or a mark was exchanged for another of its style: there windows differ by "
            f"{known['exchanged']:.3g} grey levels both ways (from {limits['min_exchanged']:.3g} on that counts)"
        )
    if known.get("recoloured", 0.0) > most_recoloured:
        share = _percent(known["recoloured"])
        return f"{share} of their colours are of other hues (at most {_percent(most_recoloured)} may be)"
    if known.get("deviation", 0.0) > most_away:
        return (
            f"these drawings differ in colours or lines, by {known['deviation']:.3g} levels where they differ most "
            f"(at most {most_away:.3g} are allowed)"
        )
    return "a drawing this simple is another one once it is turned, mirrored or moved" if known.get("placed") is False else ""


def _identity(known: Evidence, relation: str, limits: Limits) -> str:
    grey, colour = known.get("thumbnail_correlation"), known.get("colour_correlation")
    difference = known.get("mean_difference")
    opening = "Too small or too plain for keypoints, so only near identity counts"
    if relation == "different" and (else_drawn := _drawn_otherwise(known, limits)):
        return f"{opening}: {else_drawn}"
    if relation == "copy":
        return f"{opening}: correlation {_plain(grey)} in grey and {_plain(colour)} in colour{_turned(known)}"
    for value, limit, name in ((grey, "min_identity", "in grey"), (colour, "min_colour_identity", "in colour")):
        if value is not None and value < limits.get(limit, float("-inf")):
            return f"{opening}: the best correlation {name} is {_plain(value)}, and {_plain(limits[limit])} is needed"
    if difference is not None and difference > limits.get("max_identity_difference", float("inf")):
        allowed = f"{limits['max_identity_difference']:.3g}"
        return f"{opening}: colours differ by {difference:.3g} of 255 on average, and {allowed} is allowed"
    return f"{opening}: correlation {_plain(grey)} in grey and {_plain(colour)} in colour is not enough"


def _keypoints(known: Evidence, relation: str, limits: Limits) -> str:
    inliers, matches = int(known.get("inliers", 0)), int(known.get("matches", 0))
    if relation == "different" and inliers < limits.get("min_inliers", 1):
        needed = f", and {limits['min_inliers']} are needed" if "min_inliers" in limits else ""
        found = f"only {inliers} keypoints" if inliers else "no keypoints"
        return f"Some things look alike, but {found} agree on how one picture would lie on the other{needed}"
    if known.get("scattered"):
        return f"Only {inliers} of {matches} matched keypoints fit one map, as letters of one font or a repeated pattern do"
    kind = f"{' in perspective' if known.get('perspective') else ''}{', mirrored' if known.get('mirrored') else ''}"
    mapped = f"{inliers} of {matches} matched keypoints fit one map{kind}"
    covers = _covered(known)
    if relation in ("contains", "contained"):
        return f"{mapped}; {_agreement(known)}, and {covers}: one is a part of the other"
    if relation == "copy":
        return f"{mapped}; under it {_agreement(known)}, and {covers}"
    return f"{mapped}, but {_missed(known, limits, covers)}"


def _missed(known: Evidence, limits: Limits, covers: str) -> str:
    """Return which limit a pair with a fitted map missed."""
    if else_drawn := _drawn_otherwise(known, limits):
        return f"{else_drawn}, although {_agreement(known)}"
    if known.get("overlap"):
        copy, part = limits.get("min_copy_coverage"), limits.get("min_contained_coverage")
        needs = f"; a copy needs {_percent(copy)} of both, a part {_percent(part)} of itself" if copy and part else ""
        return f"the pictures only overlap, for {covers}{needs}"
    drawn, agreement, worst = (
        known.get("drawn", 1.0) >= limits.get("min_drawn", 0.0),
        known.get("agreement", 0.0),
        known.get("worst_cell"),
    )
    needed = known.get("needed", limits.get("min_agreement"))
    if needed is None or agreement < needed:
        return f"once aligned only {_agreement(known)}" + ("" if needed is None else f" (at least {_percent(needed)} is needed)")
    flat, least = limits.get("min_agreement_flat", 1.0), limits.get("min_worst_cell_flat", 1.0)
    if drawn and (agreement < flat or (worst or 0.0) < least):
        needs = f"drawn graphics need {_percent(flat)} over all, and {_percent(least)} in every place"
        return f"{_agreement(known)}, and {_percent(worst)} where they differ most ({needs})"
    return f"that is not enough: {_agreement(known)}, {known.get('inliers')} keypoints support the map, and {covers}"


def _hash(known: Evidence, relation: str, limits: Limits) -> str:
    if not known.get("reliable", True):
        return "One of the two is too plain for a perceptual hash, and the embedding alone decides nothing"
    differ = f"Perceptual hashes differ in {known.get('hash_distance')} of 256 bits{_turned(known) if relation == 'copy' else ''}"
    value = f"; the cosine is {_plain(known['similarity'])}" if "similarity" in known else ""
    flat = known.get("flat")  # the second look takes only the surest for granted and does not say
    names = {None: "max_sure_distance", False: "max_distance", True: "max_distance_flat"}
    most, least = limits.get(names[flat]), limits.get("min_sure_similarity" if flat is None else "min_similarity")
    if most is None or least is None:
        return differ + value
    kind = " between drawn graphics" if flat else ""
    return f"{differ}{value}: up to {most} pass{kind}, from a cosine of {_plain(least)} on"


def _embedding(known: Evidence, relation: str, limits: Limits) -> str:
    least = limits.get("min_similarity")
    below = f" is below {_plain(least)}" if least is not None else " is low"
    return (
        f"Cosine {_plain(known.get('similarity'))}{below}, and perceptual hashes differ in {known.get('hash_distance')} of "
        "256 bits, so nothing closer was compared"
    )


def _similarity(known: Evidence, relation: str, limits: Limits) -> str:
    value, least = known.get("similarity"), limits.get("keeper_similarity")
    if relation != "different":
        needed = f", at least the {_plain(least)} that a keeper needs" if least is not None else ""
        return f"Cosine {_plain(value)} to the keeper{needed}; nothing else was compared"
    if value is not None and least is not None and value < least:
        return f"Cosine {_plain(value)} is below the {_plain(least)} that a keeper needs"
    if not known.get("same_component", True):
        joins = limits.get("min_similarity")
        return f"Cosine {_plain(value)} does not join them" + (f"; {_plain(joins)} does" if joins is not None else "")
    if not known.get("same_community", True):
        mean = limits.get("accepted_similarity")
        needs = f" of at least {_plain(mean)}" if mean is not None else ""
        return f"Cosine {_plain(value)}, but they belong to different communities: no group of both has a mean cosine{needs}"
    return (
        f"Cosine {_plain(value)}, but each is nearer to another keeper, or both have more in common with their like than "
        "one source explains"
    )


def _any_method(known: Evidence, relation: str, limits: Limits) -> str:
    listed = ", ".join(
        f"{name.replace('_', ' ')} {_value(value)}" for name, value in known.items() if name not in ("method", "through")
    )
    opening = f"Measured by {str(known['method']).replace('_', ' ')}" if known.get("method") else "Measured"
    return f"{opening}: {listed}" if listed else opening


_SENTENCES: Mapping[str, Callable[[Evidence, str, Limits], str]] = {
    "same_bytes": _same_bytes,
    "same_pixels": _same_pixels,
    "unreadable": _unreadable,
    "whole": _whole,
    "identity": _identity,
    "keypoints": _keypoints,
    "hash": _hash,
    "embedding": _embedding,
    "similarity": _similarity,
}

_WITH_SIMILARITY = ("hash", "embedding", "similarity")


def _turned(known: Evidence) -> str:
    state = known.get("orientation", 0)
    if not isinstance(state, int):
        words = TURNS.get(str(state), str(state))
        return f", one {words}" if words else ""
    return f", one {ORIENTATIONS[state]}" if 0 < state < len(ORIENTATIONS) else ""


def _agreement(known: Evidence) -> str:
    return f"{_percent(known.get('agreement'))} of what has texture agrees"


def _covered(known: Evidence) -> str:
    a, b = known.get("coverage_a"), known.get("coverage_b")
    return f"it covers {_percent(a)} of the one picture and {_percent(b)} of the other"


def _percent(value: float | None) -> str:
    return "an unknown share" if value is None else f"{100 * value:.0f} %"


def _plain(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.3f}"


def _value(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
