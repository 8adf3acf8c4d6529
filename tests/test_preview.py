"""A look at captions: the same sample every time, of every kind, and no table is touched."""

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from caption_rows import line, tables
from PIL import Image

from curation.errors import ConfigError
from curation.schema import MENTIONS
from curation.tables import Cost, Run
from jobs.config import parse_config
from jobs.preview import estimate, kept_rows, preview, sample
from jobs.preview_view import plain, preview_page, summary

GROUPS = {"many": 40, "few": 3, "texts": 5}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("run")
    rows = []
    for group, number in GROUPS.items():
        for index in range(number):
            path = folder / f"{group}-{index}.png"
            Image.new("RGB", (64, 48), (index * 5, 90, 30)).save(path)
            text = [line("<b>Sale</b> & more")] if group == "texts" else []
            rows.append(
                {"group": group, "key": path.name, "uri": str(path), "offset": 0, "length": path.stat().st_size, "lines": text}
            )
    rows.append({"group": "bad", "error": "corrupt", "width": None, "height": None})
    made = Run(folder / "run")
    for name, table in tables(rows).items():
        made.commit_part(name, 0, table, fingerprint="x", cost=Cost(0, 0))
        made.finish(name, {"parameters": {}})
    return made


def config(run: Run, **caption: object) -> object:
    return parse_config({"source": "-", "out": str(run.root), "caption": caption}, origin="test")


def test_the_sample_holds_some_of_every_kind(run: Run) -> None:
    rows = sample(run, kept_rows(run), 9)
    groups = np.array(run.read("images", ["group"])["group"].to_pylist())[rows]
    assert [int((groups == group).sum()) for group in GROUPS] == [3, 3, 3]
    assert rows == sorted(rows) == sample(run, kept_rows(run), 9)
    assert set(sample(run, kept_rows(run), 6)) <= set(rows)
    assert len(sample(run, kept_rows(run), 500)) == sum(GROUPS.values())


def test_a_look_stores_nothing_and_shows_what_a_run_would_write(run: Run) -> None:
    before = sorted(path for path in run.root.rglob("*"))
    found = preview(run, config(run), 6)  # type: ignore[arg-type]
    page = preview_page(run, found)
    assert sorted(path for path in run.root.rglob("*")) == before
    assert "<b>Sale" not in page and "&lt;b&gt;Sale" in page and "evidence (" in page and "no model is asked" in page
    told = plain(found)
    assert len(told["images"]) == 6 and all(len(image["captions"]) == 10 for image in told["images"])
    json.dumps(told)
    assert summary(found)[0].startswith("6 images, 60 captions by facts")
    assert estimate(found)["seconds"] == pytest.approx(found.seconds * sum(GROUPS.values()) / 6)


def test_linked_entities_are_shown_with_what_is_too_unsure_to_be_spoken_of(run: Run, tmp_path: Path) -> None:
    linked = Run(tmp_path / "run")
    shutil.copytree(run.root, linked.root)
    row = dict.fromkeys(field.name for field in MENTIONS.field("mentions").type.value_type)
    sale = row | {
        "entity": 1,
        "title": "Discount sale",
        "title_zh": "促销",
        "description": "Sale at low prices",
        "source": "ocr",
        "text": "Sale",
    }
    weak = row | {"entity": 2, "title": "Sale, Greater Manchester", "score": 0.3, "source": "ocr", "text": "Sale"}
    ids = run.read("images", ["id"])["id"].to_pylist()
    rows = [{"id": one, "mentions": [sale | {"score": 0.9}, weak], "error": None} for one in ids]
    linked.commit_part("mentions", 0, pa.Table.from_pylist(rows, schema=MENTIONS), fingerprint="x", cost=Cost(0, 0))
    linked.finish("mentions", {"parameters": {}})
    page = preview_page(linked, preview(linked, config(linked), 3))  # type: ignore[arg-type]
    assert "The text mentions <" not in page and "The text mentions discount sale, a sale at low prices." in page
    assert "too unsure to be spoken of" in page and "文字中提到促销" in page


def test_a_run_without_text_is_told_what_is_missing(tmp_path: Path) -> None:
    made = Run(tmp_path / "run")
    table = tables([{}])["images"]
    assert isinstance(table, pa.Table)
    made.commit_part("images", 0, table, fingerprint="x", cost=Cost(0, 0))
    made.finish("images", {})
    with pytest.raises(ConfigError, match="has no complete metrics/"):
        preview(made, config(made), 3)  # type: ignore[arg-type]
