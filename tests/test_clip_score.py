"""CLIPScore by towers of known cosines, and the flag of captions that go badly with their picture."""

from pathlib import Path

import numpy as np
import pytest
from caption_rows import SHAPE
from searchable import picture
from test_captioner import captioner, with_files
from tiny_vlm import build

from captioning.clip_score import ClipScorer
from curation.errors import ConfigError


def test_the_score_is_two_and_a_half_times_the_cosine() -> None:
    right, wrong = ClipScorer("searchable:ColourEncoder").scores(picture("red", 0), ["red", "green"])
    assert right == pytest.approx(2.5, abs=0.2) and wrong < 1.0
    assert ClipScorer("searchable:ColourEncoder").scores(np.zeros((8, 8, 3), np.uint8), []) == []


def test_an_encoder_without_text_is_refused() -> None:
    with pytest.raises(ConfigError, match="has no text tower"):
        ClipScorer("searchable:BlindEncoder")


def test_captions_that_go_badly_with_their_picture_are_flagged(tmp_path: Path) -> None:
    model = build(tmp_path / "tiny")
    rows = [SHAPE | {"caption": text} for text in ("a red circle", "a white circle")]
    given = with_files(tmp_path, rows)  # pictures are dark green and dark red: neither is white
    made = captioner(model, clip="searchable:ColourEncoder", min_clip_score=1.0, retries=0)(**given)["captions"].to_pylist()
    flagged = [{one["level"] for one in row if any(flag.startswith("low_clip_score") for flag in one["flags"])} for row in made]
    assert "short" in flagged[1] and "tags" not in flagged[1] and "long" not in flagged[1]
