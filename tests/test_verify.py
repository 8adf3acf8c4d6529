"""Copies, containments and look-alikes, altered and told apart by the real engines."""

import io
import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pytest
from image_rows import image_rows
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageFont, ImageOps
from skimage import data
from sklearn.datasets import load_digits

from curation import schema
from curation.metrics import profile
from graph.keypoints import describe
from graph.thumbnails import compare, turn
from graph.verify import verify


def write(picture: Image.Image, path: Path) -> Path:
    picture.save(path)
    return path


def broken(path: Path) -> Path:
    path.write_bytes(b"not a picture")
    return path


def jpeg(picture: Image.Image, quality: int) -> Image.Image:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer).convert("RGB")


def with_bar(picture: Image.Image) -> Image.Image:
    barred = picture.copy()
    draw = ImageDraw.Draw(barred)
    draw.rectangle((0, picture.height * 0.86, picture.width, picture.height), fill=(255, 255, 255))
    draw.text((20, picture.height * 0.88), "SUMMER SALE", fill=(0, 0, 0), font=ImageFont.load_default(size=40))
    return barred


def cropped(picture: Image.Image, left: float, top: float, right: float, bottom: float) -> Image.Image:
    width, height = picture.size
    return picture.crop((round(left * width), round(top * height), round(right * width), round(bottom * height)))


def of_a_print(picture: Image.Image) -> Image.Image:
    """Return the picture as a camera sees a print of it, a little from one side."""
    width, height = picture.size
    inverse = (1.12, 0.02, -0.04 * width, 0.03, 1.1, -0.05 * height, 0.16 / width, 0.06 / height)
    return picture.transform(picture.size, Image.Transform.PERSPECTIVE, inverse, Image.Resampling.BICUBIC, fillcolor=(90, 70, 50))


