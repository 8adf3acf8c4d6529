"""Building a knowledge base through the runner: the same tables for any split, partial inputs named, every input understood."""

import bz2
import gzip
import json
from importlib.resources import files
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from curation.errors import ConfigError
from curation.schema import ANCHORS, ENTITIES, LINKS
from curation.tables import Run
from jobs.__main__ import app
from jobs.demo_wiki import articles, write_wiki
from jobs.knowledge import build
from jobs.knowledge_show import look_up
from jobs.progress import Lines
from jobs.runner import Limits

pytestmark = pytest.mark.ray
ENWIKI = "enwiki-latest-pages-articles1.xml-p000000010p000030302-shortened.bz2"
CONTENT = ("entities", "links", "anchors", "concepts")


def made(folder: Path, *dumps: Path, **options: object) -> Run:
    base = Run(folder)
    build(base, dumps=dumps, limits=Limits(max_attempts=1), progress=Lines(), **options)  # type: ignore[arg-type]
    return base


@pytest.fixture(scope="module")
def wiki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("wiki") / "wiki.xml"
    write_wiki(path)
    return path


@pytest.fixture(scope="module")
def demo(wiki: Path, shared_ray: dict[str, float]) -> Run:
    return made(wiki.parent / "kb", wiki)


def test_the_demo_wiki_becomes_a_bilingual_graph(demo: Run) -> None:
    entities = demo.read("entities")
    assert (
        entities.schema.equals(ENTITIES)
        and demo.read("links").schema.equals(LINKS)
        and demo.read("anchors").schema.equals(ANCHORS)
    )
    assert entities.num_rows == len(articles())
    assert pc.sum(pc.equal(entities.column("kind"), "outside")).as_py() == 0  # every link leads to a page
    assert entities.column("title_zh").null_count < 5
    assert pc.min(demo.read("anchors").column("occurrences")).as_py() >= 0
    ranks = dict(zip(entities.column("title").to_pylist(), demo.read("concepts").column("pagerank").to_pylist(), strict=True))
    assert ranks["China"] > ranks["Saucer"]


def test_any_split_gives_the_same_tables(demo: Run, wiki: Path, tmp_path: Path) -> None:
    content = wiki.read_bytes()
    (tmp_path / "wiki.xml.bz2").write_bytes(b"".join(bz2.compress(content[i : i + 7000]) for i in range(0, len(content), 7000)))
    (tmp_path / "wiki.xml.gz").write_bytes(gzip.compress(content))
    for name in ("wiki.xml.bz2", "wiki.xml.gz"):
        other = made(tmp_path / f"{name}.kb", tmp_path / name, split_mb=0.01, forms_per_range=100)
        assert other.num_parts("pages") > 1 and other.num_parts("anchors") > 3
        for table in CONTENT:
            assert other.read(table).combine_chunks().equals(demo.read(table).combine_chunks()), (name, table)


