"""Drawings of one outline are different pictures when colour, place or one part differ, and their copies are copies."""

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
from image_rows import image_rows
from PIL import Image, ImageDraw, ImageEnhance, ImageOps
from skimage import data
from test_verify import edge_rows, jpeg, poster, verdicts, write

from curation.metrics import profile
from graph.evidence import describe as told
from graph.graphics import filled
from graph.keypoints import describe
from graph.verify import verify
from jobs.demo_text import latin_font

RED, GREEN, BLUE, YELLOW = (225, 45, 45), (55, 185, 70), (60, 90, 230), (240, 205, 40)
Colour = tuple[int, int, int]


def smooth(large: Image.Image, factor: int = 4) -> Image.Image:
    return large.resize((large.width // factor, large.height // factor), Image.Resampling.LANCZOS)


def triangle(colour: Colour, degrees: float) -> Image.Image:
    large = Image.new("RGB", (1024, 1024), (20, 20, 30))
    corners = [math.radians(degrees + 120 * n) for n in range(3)]
    ImageDraw.Draw(large).polygon([(512 + 380 * math.sin(a), 512 - 380 * math.cos(a)) for a in corners], fill=colour)
    return smooth(large)


def arrow() -> Image.Image:
    large = Image.new("RGB", (1024, 1024), "white")
    ImageDraw.Draw(large).polygon(
        [(120, 420), (560, 420), (560, 220), (920, 512), (560, 804), (560, 604), (120, 604)], fill=(30, 90, 200)
    )
    return smooth(large)


def flag(*stripes: Colour) -> Image.Image:
    picture = Image.new("RGB", (384, 256))
    for place, colour in enumerate(stripes):
        ImageDraw.Draw(picture).rectangle((place * 128, 0, place * 128 + 127, 256), fill=colour)
    return picture


def face(skin: Colour, *, tear: bool = False) -> Image.Image:
    large = Image.new("RGB", (1024, 1024), "white")
    draw = ImageDraw.Draw(large)
    draw.ellipse((80, 80, 944, 944), fill=skin, outline=(120, 90, 0), width=16)
    for x in (340, 680):
        draw.ellipse((x - 60, 300, x + 60, 460), fill="black")
    draw.arc((260, 380, 764, 800), 20, 160, fill="black", width=36)
    if tear:
        draw.ellipse((250, 500, 330, 640), fill=(60, 140, 255))
    return smooth(large)


def bars(colour: Colour, taller: int = 0) -> Image.Image:
    heights = np.random.default_rng(5).integers(20, 250, 12)
    heights[4] += taller
    picture = Image.new("RGB", (640, 420), "white")
    draw = ImageDraw.Draw(picture)
    for n in range(6):
        draw.line((60, 40 + 64 * n, 620, 40 + 64 * n), "#d0d0d0")
        draw.text((30, 34 + 64 * n), str(100 - 20 * n), "#404040")
    for n, height in enumerate(heights):
        draw.rectangle((75 + 45 * n, 360 - int(height), 105 + 45 * n, 360), colour)
    return picture


def board(missing: int | None = None) -> Image.Image:
    picture = Image.new("RGB", (480, 480))
    draw = ImageDraw.Draw(picture)
    for y, x in itertools.product(range(8), range(8)):
        square = (240, 217, 181) if (x + y) % 2 == 0 else (181, 136, 99)
        draw.rectangle((60 * x, 60 * y, 60 * x + 59, 60 * y + 59), fill=square)
    for n, place in enumerate(np.random.default_rng(0).permutation(64)[:14]):
        if n != missing:
            x, y = 60 * (place % 8) + 30, 60 * (place // 8) + 30
            draw.rectangle((x - 16, y - 18, x + 16, y + 18), fill=("#f8f8f8", "#202020")[n % 2], outline="black")
    return picture


def ball(colour: Colour) -> Image.Image:
    y, x = np.mgrid[0:300, 0:300]
    light = np.clip(1 - np.hypot(x - 110, y - 110) / 200, 0, 1)[..., None]
    shaded = np.array(colour) * (0.35 + 0.65 * light)
    return Image.fromarray(np.where(np.hypot(x - 150, y - 150)[..., None] < 110, shaded, 245).astype(np.uint8))


FAMILIES = {
    "triangles, turned and recoloured": [
        triangle(c, turn) for c, turn in ((RED, 0), (BLUE, 40), (RED, 40), (GREEN, 0), (BLUE, 0))
    ],
    "arrows": [arrow(), ImageOps.mirror(arrow()), arrow().rotate(90), arrow().rotate(270)],
    "flags": [flag(*stripes) for stripes in itertools.permutations([(206, 17, 38), (255, 255, 255), (0, 70, 150)])],
    "faces": [face(YELLOW), face((140, 90, 50)), face(YELLOW, tear=True), face(BLUE)],
    "charts": [bars((58, 118, 175)), bars((196, 78, 82)), bars((58, 118, 175), taller=60)],
    "chessboards": [board(), board(missing=3), board(missing=8)],
    "shaded balls": [ball(RED), ball(BLUE), ball(GREEN)],
}


@pytest.mark.parametrize("family", FAMILIES)
def test_drawings_that_differ_in_colour_place_or_one_part_are_different_and_recompressed_ones_copies(family, tmp_path):
    drawn = FAMILIES[family]
    pairs = list(itertools.combinations(range(len(drawn)), 2))
    altered = [jpeg(drawn[0], 50), drawn[1].resize((drawn[1].width * 3 // 4, drawn[1].height * 3 // 4), Image.Resampling.BICUBIC)]
    copies = [(0, len(drawn)), (1, len(drawn) + 1)]
    crossed = [(1, len(drawn)), (0, len(drawn) + 1)]
    found = [verdict["relation"] for verdict in verdicts([*drawn, *altered], pairs + crossed + copies, tmp_path)]
    assert found == ["different"] * (len(pairs) + 2) + ["copy"] * 2


def test_hashes_do_not_decide_on_drawings(tmp_path):
    paths = [write(picture, tmp_path / f"{i}.png") for i, picture in enumerate([*FAMILIES["charts"], *FAMILIES["shaded balls"]])]
    images = image_rows(paths)
    pairs = edge_rows([(0, 1), (0, 2), (3, 4), (3, 5)])
    found = verify(pairs=pairs, keypoints=describe(images=images), metrics=profile(images=images)).to_pylist()
    assert {verdict["relation"] for verdict in found} == {"different"}


def test_a_photograph_stays_a_copy_in_another_colour_balance_and_under_a_filter_that_turns_all_hues(tmp_path):
    photograph = Image.fromarray(data.coffee())
    warm = photograph.point([min(255, round(v * gain)) for gain in (1.3, 1.0, 0.7) for v in range(256)])
    pale = ImageEnhance.Color(photograph).enhance(0.4)
    red, green, blue = photograph.split()
    swapped = Image.merge("RGB", (blue, green, red))
    found = verdicts([photograph, warm, pale, swapped], [(0, 1), (0, 2), (0, 3)], tmp_path)
    assert [verdict["relation"] for verdict in found] == ["copy"] * 3


def test_a_thing_painted_in_another_colour_on_its_old_ground_is_another_picture(tmp_path):
    painted = []
    for chroma in ((70, 110), (190, 110)):
        pixels = np.array(Image.fromarray(data.chelsea()).resize((384, 256)).convert("YCbCr"))
        pixels[40:216, 60:324, 1:] = chroma[::-1]
        painted.append(Image.fromarray(pixels, "YCbCr").convert("RGB"))
    found = verdicts(painted, [(0, 1)], tmp_path)
    assert found[0]["relation"] == "different" and "other hues" in told(
        found[0]["evidence"], relation="different", limits={"max_recoloured": 0.25}
    )


def dial(hour: float, minute: float) -> Image.Image:
    large = Image.new("RGB", (1200, 1200), "white")
    draw = ImageDraw.Draw(large)
    draw.ellipse((40, 40, 1160, 1160), fill="#204060")
    draw.ellipse((90, 90, 1110, 1110), fill="#f4f4ec")
    for n in range(60):
        a, length = math.pi * n / 30, 440 if n % 5 else 400
        draw.line([600 + f(a) * r for r in (length, 490) for f in (math.sin, math.cos)], fill="#204060", width=12)
    for turn, length in ((hour / 12, 240), (minute / 60, 380)):
        a = 2 * math.pi * turn
        draw.line((600, 600, 600 + length * math.sin(a), 600 - length * math.cos(a)), fill="#c03020", width=32)
    return smooth(large)


def test_a_dial_that_fits_mirrored_and_as_it_is_shows_another_time(tmp_path):
    three, nine = dial(3, 0), dial(9, 0)
    found = verdicts([three, nine, three.crop((10, 10, 290, 290)), jpeg(three, 50)], [(0, 1), (1, 2), (1, 3), (0, 3)], tmp_path)
    assert [verdict["relation"] for verdict in found] == ["different"] * 3 + ["copy"]


def test_a_rich_drawing_may_be_cropped_mirrored_and_turned(tmp_path):
    sheet = poster("JAZZ NIGHT", "harbour city concert", "12 June 2024")
    altered = [sheet.crop((20, 30, 590, 780)), ImageOps.mirror(sheet), sheet.rotate(90, expand=True), ImageOps.expand(sheet, 40)]
    found = verdicts([sheet, *altered], [(0, n) for n in range(1, 5)], tmp_path)
    assert [verdict["relation"] for verdict in found] == ["copy"] * 4


def test_flat_colours_fill_drawings_and_not_photographs():
    photographs = [data.astronaut(), data.coffee(), data.chelsea()]
    drawn = [triangle(RED, 10), face(YELLOW), bars(BLUE), board(), poster("BOOK FAIR", "science talk", "3 May 2019")]
    assert max(filled(np.ascontiguousarray(pixels[..., ::-1])) for pixels in photographs) < 0.6
    assert min(filled(np.asarray(picture)[..., ::-1]) for picture in drawn) > 0.8


def test_the_evidence_says_why_drawings_are_not_copies(tmp_path):
    turned = [triangle(RED, 0), triangle(RED, 180)]
    pictures = [*FAMILIES["charts"][:2], *turned, *FAMILIES["shaded balls"][:2]]
    limits = {"max_recoloured": 0.25, "max_deviation": 18.0, "min_agreement": 0.75}
    found = verdicts(pictures, [(0, 1), (2, 3), (4, 5)], tmp_path)
    sentences = [told(str(verdict["evidence"]), relation="different", limits=limits) for verdict in found]
    for sentence, part in zip(sentences, ("colours or lines", "turned, mirrored or moved", "of other hues"), strict=True):
        assert part in sentence


def test_one_drawing_never_differs_from_itself_saved_in_another_format(tmp_path: Path):
    drawn = [pictures[0] for pictures in FAMILIES.values()]
    gifs = [picture.quantize(32).convert("RGB") for picture in drawn]
    found = verdicts([*drawn, *gifs], [(n, n + len(drawn)) for n in range(len(drawn))], tmp_path)
    assert {verdict["relation"] for verdict in found} == {"copy"}


def badge(light: Colour, dark: Colour) -> Image.Image:
    down = np.linspace(0, 1, 400)[:, None, None]
    shades = np.broadcast_to(np.array(light) * (1 - down) + np.array(dark) * down, (400, 400, 3)).astype(np.uint8)
    mask = Image.new("L", (400, 400))
    ImageDraw.Draw(mask).rounded_rectangle((30, 30, 370, 370), 70, fill=255)
    picture = Image.composite(Image.fromarray(shades), Image.new("RGB", (400, 400), "white"), mask)
    ImageDraw.Draw(picture).text((200, 200), "R", "white", latin_font(200), "mm")
    return picture


def test_a_shaded_badge_in_another_hue_is_another_one_in_a_crop_too(tmp_path):
    red, blue = badge((240, 60, 60), (120, 0, 40)), badge((60, 120, 240), (0, 20, 120))
    found = verdicts([red, blue, blue.crop((20, 20, 380, 380))], [(0, 1), (0, 2), (1, 2)], tmp_path)
    assert [verdict["relation"] for verdict in found] == ["different", "different", "copy"]


def test_weak_colours_on_a_grey_ground_turn_only_when_painted(tmp_path):
    shades = np.array(Image.fromarray(data.chelsea()).convert("L").resize((384, 256)), np.float32)[..., None]
    thing = np.zeros((256, 384, 1))
    thing[40:216, 60:324] = 1
    pale = [np.clip(0.6 * shades + 60 + thing * np.array(tint), 0, 255).astype(np.uint8) for tint in ((14, 2, -22), (-18, 4, 20))]
    warmer = np.clip(pale[0] * np.array([1.06, 1.0, 0.95]), 0, 255).astype(np.uint8)
    pictures = [Image.fromarray(pixels) for pixels in (*pale, warmer)]
    found = verdicts(pictures, [(0, 1), (0, 2)], tmp_path)
    assert [verdict["relation"] for verdict in found] == ["different", "copy"]
