from xml.etree import ElementTree

import pyarrow as pa
import pytest

from curation.schema import TAXONOMY
from graph.concept_picture import Node, concept_picture, fitted, taxonomy_picture

SVG = "{http://www.w3.org/2000/svg}"


def texts(svg):
    return ["".join(text.itertext()) for text in ElementTree.fromstring(svg).iter(f"{SVG}text")]


NODES = [
    Node("animal", "entity", 90),
    Node("dog", "entity", 60, 0, "\u72d7"),
    Node("cat", "entity", 30, 0),
    *[Node(f"breed {i}", "tag", 20 - i, 1) for i in range(15)],
    Node("lamp", "tag", 5),
]


def test_a_concept_stands_between_its_parent_its_siblings_and_its_largest_children():
    shown = texts(concept_picture(NODES, 1))
    assert {"animal", "dog / \u72d7", "cat", "breed 0", "breed 11", "and 3 more"} <= set(shown)
    assert "breed 12" not in shown and "lamp" not in shown


def test_boxes_lie_inside_the_picture_and_do_not_overlap():
    root = ElementTree.fromstring(concept_picture(NODES, 1, links=[Node("bone", "link", 3)]))
    boxes = [tuple(float(r.get(key)) for key in ("x", "y", "width", "height")) for r in root.iter(f"{SVG}rect") if r.get("rx")]
    width, height = float(root.get("width")), float(root.get("height"))
    assert all(0 <= x and x + w <= width and 0 <= y and y + h <= height for x, y, w, h in boxes)
    assert not any(
        one < other and one[0] < other[0] + other[2] and other[0] < one[0] + one[2] and one[1] < other[1] + other[3]
        and other[1] < one[1] + one[3] for one in boxes for other in boxes
    )  # fmt: skip


@pytest.mark.parametrize("name", ["<script>&\"'", "a\x00b\n", "\u732b" * 60, "", "\U0001f600" * 3, "\u202egnp"])
def test_any_name_gives_valid_xml(name):
    svg = concept_picture([Node(name, "tag", 0.0, 1), Node(name, "other", 1e-9)], 0)
    assert len(ElementTree.fromstring(svg).findall(f".//{SVG}rect[@rx]")) == 2


def test_a_lonely_concept_is_one_box_and_a_cycle_is_refused():
    assert len(texts(concept_picture([Node("alone", "tag", 1)], 0))) == 2  # its name and its number
    with pytest.raises(ValueError, match="own ancestor"):
        concept_picture([Node("a", "tag", 1, 1), Node("b", "tag", 1, 0)], 0)


def test_rows_of_the_table_are_drawn():
    row = {"name_zh": None, "kind": "tag", "forms": [], "entity": None, "named_by": "source", "pagerank": None, "prior": 1.0}
    rows = [
        row | {"concept": i, "name": name, "parent": parent, "level": i, "own": 1, "images": 2 - i}
        for i, (name, parent) in enumerate((("thing", None), ("lamp", 0)))
    ]
    table = pa.Table.from_pylist(rows, schema=TAXONOMY)
    assert {"thing", "lamp"} <= set(texts(taxonomy_picture(table, 1)))
    assert taxonomy_picture(table, 1) == taxonomy_picture(table, 1)


def test_names_are_cut_by_their_width():
    assert fitted("abc", 3) == "abc" and fitted("abcd", 3) == "ab\u2026" and fitted("\u732b\u732b\u732b", 4) == "\u732b\u2026"
