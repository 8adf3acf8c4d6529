"""The report's section on losses of single images: from real tables, other people's words escaped, absent without its table."""

import hashlib
import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from curation.errors import ConfigError
from curation.loss_exhibit import loss_exhibit, rows_in
from curation.report import render
from curation.schema import CAPTIONS, HIERARCHY, IMAGES, SAMPLE_LOSS, conform
from curation.tables import Cost, Run
from jobs.explain import _losses
from jobs.losses import read_losses
from jobs.story import _loss

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


def test_losses_of_another_training_are_joined_by_id_and_those_of_other_collections_left_out(run: Run, tmp_path: Path):
    own = run.read("sample_loss")
    foreign = own.slice(0, 2).set_column(0, own.schema.field("id"), pa.array(["0" * 32] * 2))
    elsewhere = own.set_column(1, own.schema.field("row"), pa.array([500 + row for row in own["row"].to_pylist()]))
    moved = pa.concat_tables([foreign, elsewhere])
    assert rows_in(run, moved).equals(own)
    pq.write_table(moved, tmp_path / "losses.parquet")
    assert loss_exhibit(run, **read_losses([tmp_path / "losses.parquet"])) == loss_exhibit(run)
    with pytest.raises(ConfigError, match="none of 2 losses is of an image in"):
        rows_in(run, foreign)


def test_the_story_of_an_image_tells_its_losses_beside_those_of_all(run: Run):
    (hard,), (helped,) = (_losses(run, row) for row in (3, 9))
    assert hard["hardness"] > 1.5 > helped["hardness"]
    assert hard["help"] > 0 > helped["help"]
    assert [(round(one["t"], 3), one["loss"]) for one in hard["times"]] == [(0.2, 6.0), (0.8, 2.0)]
    assert (helped["level"], helped["language"], helped["held_out"]) == ("short", "en", False)
    assert _losses(run, 99) == []
    assert _loss(hard) == "[short, en] 2.15 times the average, its caption takes off 54%: 6.000 at t = 0.2, 2.000 at t = 0.8"


def test_a_run_without_the_table_has_no_such_section(tmp_path: Path):
    assert loss_exhibit(Run(tmp_path)) is None
