"""A numeral, word or mark exchanged for another of its style makes another picture; what was laid over a picture does not."""

import itertools

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageEnhance
from skimage import data
from test_verify import jpeg, verdicts

from graph.agreement import overlaid
from graph.alignment import whole
from graph.evidence import describe as told
from graph.exchanged import exchanged
from jobs.demo_text import latin_font

SIZE = (480, 640)


def shaded() -> Image.Image:
    across, down = np.linspace(0, 1, SIZE[0])[None, :, None], np.linspace(0, 1, SIZE[1])[:, None, None]
    return Image.fromarray(
        (40 + 120 * down * np.array([1.0, 0.5, 0.2]) + 60 * across * np.array([0.1, 0.4, 1.0])).astype(np.uint8)
    )


def cover(number: str, ground: Image.Image | None = None) -> Image.Image:
    """A series' cover on a shaded ground, or on a photograph: neither is a flat drawing."""
    picture = (ground or shaded()).resize(SIZE).copy()
    draw = ImageDraw.Draw(picture)
    draw.text((240, 70), "GALAXY TALES", "white", latin_font(48), "mm")
    for x, y, r in np.random.default_rng(4).uniform((60, 160, 10), (420, 480, 50), (14, 3)):
        draw.ellipse((x - r, y - r, x + r, y + r), outline="#d0c060", width=3)
    draw.text((240, 580), number, "white", latin_font(60), "mm")
    return picture


def grey(picture: Image.Image) -> np.ndarray:
    return np.asarray(picture.convert("L").resize((288, 384), Image.Resampling.LANCZOS))


def strength(a: Image.Image, b: Image.Image) -> float:
    one, other = (np.asarray(p.resize((288, 384), Image.Resampling.LANCZOS))[..., ::-1] for p in (a, b))
    over = overlaid(grey(a), grey(b), whole(grey(a), grey(b)))
    return exchanged(over, colours=lambda: overlaid(one, other, whole(one, other)))


def small(picture: Image.Image) -> Image.Image:
    return picture.resize((picture.width * 3 // 5, picture.height * 3 // 5), Image.Resampling.BICUBIC)


def test_covers_of_one_series_differ_in_their_number_and_their_copies_do_not(tmp_path):
    covers = [cover(number) for number in ("1", "2", "4", "7")]
    different = list(itertools.combinations(range(4), 2))
    altered = [jpeg(covers[0], 40), small(covers[1]), covers[2].crop((20, 20, 460, 620))]
    crossed, copies = [(1, 4), (0, 5), (3, 6)], [(0, 4), (1, 5), (2, 6)]
    found = [verdict["relation"] for verdict in verdicts([*covers, *altered], different + crossed + copies, tmp_path)]
    assert found == ["different"] * 9 + ["copy"] * 3


def test_the_evidence_says_that_a_mark_was_exchanged(tmp_path):
    found = verdicts([cover("4", Image.fromarray(data.coffee())), cover("5", Image.fromarray(data.coffee()))], [(0, 1)], tmp_path)
    assert found[0]["relation"] == "different"
    assert "exchanged" in told(str(found[0]["evidence"]), relation="different", limits={"min_exchanged": 2.0})


@pytest.mark.parametrize("photograph", [data.astronaut, data.coffee, data.chelsea])
def test_ink_laid_over_a_photograph_is_no_exchange(photograph):
    clean = Image.fromarray(photograph()).resize(SIZE)
    stamped = clean.copy()
    ImageDraw.Draw(stamped).text((240, 320), "(c) SAMPLE", "white", latin_font(64), "mm", stroke_width=4, stroke_fill="#606060")
    sticker = clean.copy()
    ImageDraw.Draw(sticker).ellipse((150, 200, 330, 380), "#ffcc22", "black", 8)
    assert [strength(clean, stamped), strength(sticker, clean), strength(stamped, sticker)] == [0.0] * 3


@pytest.mark.parametrize(
    "change", [lambda p: jpeg(p, 20), lambda p: ImageEnhance.Contrast(p).enhance(0.6), small, Image.Image.copy]
)
def test_an_exchange_is_seen_through_what_copying_does_and_copies_have_none(change):
    assert strength(cover("5"), change(cover("6"))) > 2
    assert strength(cover("5"), change(cover("5"))) == 0


def test_a_picture_that_is_off_by_some_pixels_has_nothing_exchanged():
    page = cover("5")
    moved = Image.new("RGB", SIZE, (40, 40, 40))
    moved.paste(page, (5, 3))
    assert strength(page, moved) == 0


def test_marks_of_another_colour_are_no_exchange_but_an_overlay():
    white = cover("5")
    red = cover("")
    ImageDraw.Draw(red).text((240, 580), "6", "#ff8080", latin_font(60), "mm")
    assert strength(white, cover("6")) > 2
    assert strength(white, red) == 0


def test_the_strength_is_the_same_from_both_sides():
    assert strength(cover("2"), cover("3")) == pytest.approx(strength(cover("3"), cover("2")), rel=0.15)
