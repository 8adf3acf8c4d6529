"""The report: every section from real tables, other people's words always escaped, nothing loaded from outside."""

import hashlib
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image, ImageDraw
from skimage import data

from curation.charts import curve, histogram, size_map, ticks
from curation.ledger import balance
from curation.metrics import profile
from curation.report import shown
from curation.schema import CAPTIONS, DUPLICATES, IMAGES, MENTIONS, OCR, SCORES, TAGS, WATERMARKS
from curation.selection import select
from curation.shards import plan_shards, write_shard
from curation.tables import Cost, Run
from graph.taxonomy import Entity, taxonomy
from jobs import balance as stage
from jobs.report import page as render
from jobs.taxonomy import shown as shown_concepts

HOSTILE = ("<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "</script><b>", "{{ 7 * 7 }}", "a\u202eb\x1b[31m")
PHOTOS = (data.astronaut, data.chelsea, data.coffee, data.rocket)


def _table(schema: pa.Schema, **columns: list[object]) -> pa.Table:
    num = len(columns["id"])
    return pa.table({name: columns.get(name, [None] * num) for name in schema.names}, schema=schema)


def _pictures() -> list[tuple[str, bytes]]:
    """Four photographs, a recompressed copy of each, a poster, twelve small shapes and a broken file; hostile names."""
    pictures = [(f"photos/{HOSTILE[i]}.jpg", _encoded(Image.fromarray(photo()), 92)) for i, photo in enumerate(PHOTOS)]
    pictures += [(f"photos/copy {i}.jpg", _encoded(Image.fromarray(p()).resize((256, 192)), 40)) for i, p in enumerate(PHOTOS)]
    poster = Image.new("RGB", (480, 320), "#203a5c")
    ImageDraw.Draw(poster).text((40, 60), "SUMMER SALE", fill="white", font_size=48)
    pictures.append(("posters/sale.png", _encoded(poster)))
    for i in range(12):
        shape = Image.new("RGB", (32, 32), (20 * i, 40, 60))
        ImageDraw.Draw(shape).ellipse((6, 6, 24, 24), fill=(250, 10 * i, 30))
        pictures.append((f"shapes/{i}.png", _encoded(shape)))
    return [*pictures, ("broken/cut.jpg", pictures[0][1][:500])]


def _encoded(picture: Image.Image, quality: int | None = None) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format="JPEG", quality=quality) if quality else picture.save(buffer, format="PNG")
    return buffer.getvalue()


def _images(folder: Path) -> pa.Table:
    pictures = _pictures()
    num = len(pictures)
    sizes: list[tuple[int | None, int | None]] = []
    for number, (_, content) in enumerate(pictures):
        (folder / f"{number}.bin").write_bytes(content)
        sizes.append(Image.open(io.BytesIO(content)).size if number < num - 1 else (None, None))
    failed = [None] * (num - 1)
    return _table(
        IMAGES,
        id=[hashlib.sha256(content).hexdigest()[:32] for _, content in pictures],
        uri=[str(folder / f"{number}.bin") for number in range(num)],
        container=["file"] * num,
        offset=[0] * num,
        length=[len(content) for _, content in pictures],
        key=[name for name, _ in pictures],
        group=[name.split("/")[0] for name, _ in pictures],
        format=[*(["jpeg"] * 8), *(["png"] * 13), "jpeg"],
        width=[width for width, _ in sizes],
        height=[height for _, height in sizes],
        caption=[HOSTILE[0], *[None] * (num - 1)],
        error=[*failed, "truncated"],
        error_detail=[*failed, f"image file is truncated {HOSTILE[1]}"],
    )


def _tables(folder: Path) -> dict[str, pa.Table]:
    images = _images(folder)
    ids, num = images["id"].to_pylist(), images.num_rows
    keeper_rows = [None] * 4 + [0, 1, 2, 3] + [None] * (num - 8)
    evidence = json.dumps({"test": "keypoints", "inliers": 143, "share": 0.9731, "note": HOSTILE[0]})
    duplicates = _table(
        DUPLICATES,
        id=ids,
        keeper=[None if row is None else ids[row] for row in keeper_rows],
        keeper_row=keeper_rows,
        similarity=[None if row is None else 0.97 for row in keeper_rows],
        evidence=[None if row is None else evidence for row in keeper_rows],
        group_size=[2] * 8 + [1] * (num - 8),
        contained_in=[ids[8] if row == 9 else None for row in range(num)],
    )
    texts = ("SUMMER SALE", HOSTILE[2], "\u590f\u5b63\u7279\u5356")
    lines = [
        {"text": text, "confidence": 0.98, "language": "en", "polygon": [40.0, y, 380, y, 380, y + 50, 40, y + 50]}
        for y, text in zip((60.0, 130.0, 200.0), texts, strict=True)
    ]
    error = images["error"].to_pylist()
    tag = {"label": HOSTILE[1], "score": 0.9, "source": "model"}
    tables = {
        "images": images,
        "metrics": profile(images=images),
        "tags": _table(TAGS, id=ids, tags=[[tag], [{**tag, "label": "tabby"}]] * (num // 2), error=error),
        "scores": _table(SCORES, id=ids, nsfw=[0.01 * i for i in range(num - 1)] + [None], error=error),
        "ocr": _table(OCR, id=ids, lines=[lines if row == 8 else [] for row in range(num)], error=error),
        "duplicates": duplicates,
    }
    rules = [{"name": "<i>dim</i>", "column": "metrics.brightness", "below": 0.2, "groups": ["shapes"]}]
    tables["selection"] = select(**tables, rules=rules)
    tables["mentions"] = _table(MENTIONS, id=ids, mentions=[[_mention()] if row == 8 else [] for row in range(num)], error=error)
    tables["captions"] = _table(CAPTIONS, id=ids, captions=[_captions(text) for text in (*HOSTILE, *["a picture"] * (num - 5))])
    return tables


def _mention() -> dict[str, object]:
    """A linked entity whose title is hostile."""
    span = {"source": "ocr", "field": "0", "text": "SUMMER", "start": 0, "end": 6, "score": 0.93}
    return span | {"entity": 4, "title": HOSTILE[0], "title_zh": "\u590f\u5b63", "description": HOSTILE[1]}


def _balance(run: Run) -> None:
    """Add the taxonomy of the run's tags, as the stages concepts, balance and shares do."""
    reading = {"languages": ["en", "zh"], "min_tag_score": 0.5, "min_mention_score": 0.5}
    forest = taxonomy(
        shown=lambda: shown_concepts(run, **reading), knowledge=lambda rows: {row: Entity(HOSTILE[0]) for row in rows}
    )
    run.commit_part("taxonomy", 0, forest, fingerprint="f", cost=Cost(0.1, 0.1))
    run.finish("taxonomy", {"parameters": reading})
    settings = {
        "mode": "concepts",
        "by": "images.group",
        "alpha": 0.5,
        "max_weight": 4.0,
        "steps": 30,
        "bm25_power": 0.5,
        "seed": 0,
    }
    (made,) = stage.work(run, {"parts": [0]}, languages={}, **settings)
    run.commit_part("balance", 0, made.rows, fingerprint="f", cost=Cost(0.1, 0.1))
    run.finish("balance", {"parameters": settings})
    (shares,) = stage.work_shares(run, {"parts": [0]}, mode="concepts", max_weight=4.0)
    run.commit_part("concept_shares", 0, shares.rows, fingerprint="f", cost=Cost(0.1, 0.1))
    run.finish("concept_shares", {})


def _captions(text: str) -> list[dict[str, object]]:
    evidence = [{"clause": text, "source": "metrics.dominant_colours", "value": text}]
    made = {"text": text, "backend": "facts", "evidence": evidence, "flags": []}
    both = [made | {"language": language, "level": level} for level in ("short", "medium") for language in ("en", "zh")]
    return [*both, made | {"language": "de", "level": "source"}]


def write_run(root: Path) -> Run:
    """A complete run folder with shards, a training log, a sample grid and an evaluation."""
    (root / "source").mkdir(parents=True)
    run, tables = Run(root), _tables(root / "source")
    for name, table in tables.items():
        run.commit_part(name, 0, table, fingerprint="f", cost=Cost(1.5, 1.2))
        run.finish(name, {"stage": name})
    _balance(run)
    described = {name: tables[name] for name in ("images", "selection", "metrics", "scores", "ocr", "tags", "captions")}
    for number, rows in enumerate(plan_shards(selection=tables["selection"], images=tables["images"], max_samples=8)):
        chosen = {name: table.take(rows) for name, table in described.items()}
        index = write_shard(root / "tmp.tar", shard=f"shard-{number:06d}.tar", rows=np.array(rows), **chosen)
        files = {f"shard-{number:06d}.tar": root / "tmp.tar"}
        run.commit_part("shards", number, index, fingerprint="f", cost=Cost(0.1, 0.1), files=files)
    run.finish("shards", {})
    for folder in ("checkpoints", "samples", "evaluation"):
        (root / folder).mkdir()
    generator = np.random.default_rng(0)
    logged = [
        {"step": step, "loss": 1.2 * 0.98**step + 0.4 + 0.05 * generator.normal(), "grad_norm": 1.0, "lr": 1e-3}
        | ({"validation/ema": 1.3 * 0.98**step + 0.4} if step % 50 == 0 else {})
        for step in range(1, 200)
    ]
    log = "\n".join(json.dumps(record) for record in logged)
    (root / "checkpoints" / "log.jsonl").write_text(log + '\n{"step": 200, "los')
    Image.fromarray(data.astronaut()).resize((256, 256)).save(root / "samples" / "grid.png")
    measures = {"accuracy_right_prompts": 0.91, "accuracy_shuffled_prompts": 0.11, "note": HOSTILE[0]}
    (root / "evaluation" / "evaluation.json").write_text(json.dumps(measures))
    return run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The run of this file."""
    return write_run(tmp_path_factory.mktemp("report") / "run <b>1</b>")


@pytest.fixture(scope="module")
def page(run: Run) -> str:
    """The report of that run."""
    return render(run)


class _Page(HTMLParser):
    """Collects elements, links, sources and text of a page, as a browser would see them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[str] = []
        self.open: list[str] = []
        self.references: list[str] = []
        self.attributes: set[str] = set()
        self.summary = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        if tag not in ("meta", "img", "rect", "line", "circle", "polyline", "polygon", "br"):
            self.open.append(tag)
        self.attributes |= {name for name, _ in attrs}
        self.references += [value or "" for name, value in attrs if name in ("href", "src", "srcset", "action", "data")]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            self.summary += data


def test_the_page_is_well_formed_and_has_every_section(page: str) -> None:
    parsed = _Page(page)
    assert parsed.open == []
    wanted = (
        "balance stages metrics sizes tags concepts duplicates contained text poster captions failures shards training samples"
    )
    assert re.findall(r'<section id="(\w+)">', page) == wanted.split()
    assert page.count('class="chart histogram"') > 15
    assert parsed.elements.count("polygon") == 6  # the poster is also the one picture of which all is told


def test_hostile_words_stay_words(page: str) -> None:
    parsed = _Page(page)
    assert parsed.elements.count("script") == 1  # the JSON summary
    assert not [name for name in parsed.attributes if name.startswith("on")]
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "{{ 7 * 7 }}" in page
    assert "\x1b" not in page
    assert "\u202e" not in page
    assert "<i>dim" not in page
    assert "&lt;i&gt;dim&lt;/i&gt;" in page


def test_the_page_refers_to_nothing_outside_itself(page: str) -> None:
    parsed = _Page(page)
    assert all(reference.startswith(("#", "data:image/")) for reference in parsed.references)
    assert "default-src 'none'" in page
    assert "url(" not in page
    assert "@import" not in page


def test_the_embedded_summary_is_json_and_balances(page: str, run: Run) -> None:
    counted = json.loads(_Page(page).summary)["balance"]
    assert counted == balance(run)
    assert counted["in"] == counted["kept"] + sum(counted["dropped"].values()) + sum(counted["failed"].values()) == 22
    assert counted["dropped"]["duplicate"] == 4
    assert counted["dropped"]["<i>dim</i>"] > 0
    assert counted["failed"] == {"truncated": 1}


def test_two_reports_of_one_run_are_equal_and_small(page: str, run: Run) -> None:
    assert render(run) == page
    assert len(page) < 5_000_000


@pytest.mark.parametrize("until", ["", "images", "metrics", "duplicates", "selection"])
def test_a_run_that_stopped_early_still_renders(run: Run, tmp_path: Path, until: str) -> None:
    early = Run(tmp_path / "early")
    names = ("images", "metrics", "tags", "scores", "ocr", "duplicates", "selection")
    for name in names[: names.index(until) + 1] if until else ():
        early.commit_part(name, 0, run.read(name), fingerprint="f", cost=Cost(0, 0))
        early.finish(name, {})
    early.start("captions", {"parts": 3})
    page = render(early)
    assert "of 3, not complete" in page
    assert balance(early)["undecided"] == (21 if until and until != "selection" else 0)


def test_a_run_whose_images_all_failed_still_renders(run: Run, tmp_path: Path) -> None:
    failed = Run(tmp_path / "failed")
    for name in ("images", "metrics", "tags", "scores", "ocr", "duplicates", "selection", "captions"):
        failed.commit_part(name, 0, run.read(name).slice(21), fingerprint="f", cost=Cost(0, 0))
        failed.finish(name, {})
    failed.finish("shards", {})
    assert "truncated" in render(failed)


def test_control_and_direction_characters_are_replaced_and_long_text_is_cut() -> None:
    assert shown("a\u202eb\x00\u5927 c") == "a\ufffdb\ufffd\u5927 c"
    assert shown("x" * 50, 10) == "xxxxxxx..."


def test_charts_draw_constant_and_single_values() -> None:
    one, same = np.array([3.0]), np.full(10, 7.0)
    assert "<rect" in histogram(one, one > 0, name="m")
    assert "<rect" in histogram(same, same > 0, name="<m>")
    assert "<m>" not in histogram(same, same > 0, name="<m>")
    assert "<polyline" in curve(np.arange(10.0), same, name="m")
    assert "<circle" in size_map(np.array([1]), np.array([1]))


def test_ticks_are_round_and_inside() -> None:
    assert ticks(0.0, 1.0) == pytest.approx([0, 0.5, 1.0])
    assert all(-3 <= tick <= 7 for tick in ticks(-3, 7))


def test_one_picture_shows_its_text_its_entities_with_their_spans_and_every_caption_with_evidence(page: str) -> None:
    section = page[page.index('<section id="poster">') :]
    section = section[: section.index("</section>")]
    assert "posters/sale.png" in section
    assert "SUMMER</bdi>" in section
    assert "ocr 0, characters 0 to 6" in section
    assert section.count("<article") == 5  # two levels in two languages, and the source's
    assert section.count("metrics.dominant_colours") == 5


def test_concepts_are_shown_before_and_after_on_the_page(page: str) -> None:
    section = page[page.index('<section id="concepts">') :]
    section = section[: section.index("</section>")]
    assert "tabby" in section
    assert 'class="chart concepts"' in section
    assert "data:image/svg+xml;base64," in section or "neighbourhood" not in section


def test_images_outside_the_budget_are_counted_as_dropped(run: Run, tmp_path: Path) -> None:
    small = Run(tmp_path / "small")
    for name in ("images", "selection", "tags", "captions", "mentions", "ocr", "taxonomy"):
        small.commit_part(name, 0, run.read(name), fingerprint="f", cost=Cost(0, 0))
        small.finish(name, {"parameters": (run.manifest(name) or {}).get("parameters", {})})
    (made,) = stage.work(
        small, {"parts": [0]}, mode="none", by="images.group", alpha=0.5, languages={}, max_weight=4.0, steps=30, bm25_power=0.5,
        seed=0, budget=5,
    )  # fmt: skip
    kept_before = balance(small)["kept"]
    small.commit_part("balance", 0, made.rows, fingerprint="f", cost=Cost(0, 0))
    small.finish("balance", {})
    counted = balance(small)
    assert (counted["kept"], counted["dropped"]["budget"], counted["adds_up"]) == (5, kept_before - 5, True)


def test_watermarks_are_listed_with_their_share_and_marked_among_the_lines(run: Run, tmp_path: Path) -> None:
    marked = Run(tmp_path / "marked")
    for name in ("images", "ocr", "captions"):
        marked.commit_part(name, 0, run.read(name), fingerprint="f", cost=Cost(0, 0))
        marked.finish(name, {})
    num, own = run.read("images").num_rows, HOSTILE[2]
    named = [own if row in (8, 9) else None for row in range(num)]
    table = _table(
        WATERMARKS,
        id=run.read("images")["id"].to_pylist(),
        text=named,
        share=[0.25 if text else None for text in named],
        texts=[[text] if text else [] for text in named],
    )
    marked.commit_part("watermarks", 0, table, fingerprint="f", cost=Cost(0, 0))
    marked.finish("watermarks", {})
    page = render(marked)
    assert re.search(r"&lt;/script&gt;&lt;b&gt;</bdi></th><td[^>]*><bdi>posters</bdi></td><td[^>]*>1</td><td[^>]*>25 %", page)
    assert page.count('<span class="drop">watermark</span>') == 2  # in the list of texts and in the one picture
