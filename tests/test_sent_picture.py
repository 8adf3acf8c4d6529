"""Pictures as they are sent: inside the budget, never thinner than an encoder's patch, never beyond its aspect."""

import io

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from captioning.sent_picture import LONGEST_ASPECT, SHORTEST_SIDE_PX, sent_picture, sent_size


@given(st.integers(1, 9000), st.integers(1, 9000))
def test_every_size_fits_the_budget_and_the_encoder(width: int, height: int) -> None:
    low, high = 3136, 1_003_520
    sent = sent_size(width, height, min_pixels=low, max_pixels=high)
    assert min(sent) >= SHORTEST_SIDE_PX and max(sent) <= LONGEST_ASPECT * min(sent)
    if max(width, height) <= 20 * min(width, height):
        assert low * 0.9 <= sent[0] * sent[1] <= high * 1.1
        assert abs(np.log(sent[0] / sent[1] / (width / height))) < 0.2


def test_a_picture_inside_the_budget_keeps_its_size_and_bytes_repeat() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    sent = sent_picture(pixels, min_pixels=3136, max_pixels=1_003_520)
    assert Image.open(io.BytesIO(sent)).size == (120, 90)
    assert sent == sent_picture(pixels, min_pixels=3136, max_pixels=1_003_520)
