"""Sentences of evidence: each method has its own, a refused pair names the limit it missed, anything else is told as it is."""

import json

import pytest

from curation.hashing import ORIENTATIONS
from graph.evidence import TURNS, describe, method_of

LIMITS = {
    "min_identity": 0.997,
    "min_colour_identity": 0.992,
    "max_identity_difference": 12.0,
    "min_inliers": 8,
    "min_agreement": 0.72,
    "min_agreement_flat": 0.9,
    "min_copy_coverage": 0.5,
    "min_contained_coverage": 0.8,
    "min_worst_cell_flat": 0.5,
    "min_drawn": 0.57,
}
FITTED = {"method": "keypoints", "inliers": 24, "matches": 63, "agreement": 0.95, "coverage_a": 1.0, "coverage_b": 0.6}
SMALL = {"method": "identity", "thumbnail_correlation": 0.999, "colour_correlation": 0.995, "mean_difference": 4.0}


def refused(evidence: dict[str, object], **changes: object) -> str:
    return describe(evidence | changes, relation="different", limits=LIMITS)


def test_exact_copies_need_no_number() -> None:
    assert describe({"method": "same_bytes"}) == "The two files hold the same bytes."
    assert "same pixels" in describe({"method": "same_pixels"})


def test_a_verified_copy_says_what_agreed() -> None:
    said = describe(FITTED | {"mirrored": True}, limits=LIMITS)
    assert "24 of 63 matched keypoints fit one map, mirrored" in said
    assert "95 % of what has texture agrees" in said
    assert "100 % of the one picture and 60 % of the other" in said


def test_a_whole_comparison_says_the_orientation() -> None:
    said = describe({"method": "whole", "orientation": 5, "agreement": 0.98}, limits=LIMITS)
    assert "one mirrored and turned by a quarter" in said
    assert "98 % of what has texture agrees" in said


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"thumbnail_correlation": 0.99}, "in grey is 0.990, and 0.997 is needed"),
        ({"colour_correlation": 0.99}, "in colour is 0.990, and 0.992 is needed"),
        ({"mean_difference": 20.0}, "differ by 20 of 255 on average, and 12 is allowed"),
    ],
)
def test_a_small_look_alike_names_the_first_limit_it_missed(changes: dict[str, object], reason: str) -> None:
    assert reason in refused(SMALL, **changes)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"inliers": 0, "matches": 0}, "no keypoints agree on how one picture would lie on the other, and 8 are needed"),
        ({"agreement": 0.28}, "once aligned only 28 % of what has texture agrees (at least 72 % is needed)"),
        ({"agreement": 0.95, "worst_cell": 0.0}, "0 % where they differ most (drawn graphics need 90 % over all"),
        ({"agreement": 0.95, "worst_cell": 0.9}, "that is not enough: 95 % of what has texture agrees"),
        ({"agreement": 0.76, "worst_cell": 0.0, "drawn": 0.2}, "24 keypoints support the map"),
        ({"overlap": True}, "a copy needs 50 % of both, a part 80 % of itself"),
    ],
)
def test_a_look_alike_with_keypoints_names_the_limit_it_missed(changes: dict[str, object], reason: str) -> None:
    assert reason in refused(FITTED, **changes)


def test_containment_says_that_one_is_a_part() -> None:
    assert describe(FITTED, relation="contains").endswith("one is a part of the other.")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"similarity": 0.72}, "Cosine 0.720 is below the 0.750 that a keeper needs"),
        ({"similarity": 0.78, "same_component": False}, "Cosine 0.780 does not join them; 0.800 does"),
        ({"similarity": 0.81, "same_community": False}, "no group of both has a mean cosine of at least 0.700"),
        ({"similarity": 0.81}, "each is nearer to another keeper"),
    ],
)
def test_by_similarity_alone_a_look_alike_names_what_divided_it(changes: dict[str, object], reason: str) -> None:
    limits = {"keeper_similarity": 0.75, "min_similarity": 0.8, "accepted_similarity": 0.7}
    assert reason in describe({"method": "similarity"} | changes, relation="different", limits=limits)


def test_hashes_say_the_bits_the_cosine_and_both_limits() -> None:
    limits = {"max_distance": 64, "max_distance_flat": 20, "min_similarity": 0.3}
    found = {"method": "hash", "hash_distance": 90, "orientation": "mirror", "reliable": True, "flat": False}
    assert describe(found, relation="different", similarity=0.91, limits=limits) == (
        "Perceptual hashes differ in 90 of 256 bits; the cosine is 0.910: up to 64 pass, from a cosine of 0.300 on."
    )
    assert "up to 20 pass between drawn graphics" in describe(found | {"flat": True}, relation="different", limits=limits)
    assert "in 9 of 256 bits, one mirrored" in describe(found | {"hash_distance": 9})
    assert "too plain" in describe(found | {"reliable": False}, relation="different")
    assert all(orientation in TURNS for orientation in ORIENTATIONS)


def test_what_the_second_look_takes_for_certain_says_so() -> None:
    limits = {"max_sure_distance": 24, "min_sure_similarity": 0.7, "min_similarity": 0.3}
    sure = {"method": "hash", "hash_distance": 2, "orientation": "same"}
    assert "up to 24 pass, from a cosine of 0.700 on" in describe(sure, similarity=0.9, limits=limits)
    far = describe({"method": "embedding", "hash_distance": 120}, relation="different", similarity=0.1, limits=limits)
    assert far.startswith("Cosine 0.100 is below 0.300, and perceptual hashes differ in 120 of 256 bits")


def test_a_copy_by_similarity_alone_says_the_cosine_and_that_nothing_else_was_compared() -> None:
    said = describe('{"method": "similarity"}', similarity=0.9, limits={"keeper_similarity": 0.75})
    assert said == "Cosine 0.900 to the keeper, at least the 0.750 that a keeper needs; nothing else was compared."


def test_evidence_measured_on_an_exact_copy_says_so() -> None:
    assert "measured on an exact copy" in describe(FITTED | {"through": "same_bytes"})


def test_unknown_methods_and_texts_are_told_as_they_are() -> None:
    assert describe({"method": "stars", "agreement": 0.12345}) == "Measured by stars: agreement 0.123."
    assert describe('{"method": "same_bytes"}') == describe({"method": "same_bytes"})
    assert describe("not json") == "Evidence: not json."
    assert describe(None) == "No evidence was kept."
    assert describe({}) == "Measured."


def test_every_sentence_is_one_line_and_ends_once() -> None:
    for method in ("same_bytes", "same_pixels", "whole", "identity", "keypoints", "similarity", "unreadable", "other"):
        for relation in ("copy", "contains", "contained", "different"):
            said = describe({"method": method}, relation=relation, limits=LIMITS)
            assert "\n" not in said
            assert said.endswith(".")
            assert not said.endswith("..")


def test_the_method_is_read_from_text_or_object() -> None:
    assert method_of(json.dumps(FITTED)) == method_of(FITTED) == "keypoints"
    assert method_of(None) == method_of("[1]") == ""