def in_its_own_blur(picture: Image.Image) -> Image.Image:
    """Return the picture on a wide blurred enlargement of itself, as players of upright films show it."""
    wide = picture.resize((picture.width * 17 // 10, picture.height * 17 // 10)).filter(ImageFilter.GaussianBlur(25))
    wide.paste(picture, ((wide.width - picture.width) // 2, (wide.height - picture.height) // 2))
    return wide


def with_stickers(picture: Image.Image) -> Image.Image:
    """Return the picture with opaque, textured patches over about a quarter of it."""
    covered = picture.copy()
    brick = Image.fromarray(data.brick()).convert("RGB")
    for x, y in ((0.05, 0.08), (0.55, 0.1), (0.3, 0.6)):
        width, height = round(0.36 * picture.width), round(0.24 * picture.height)
        covered.paste(brick.resize((width, height)), (round(x * picture.width), round(y * picture.height)))
    return covered


ALTERATIONS: dict[str, Callable[[Image.Image], Image.Image]] = {
    "recompressed": lambda p: jpeg(p, 30),
    "shrunk": lambda p: p.resize((p.width * 2 // 5, p.height * 2 // 5)),
    "enlarged": lambda p: p.resize((p.width * 3 // 2, p.height * 3 // 2)),
    "cropped": lambda p: cropped(p, 0.05, 0.1, 0.9, 0.95),
    "mirrored": ImageOps.mirror,
    "quarter turn": lambda p: p.transpose(Image.Transpose.ROTATE_90),
    "rotated": lambda p: p.rotate(9, Image.Resampling.BICUBIC),
    "pasted over": with_stickers,
    "bordered": lambda p: ImageOps.expand(p, 50, (255, 255, 255)),
    "barred": with_bar,
    "brighter": lambda p: ImageEnhance.Brightness(p).enhance(1.3),
    "more contrast": lambda p: ImageEnhance.Contrast(p).enhance(1.5),
    "grey": lambda p: p.convert("L").convert("RGB"),
    "blurred": lambda p: p.filter(ImageFilter.GaussianBlur(1.5)),
    "squeezed": lambda p: p.resize((p.width * 17 // 20, p.height)),
    "photographed print": of_a_print,
    "in its own blur": in_its_own_blur,
    "cropped to half": lambda p: cropped(p, 0.15, 0.1, 0.88, 0.8),
    "tiny": lambda p: (
        p.resize((96, 96 * p.height // p.width)) if p.height > p.width else p.resize((96 * p.width // p.height, 96))
    ),
    "mirrored and cropped": lambda p: cropped(ImageOps.mirror(p), 0.1, 0.1, 1, 1),
}


def verdicts(pictures: list[Image.Image], pairs: list[tuple[int, int]], folder: Path) -> list[dict[str, object]]:
    keypoints = describe(images=image_rows([write(p, folder / f"{i}.png") for i, p in enumerate(pictures)]))
    return verify(pairs=edge_rows(pairs), keypoints=keypoints).to_pylist()


def edge_rows(pairs: list[tuple[int, int]]) -> pa.Table:
    columns = {"row_a": [a for a, _ in pairs], "row_b": [b for _, b in pairs], "similarity": [0.8] * len(pairs)}
    return schema.conform(pa.table(columns), schema.EDGES)


@pytest.fixture(scope="module")
def photographs() -> list[Image.Image]:
    return [Image.fromarray(picture) for picture in (data.astronaut(), data.coffee(), data.chelsea())]


@pytest.mark.parametrize("kind", ALTERATIONS)
def test_an_altered_photograph_is_a_copy(kind, photographs, tmp_path):
    altered = [ALTERATIONS[kind](photograph) for photograph in photographs]
    pairs = [(i, 3 + j) for i in range(3) for j in range(3)]
    found = verdicts([*photographs, *altered], pairs, tmp_path)
    relations = [verdict["relation"] for verdict in found]
    assert relations == ["copy" if b - 3 == a else "different" for a, b in pairs]


def test_a_photograph_half_hidden_in_its_own_frame_is_a_copy_and_as_a_tile_of_another_not(photographs, tmp_path):
    hidden = [photograph.copy() for photograph in photographs]
    for picture in hidden:
        draw, unit = ImageDraw.Draw(picture), min(picture.size) / 10
        for x, y in ((0.25, 0.3), (0.7, 0.65), (0.75, 0.25)):
            left, top = x * picture.width, y * picture.height
            draw.ellipse((left - 2 * unit, top - 2 * unit, left + 2 * unit, top + 2 * unit), "#ffcc22", "#806000", 5)
    paths = [write(picture, tmp_path / f"{i}.png") for i, picture in enumerate([*photographs, *hidden])]
    keypoints = describe(images=image_rows(paths))
    pairs = edge_rows([(i, 3 + j) for i in range(3) for j in range(3)])
    found = verify(pairs=pairs, keypoints=keypoints)["relation"].to_pylist()
    without = verify(pairs=pairs, keypoints=keypoints, min_agreement_overlaid=1.0)["relation"].to_pylist()
    assert found == ["copy" if i == j else "different" for i in range(3) for j in range(3)]
    assert without.count("copy") < 3


def test_same_bytes_and_same_pixels_are_copies_for_certain(photographs, tmp_path):
    png = write(photographs[0], tmp_path / "a.png")
    keypoints = describe(images=image_rows([png, png, write(photographs[0], tmp_path / "a.bmp")]))
    found = verify(pairs=edge_rows([(0, 1), (0, 2)]), keypoints=keypoints)
    assert found["confidence"].to_pylist() == [1.0, 1.0]
    assert [json.loads(text)["method"] for text in found["evidence"].to_pylist()] == ["same_bytes", "same_pixels"]


def test_a_heavy_crop_is_contained_and_the_direction_follows_the_order(photographs, tmp_path):
    piece = cropped(photographs[0], 0.3, 0.05, 0.75, 0.5)
    found = verdicts([photographs[0], piece, photographs[0].copy()], [(0, 1), (1, 2)], tmp_path)
    assert [verdict["relation"] for verdict in found] == ["contains", "contained"]
    assert json.loads(found[0]["evidence"])["coverage_b"] > 0.9


def test_a_collage_contains_its_pictures(photographs, tmp_path):
    collage = Image.new("RGB", (900, 600))
    for i, photograph in enumerate(photographs):
        collage.paste(photograph.resize((400, 280)), (i % 2 * 450, i // 2 * 300))
    found = verdicts([collage, *photographs], [(0, 1), (0, 2), (0, 3)], tmp_path)
    assert [verdict["relation"] for verdict in found] == ["contains"] * 3


@pytest.mark.parametrize("name", ["brick", "grass", "gravel", "hubble_deep_field", "page", "retina"])
def test_tiles_of_one_picture_are_different(name, tmp_path):
    picture = Image.fromarray(getattr(data, name)()).convert("RGB")
    tiles = [cropped(picture, x, y, x + 0.33, y + 0.5) for x in (0, 0.33, 0.66) for y in (0, 0.5)]
    tiles = [tile.resize((tile.width * 2, tile.height * 2)) if min(tile.size) < 150 else tile for tile in tiles]
    pairs = [(a, b) for a in range(6) for b in range(a + 1, 6)]
    assert {verdict["relation"] for verdict in verdicts(tiles, pairs, tmp_path)} == {"different"}


def test_the_two_views_of_a_stereo_pair_are_different(tmp_path):
    left, right, _ = data.stereo_motorcycle()
    (verdict,) = verdicts([Image.fromarray(left), Image.fromarray(right)], [(0, 1)], tmp_path)
    assert verdict["relation"] == "different"


def poster(title: str, line: str, date: str) -> Image.Image:
    picture = Image.new("RGB", (600, 800), (235, 225, 190))
    draw = ImageDraw.Draw(picture)
    draw.rectangle((0, 0, 600, 90), fill=(30, 40, 90))
    draw.ellipse((360, 480, 560, 680), fill=(180, 80, 60))
    for y, text, size in ((150, title, 60), (280, line, 34), (700, date, 44)):
        draw.text((30, y), text, fill=(30, 40, 90), font=ImageFont.load_default(size=size))
    return picture


def test_posters_of_one_layout_with_other_text_are_different_and_their_copies_are_not(tmp_path):
    posters = [
        poster("JAZZ NIGHT", "harbour city concert", "12 June 2024"),
        poster("BOOK FAIR", "science talk lecture", "3 May 2019"),
        poster("JAZZ NIGHT", "harbour city concert", "27 July 2021"),
    ]
    copies = [jpeg(posters[0], 40), posters[1].resize((360, 480))]
    found = verdicts([*posters, *copies], [(0, 1), (0, 2), (1, 2), (0, 3), (1, 4), (1, 3), (2, 3)], tmp_path)
    expected = ["different", "different", "different", "copy", "copy", "different", "different"]
    assert [verdict["relation"] for verdict in found] == expected


def window(rows: list[tuple[str, str]]) -> Image.Image:
    picture = Image.new("RGB", (960, 600), (245, 246, 248))
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(size=18)
    draw.rectangle((0, 0, 960, 44), fill=(60, 90, 160))
    for place, label in enumerate(("Home", "Orders", "Stock", "Customers", "Reports", "Settings")):
        draw.text((16, 70 + 40 * place), label, fill=(20, 20, 20), font=font)
    for place, (name, number) in enumerate(rows):
        draw.line((200, 70 + 40 * place, 940, 70 + 40 * place), fill=(150, 150, 150))
        draw.text((210, 80 + 40 * place), name, fill=(20, 20, 20), font=font)
        draw.text((700, 80 + 40 * place), number, fill=(20, 20, 20), font=font)
    return picture


def test_windows_of_one_program_with_other_entries_are_different_and_their_copies_are_not(tmp_path):
    words = "harbour concert science garden market winter river stone night music school light paper green north".split()
    generator = np.random.default_rng(0)
    windows = [
        window([(" ".join(generator.choice(words, 2)), f"{generator.uniform(1, 900):.2f}") for _ in range(12)]) for _ in range(4)
    ]
    pairs = [(a, b) for a in range(4) for b in range(a + 1, 4)] + [(0, 4), (1, 5)]
    found = verdicts([*windows, jpeg(windows[0], 50), windows[1].resize((720, 450))], pairs, tmp_path)
    assert [verdict["relation"] for verdict in found] == ["different"] * 6 + ["copy"] * 2


def star_field(seed: int) -> Image.Image:
    generator = np.random.default_rng(seed)
    sky = generator.normal(8, 2, (480, 480))
    np.add.at(sky, tuple(generator.integers(0, 480, (2, 300))), generator.pareto(1.2, 300) * 900 + 400)
    return Image.fromarray(cv2.GaussianBlur(sky, (0, 0), 1.2).clip(0, 255).astype(np.uint8)).convert("RGB")


def test_star_fields_are_different_and_a_rotated_one_is_a_copy(tmp_path):
    fields = [star_field(seed) for seed in range(4)]
    pairs = [(a, b) for a in range(4) for b in range(a + 1, 4)] + [(0, 4)]
    found = verdicts([*fields, fields[0].rotate(90)], pairs, tmp_path)
    assert [verdict["relation"] for verdict in found] == ["different"] * 6 + ["copy"]


def test_halves_of_one_photograph_that_overlap_by_a_third_are_different(photographs, tmp_path):
    halves = [cropped(photographs[1], left, 0, left + 0.6, 1) for left in (0, 0.4)]
    (verdict,) = verdicts(halves, [(0, 1)], tmp_path)
    assert verdict["relation"] == "different"


def test_sure_pairs_are_not_aligned_and_tell_so(photographs, tmp_path):
    paths = [write(p, tmp_path / f"{i}.png") for i, p in enumerate([*photographs, jpeg(photographs[0], 60)])]
    images = image_rows(paths)
    pairs = edge_rows([(0, 1), (0, 3)]).set_column(2, "similarity", pa.array([0.1, 0.9], pa.float32()))
    found = verify(pairs=pairs, keypoints=describe(images=images), metrics=profile(images=images)).to_pylist()
    assert [verdict["relation"] for verdict in found] == ["different", "copy"]
    assert [json.loads(verdict["evidence"])["method"] for verdict in found] == ["embedding", "hash"]


def test_handwritten_digits_of_one_class_are_different_and_recompressed_ones_copies(tmp_path):
    digits = load_digits()
    threes = digits.images[digits.target == 3][:30]
    pictures = [Image.fromarray((d * 15.9).astype(np.uint8)).resize((32, 32), Image.Resampling.BICUBIC) for d in threes]
    pictures = [picture.convert("RGB") for picture in pictures]
    pairs = [(a, b) for a in range(30) for b in range(a + 1, 30)] + [(i, 30 + i) for i in range(30)]
    found = verdicts([*pictures, *(jpeg(picture, 60) for picture in pictures)], pairs, tmp_path)
    assert {verdict["relation"] for verdict in found[:-30]} == {"different"}
    assert {verdict["relation"] for verdict in found[-30:]} == {"copy"}


def test_shapes_moved_by_a_pixel_or_recoloured_are_different(tmp_path):
    def disc(x: float, colour: tuple[int, int, int]) -> Image.Image:
        large = Image.new("RGB", (256, 256), (20, 20, 30))
        ImageDraw.Draw(large).ellipse((4 * x - 64, 64, 4 * x + 64, 192), fill=colour)
        return large.resize((64, 64), Image.Resampling.LANCZOS)

    pictures = [disc(32, (220, 60, 60)), disc(33, (220, 60, 60)), disc(32, (60, 200, 80)), jpeg(disc(32, (220, 60, 60)), 85)]
    found = verdicts(pictures, [(0, 1), (0, 2), (0, 3)], tmp_path)
    assert [verdict["relation"] for verdict in found] == ["different", "different", "copy"]


def test_an_unreadable_image_is_no_copy_and_an_absent_one_an_error(photographs, tmp_path):
    keypoints = describe(images=image_rows([write(photographs[0], tmp_path / "a.png"), broken(tmp_path / "gone.png")]))
    (verdict,) = verify(pairs=edge_rows([(0, 1)]), keypoints=keypoints).to_pylist()
    assert (verdict["relation"], json.loads(verdict["evidence"])["method"]) == ("different", "unreadable")
    with pytest.raises(KeyError, match="lack row 7"):
        verify(pairs=edge_rows([(0, 7)]), keypoints=keypoints)


def test_no_pairs_have_no_verdicts(photographs, tmp_path):
    keypoints = describe(images=image_rows([write(photographs[0], tmp_path / "a.png")]))
    assert verify(pairs=edge_rows([]), keypoints=keypoints).num_rows == 0


def test_a_slice_of_keypoints_with_its_global_rows_gives_the_same_verdicts(photographs, tmp_path):
    pictures = [*photographs, ALTERATIONS["cropped"](photographs[2])]
    keypoints = describe(images=image_rows([write(p, tmp_path / f"{i}.png") for i, p in enumerate(pictures)]))
    whole = verify(pairs=edge_rows([(2, 3)]), keypoints=keypoints)
    part = verify(pairs=edge_rows([(2, 3)]), keypoints=keypoints.slice(2), rows=np.array([2, 3]))
    assert part.equals(whole)


def test_thumbnails_find_the_orientation_they_were_turned_by():
    picture = np.random.default_rng(0).integers(0, 255, (32, 32, 3)).astype(np.uint8)
    for state in range(8):
        turned = turn(picture, state)
        found = compare(np.stack([picture, turned]), np.array([0]), np.array([1]))
        assert found.state[0] == state
        assert found.grey[0] == pytest.approx(1, abs=1e-5) and found.difference[0] == 0