def test_a_second_build_does_nothing_and_a_lost_part_is_made_again(
    demo: Run, wiki: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = [demo.digest(table) for table in CONTENT]
    demo.store.delete("anchors/_manifest.json")
    demo.store.delete("anchors/part-00000.parquet")
    made(demo.root, wiki)
    assert [demo.digest(table) for table in CONTENT] == before


def test_names_are_looked_up_in_both_languages_by_redirect_and_by_link(demo: Run) -> None:
    for name in ("Lantern Festival", "lantern_festival", "元宵节", "Yuanxiao", "灯会"):
        assert look_up(demo, name, most=5)["title"] == "Lantern Festival"
    assert look_up(demo, "tabby", most=5)["title"] == "Tabby cat"
    kite = look_up(demo, "Kite", most=5)
    assert kite["kind"] == "disambiguation"
    assert next(other["title"] for other in kite["also_means"]) == "Kite (toy)"
    with pytest.raises(ConfigError, match="did you mean 'Lantern Festival'"):
        look_up(demo, "Lantren Festivl", most=5)


def test_the_verb_prints_text_and_json(demo: Run) -> None:
    shown = CliRunner().invoke(app, ["knowledge", "show", "Dragon boat", "--kb", str(demo.root)])
    assert shown.exit_code == 0 and "龙舟" in shown.output and "pagerank" in shown.output
    found = CliRunner().invoke(app, ["knowledge", "show", "Dragon boat", "--kb", str(demo.root), "--json"])
    assert json.loads(found.output)["title_zh"] == "龙舟"


def test_links_of_anchors_add_up_to_those_of_pages(demo: Run) -> None:
    shown = sum(
        link["count"] for links in demo.read("pages").column("links").to_pylist() for link in links or [] if link["shown"]
    )
    assert pc.sum(demo.read("anchors").column("links")).as_py() == shown
    anchors = demo.read("anchors")
    assert pc.all(pc.less_equal(anchors.column("links"), anchors.column("occurrences"))).as_py()


def test_language_links_by_sql_and_by_wikidata_fill_the_same_columns(
    wiki: Path, tmp_path: Path, shared_ray: dict[str, float]
) -> None:
    bare = tmp_path / "bare.xml"
    bare.write_text("\n".join(line for line in wiki.read_text().splitlines() if not line.startswith("[[zh:")))
    sql = tmp_path / "langlinks.sql.gz"
    rows = r"(1,'de','Katze'),(1,'zh','猫'),(999,'zh','无'),(6,'zh','It\'s\\x')"
    sql.write_bytes(gzip.compress(f"-- dump\nINSERT INTO `langlinks` VALUES {rows};\n".encode()))
    items = tmp_path / "wikidata.json"
    item = {
        "id": "Q144", "descriptions": {"en": {"value": "an animal"}},
        "claims": {"P31": [{"mainsnak": {"datavalue": {"value": {"id": "Q1"}}}}]},
        "sitelinks": {"enwiki": {"title": "Horse"}, "zhwiki": {"title": "马"}},
    }  # fmt: skip
    items.write_text("[\n" + json.dumps(item, ensure_ascii=False) + ',\n{"enwiki": broken\n]\n')
    base = made(tmp_path / "kb", bare, languages=[sql, items])
    titles = dict(zip(base.read("entities").column("title").to_pylist(), base.read("entities").to_pylist(), strict=True))
    assert titles["Cat"]["title_zh"] == "猫"
    assert (titles["Horse"]["title_zh"], titles["Horse"]["wikidata"], titles["Horse"]["classes"]) == ("马", "Q144", ["Q1"])
    assert look_up(base, "马", most=3)["title"] == "Horse"
    errors = [row["error"] for row in base.read("languages").to_pylist() if row["error"]]
    assert len(errors) == 1


def test_edge_lists_and_search_dumps_are_understood(tmp_path: Path, shared_ray: dict[str, float]) -> None:
    edges = tmp_path / "e.tsv"
    edges.write_text("source\ttarget\tcount\ncat\tMammal\t2\ncat\tPet\nbroken line\ndog\tPet\t1\n")
    pq.write_table(pa.table({"source": ["horse", "horse"], "target": ["Mammal", "cat"]}), tmp_path / "e.parquet")
    cirrus = tmp_path / "c.json.gz"
    document = {
        "title": "Mammal", "namespace": 0, "text": "A mammal is an animal with fur. A Cat is one.",
        "outgoing_link": ["Cat", "File:X.png"],
        "redirect": [{"namespace": 0, "title": "Mammalia"}], "category": ["Animals"], "wikibase_item": "Q7377",
    }  # fmt: skip
    cirrus.write_bytes(gzip.compress(b'{"index":{"_id":"18838"}}\n' + json.dumps(document).encode() + b"\nno json\n"))
    base = made(tmp_path / "kb", edges=[edges, tmp_path / "e.parquet"], cirrus=[cirrus])
    entities = base.read("entities").to_pylist()
    names = [row["title"] for row in entities]
    found = {(names[row["source"]], names[row["target"]]): row["count"] for row in base.read("links").to_pylist()}
    assert found == {
        ("Cat", "Mammal"): 2, ("Cat", "Pet"): 1, ("Dog", "Pet"): 1, ("Horse", "Mammal"): 1, ("Horse", "Cat"): 1,
        ("Mammal", "Cat"): 1,
    }  # fmt: skip
    mammal = look_up(base, "Mammalia", most=3)
    assert (mammal["description"], mammal["wikidata"]) == ("animal with fur", "Q7377")
    assert (base.manifest("pages") or {})["counts"]["corrupt"] == 2


def test_a_cut_dump_is_built_and_called_partial(tmp_path: Path, shared_ray: dict[str, float]) -> None:
    cut = tmp_path / "cut.bz2"
    cut.write_bytes(files("gensim").joinpath("test", "test_data", ENWIKI).read_bytes()[:400_000])
    base = made(tmp_path / "kb", cut)
    counts = (base.manifest("pages") or {})["counts"]
    assert counts["article"] > 5 and counts["truncated"] == 1
    from jobs.knowledge_view import show_built

    show_built(base)


def test_without_a_folder_named_the_base_is_kb(demo: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    missing = CliRunner().invoke(app, ["knowledge", "show", "Dragon boat"])
    assert "kb is no complete knowledge base" in str(missing.exception)
    (tmp_path / "kb").symlink_to(demo.root, target_is_directory=True)
    assert "龙舟" in CliRunner().invoke(app, ["knowledge", "show", "Dragon boat"]).output
    built = CliRunner().invoke(app, ["knowledge", "build", "--help"]).output
    assert "[default: kb]" in built


def test_mistakes_are_one_line(tmp_path: Path, wiki: Path) -> None:
    cut = tmp_path / "cut.xml.bz2"
    cut.write_bytes(bz2.compress(wiki.read_bytes())[:500])
    for options, message in (
        ([], "give --dump"),
        (["--dump", str(tmp_path / "none")], "cannot be read"),
        (["--dump", str(wiki), "--langlinks", str(wiki)], "no SQL dump"),
        (["--dump", str(cut)], "its first block is cut off"),
    ):
        result = CliRunner().invoke(app, ["knowledge", "build", "--out", str(tmp_path / "kb"), *options])
        assert message in str(result.exception)
    result = CliRunner().invoke(app, ["knowledge", "show", "x", "--kb", str(tmp_path)])
    assert "no complete knowledge base" in str(result.exception)
