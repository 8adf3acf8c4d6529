"""Text edits on drawn layouts and on pictures: what is asked is what is drawn, and nothing else changes."""

import numpy as np
import pytest
from PIL import Image
from skimage import data

from curation.edits import Operation, edit, invert
from curation.errors import EditError
from curation.layouts import layout
from curation.pairs import generator_of, seen_scene
from curation.phrases import phrases, quotable
from curation.scene import Scene, difference_mask, lines_of, render
from curation.text_edits import KINDS, Desk, propose
from curation.text_fit import plane, see
from curation.text_lines import TextLine, contrast, coverage, draw, line_of
from curation.typefaces import TYPEFACES, faces_for, require_glyphs

PHRASES = phrases()


def scene(number: int) -> Scene:
    return layout(f"layout-{number}", phrases=PHRASES, generator=generator_of("test", number), photo=data.coffee())


def drawn(line: TextLine, size: tuple[int, int] = (420, 120), paper: str = "#f4ead0") -> np.ndarray:
    pixels = np.array(Image.new("RGB", size, paper))
    draw(pixels, line)
    return pixels


@pytest.mark.parametrize("kind", list(KINDS))
def test_every_kind_changes_only_inside_its_region(kind: str) -> None:
    tried = 0
    for number in range(8):
        one = scene(number)
        try:
            operation = propose(kind, Desk(one, PHRASES, generator_of("edit", number)))
        except EditError:
            continue
        tried += 1
        after = render(one, edit([operation]))
        found = difference_mask(one.base, after)
        assert found is not None
        x0, y0, x1, y1 = found[1]
        if operation.region is not None:
            rx0, ry0, rx1, ry1 = operation.region
            assert rx0 <= x0 and ry0 <= y0 and x1 <= rx1 and y1 <= ry1
        assert np.array_equal(one.base[found[0] == 0], after[found[0] == 0])
    assert tried >= (1 if kind == "background" else 5)  # few layouts have a ground that shows every ink in another colour


def test_removing_a_line_of_a_layout_leaves_the_canvas_to_the_bit() -> None:
    one = next(scene(number) for number in range(20) if scene(number).canvas is not None)
    assert one.canvas is not None and one.background is not None
    gone = edit([Operation(subject, value, None) for subject, value in lines_of(one.state).items()])
    assert np.array_equal(render(one, gone), one.canvas(one.background))


def test_an_edit_and_its_inverse_give_the_base_again() -> None:
    one = scene(3)
    operation = propose("recolour", Desk(one, PHRASES, generator_of("inverse")))
    changed = render(one, edit([operation]))
    state = {**one.state, operation.subject: operation.after}
    back = Scene("back", changed, state, grounds=one.grounds)
    assert np.array_equal(render(back, invert(edit([operation]))), one.base)


def test_a_missing_glyph_is_refused_before_anything_is_drawn() -> None:
    with pytest.raises(EditError, match="missing_glyph") as caught:
        coverage(TextLine("茶 \U0001f375", 5, 50, 30, "#000000", "chinese"))
    assert "U+1F375" in str(caught.value)
    with pytest.raises(EditError, match="missing_glyph"):
        require_glyphs("茶", "serif")
    with pytest.raises(EditError, match="missing_glyph"):
        require_glyphs("tab\there", "sans")


def test_text_that_is_too_wide_is_refused_with_both_widths() -> None:
    with pytest.raises(EditError, match=r"too_wide: .* px wide .* the picture has 200 px"):
        drawn(TextLine("A line far too long for this picture", 5, 60, 40, "#000000", "sans"), size=(200, 100))
    with pytest.raises(EditError, match="no_room"):
        drawn(TextLine("Hanging over", 300, 60, 40, "#000000", "sans"))


def test_every_face_draws_its_script_and_every_phrase_has_its_glyphs() -> None:
    for chinese, texts in PHRASES.items():
        for text in texts:
            faces = faces_for(text)
            assert all((TYPEFACES[face].script == "chinese") == chinese for face in faces)
            for face in faces:
                require_glyphs(text, face)


@pytest.mark.parametrize(
    ("text", "face"), [("Harbour Street", "sans-bold"), ("城市花园", "chinese-bold"), ("Lunch Menu", "serif")]
)
def test_a_line_in_a_picture_is_found_as_the_line_that_was_drawn(text: str, face: str) -> None:
    line = TextLine(text, 40, 80, 44, "#20304a", face)
    x0, y0, x1, y1 = coverage(line).box
    seen = see(drawn(line), text, [x0, y0, x1, y0, x1, y1, x0, y1])
    assert seen.line.face == face
    assert abs(seen.line.size_px - 44) <= 0.5 and abs(seen.line.x - 40) <= 1 and abs(seen.line.y - 80) <= 1
    assert seen.likeness > 0.95
    assert contrast(seen.line.colour, line.colour) < 1.1  # the ink's colour, but for antialiasing
    assert (seen.ground == np.array([0xF4, 0xEA, 0xD0])).all()  # nothing is left over


def test_a_gradient_is_continued_below_the_text_and_structure_is_refused() -> None:
    ramp = np.broadcast_to(np.linspace(60, 180, 300, dtype=np.float32)[None, :, None], (100, 300, 3))
    pixels = np.rint(ramp).astype(np.uint8)
    hidden = pixels.copy()
    hidden[30:70, 100:200] = 255
    assert np.abs(plane(hidden, (80, 20, 220, 80)).astype(int) - pixels[20:80, 80:220]).max() <= 1
    with pytest.raises(EditError, match="not_flat"):
        plane(data.coffee(), (100, 100, 260, 180))


def test_text_on_a_photograph_and_other_words_than_the_picture_shows_are_not_edited() -> None:
    line = TextLine("Night Train", 40, 80, 44, "#20304a", "sans-bold")
    x0, y0, x1, y1 = coverage(line).box
    polygon = [x0, y0, x1, y0, x1, y1, x0, y1]
    with pytest.raises(EditError, match="no_style"):
        see(drawn(line), "Other Words", polygon)
    photo = np.ascontiguousarray(data.coffee()[:120, 100:520])
    draw(photo, line)
    with pytest.raises(EditError, match="not_flat"):
        see(photo, "Night Train", polygon)


def test_a_scene_of_lines_that_cannot_be_edited_says_why() -> None:
    with pytest.raises(EditError, match="unreadable"):
        seen_scene("empty", data.coffee(), [], row=0)
    tilted = [{"text": "Night Train", "confidence": 1.0, "polygon": [10, 10, 200, 60, 190, 100, 0, 50]}]
    with pytest.raises(EditError, match="not level"):
        seen_scene("tilted", data.coffee(), tilted, row=0)


def test_layouts_depend_on_their_number_alone_and_keep_their_lines_apart() -> None:
    assert np.array_equal(scene(5).base, scene(5).base)
    assert not any(
        scene(5).base.shape == other.base.shape and np.array_equal(scene(5).base, other.base) for other in (scene(6), scene(7))
    )
    for number in range(12):
        boxes = [coverage(line_of(value)).box for value in lines_of(scene(number).state).values()]
        assert all(a[3] <= b[1] or b[3] <= a[1] for i, a in enumerate(boxes) for b in boxes[i + 1 :])


def test_texts_with_quotation_marks_or_misread_letters_are_not_drawn() -> None:
    assert all(quotable(text) for text in ("Live Music", "2 October, 17:30", "9月1日 20:30", "城市花园"))
    assert not any(
        quotable(text) for text in ('say "hi"', "2 0ctober", "1 April, 1l:30", "CentraI", "12:30", "x", "a" * 29, "a\nb")
    )
