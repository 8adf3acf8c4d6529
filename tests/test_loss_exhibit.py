"""The report's section on losses of single images: from real tables, other people's words escaped, absent without its table."""

import hashlib
import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from curation.loss_exhibit import loss_exhibit
from curation.report import render
from curation.schema import CAPTIONS, HIERARCHY, IMAGES, SAMPLE_LOSS, conform
from curation.tables import Cost, Run

HOSTILE = "<script>alert(1)</script>"
HARD = {3: 2.0, 7: 1.7}


def commit(run: Run, name: str, rows: list[dict[str, object]], schema: pa.Schema) -> None:
    table = conform(pa.Table.from_pylist([{n: row.get(n) for n in schema.names} for row in rows], schema=schema), schema)
    run.commit_part(name, 0, table, fingerprint="f", cost=Cost(0.1, 0.1))
    run.finish(name, {"stage": name})


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Sixteen small pictures in two sources and three communities, two of them hard and one with a caption that harms."""
    root = tmp_path_factory.mktemp("losses") / "run"
    images, captions, losses, hierarchy = [], [], [], []
    (root / "source").mkdir(parents=True)
    for row in range(16):
        buffer = io.BytesIO()
        Image.fromarray(np.full((24, 24, 3), 12 * row, np.uint8)).save(buffer, format="PNG")
        path = root / "source" / f"{row}.png"
        path.write_bytes(buffer.getvalue())
        image = hashlib.sha256(buffer.getvalue()).hexdigest()[:32]
        images.append({"id": image, "uri": str(path), "container": "file", "offset": 0, "length": len(buffer.getvalue()),
                       "key": f"{HOSTILE}{row}", "group": "ab"[row % 2], "format": "png", "width": 24, "height": 24})  # fmt: skip
        text = {"language": "en", "level": "short", "text": f"picture {row} {HOSTILE}", "backend": "facts", "evidence": [],
                "flags": []}  # fmt: skip
        captions.append({"id": image, "captions": [text]})
        hierarchy.append({"id": image, "level_0": 0, "level_1": 0 if row < 6 else 6 if row < 12 else 12, "level_2": row})
        losses += [
            {"id": image, "row": row, "group": "ab"[row % 2], "level": "short", "language": "en", "held_out": row == 5,
             "step": 40, "t": t, "loss": scale * HARD.get(row, 0.8), "loss_empty": scale * (0.5 if row == 9 else 2.5)}
            for t, scale in ((0.2, 3.0), (0.8, 1.0))
        ]  # fmt: skip
    made = Run(root)
    for name, rows, schema in (
        ("images", images, IMAGES), ("captions", captions, CAPTIONS), ("hierarchy", hierarchy, HIERARCHY),
        ("sample_loss", losses, SAMPLE_LOSS),
    ):  # fmt: skip
        commit(made, name, rows, schema)
    return made


def test_the_hardest_and_the_unhelped_come_first(run: Run):
    shown = loss_exhibit(run)
    assert shown is not None
    rows = {listed["name"]: [one["row"] for one in listed["examples"]] for listed in shown["lists"]}
    assert rows["Hardest"][:2] == [3, 7]
    assert rows["Captions that help least"][0] == 9
    assert set(rows["Suspiciously easy"]) & set(HARD) == set()
    assert shown["lists"][0]["examples"][0]["text"].startswith("picture 3 ")
    assert shown["lists"][0]["examples"][0]["picture"].startswith("data:image/png")
    assert [one["group"] for one in shown["groups"]] == ["b", "a"]  # 3 and 7 are odd
    assert [one["caption"] for one in shown["levels"]] == ["short, en"]
    assert (shown["images"], shown["step"]) == (16, 40)


def test_communities_are_listed_when_they_are_large_enough(run: Run):
    shown = loss_exhibit(run)
    assert shown is not None
    assert [(one["community"], one["images"]) for one in shown["communities"]] == [(0, 6), (6, 6)]  # the third has four images
    assert len(shown["communities"][0]["members"]) == 4


def test_the_page_shows_the_section_and_hostile_words_stay_words(run: Run):
    page = render(run)
    section = page[page.index('<section id="losses">') : page.index("</section>", page.index('<section id="losses">'))]
    assert '<a href="#losses">' in page
    assert section.count("<img") >= 16
    assert "<script>" not in section
    assert "&lt;script&gt;" in section
    assert "hardness 2." in section
    assert page == render(run)


def test_a_run_without_the_table_has_no_such_section(tmp_path: Path):
    assert loss_exhibit(Run(tmp_path)) is None
