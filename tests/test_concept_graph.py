"""The concept graph of a small knowledge base on disk: made, judged, exported and drawn."""

from xml.etree import ElementTree

import networkx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from captioning.answer import Reply
from curation.errors import ConfigError
from curation.schema import ENTITIES, LINKS
from curation.tables import Cost, Run
from jobs.concept_files import entity_picture, write_concept_graph
from jobs.concept_graph import concept_parameters, plan, read_classes, work
from jobs.concepts import read_concepts
from jobs.judges import naming, sight
from jobs.taxonomy import entity_reader, read_prompts

EMPTY = dict.fromkeys(ENTITIES.names) | {"kind": "article", "links_in": 0, "image": "x.jpg"}
ROWS = [
    EMPTY | {"title": "Dog", "title_zh": "\u72d7", "categories": ["Animals"]},
    EMPTY | {"title": "Poodle", "categories": ["Dogs"], "wikidata": "Q1"},
    EMPTY | {"title": "Corgi", "description": "small breed of dog"},
    EMPTY | {"title": "Justice", "categories": ["Concepts in ethics", "Law"], "image": None},
]
EDGES = [(1, 0, 3), (2, 0, 1), (0, 1, 1), (1, 2, 2), (3, 0, 1)]


def committed(run, table, parts):
    for part, rows in enumerate(parts):
        run.commit_part(table, part, rows, fingerprint="test", cost=Cost(0, 0))
    run.finish(table, {})


@pytest.fixture
def base(tmp_path):
    run = Run(tmp_path / "kb")
    entities = pa.Table.from_pylist(ROWS, schema=ENTITIES)
    committed(run, "entities", [entities.slice(0, 3), entities.slice(3)])
    named = [dict(zip(LINKS.names, edge, strict=True)) for edge in EDGES]
    committed(run, "links", [pa.Table.from_pylist(named, schema=LINKS)])
    return run


def with_concepts(run, **settings):
    (item,) = plan(run)
    outputs = work(run, item, min_quantile=0.0, **settings)
    committed(run, "concepts", [output.rows for output in outputs])
    assert [output.rows.num_rows for output in outputs] == [3, 1]
    return run


def test_the_graph_goes_to_graphml_and_parquet_and_comes_back_alike(base, tmp_path):
    with_concepts(base)
    path = tmp_path / "graph.graphml"
    assert write_concept_graph(base, graphml=path, parquet=None, top=0) == (3, 6)
    graph = networkx.read_graphml(path)
    assert {data["title"] for _, data in graph.nodes(data=True)} == {"Dog", "Poodle", "Corgi"}
    assert write_concept_graph(base, graphml=None, parquet=tmp_path / "out", top=0) == (3, 6)
    edges = pq.read_table(tmp_path / "out" / "edges.parquet").to_pylist()
    found = sorted((data["relation"], int(a), int(b), data["count"]) for a, b, data in graph.edges(data=True))
    assert found == sorted((e["relation"], e["source"], e["target"], e["count"]) for e in edges)
    assert write_concept_graph(base, graphml=path, parquet=None, top=1)[0] == 1
    with pytest.raises(ConfigError, match="exactly one"):
        write_concept_graph(base, graphml=None, parquet=None, top=0)


def test_an_entity_is_drawn_among_its_kin_and_its_links(base):
    with_concepts(base)
    shown = {"".join(text.itertext()) for text in ElementTree.fromstring(entity_picture(base, 1)).iterfind(".//{*}text")}
    assert {"Dog / \u72d7", "Poodle", "Corgi"} <= shown


def test_what_is_not_built_yet_is_said(base):
    with pytest.raises(ConfigError, match="no finished table concepts"):
        entity_picture(base, 0)


def test_entities_of_a_run_are_looked_up_with_their_parents(base):
    assert entity_reader(base)([1])[1].parent is None
    found = entity_reader(with_concepts(base))([1, 3])
    assert found[1].parent == 0 and found[1].keep and not found[3].keep and found[1].title == "Poodle"


def test_prompts_lift_the_entities_that_they_name(base, tmp_path):
    path = tmp_path / "prompts.txt"
    path.write_text("a corgi in the snow\nTwo Corgi\n", encoding="utf-8")
    plain, asked = (
        work(base, {}, min_quantile=0.0, **more)[0].rows["pagerank"].to_pylist() for more in ({}, {"prompts": str(path)})
    )
    assert asked[2] > plain[2] and asked[1] < plain[1]


def test_prompts_and_classes_are_read_or_refused(tmp_path):
    path = tmp_path / "p.jsonl"
    path.write_text('{"prompt": "a cat", "count": 3}\n"a dog"\n\n', encoding="utf-8")
    assert list(read_prompts(path)) == [("a cat", 3), ("a dog", 1)]
    table = tmp_path / "p.csv"
    table.write_text("prompt,count\na cat,2\n", encoding="utf-8")
    assert list(read_prompts(table)) == [("a cat", 2)]
    for line in ("{", '{"count": 1}', '{"prompt": "x", "count": 0}', '{"prompt": "x", "count": "many"}', "7"):
        path.write_text(line, encoding="utf-8")
        with pytest.raises(ConfigError, match="line 1"):
            list(read_prompts(path))
    kinds = tmp_path / "classes.tsv"
    kinds.write_text("Q1\tQ5\nQ1\tQ16521\n", encoding="utf-8")
    assert read_classes(kinds) == {"Q1": ["Q5", "Q16521"]}
    kinds.write_text("Q1,Q5\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="line 1"):
        read_classes(kinds)
    with pytest.raises(ConfigError):
        list(read_prompts(tmp_path / "nowhere.txt"))


def test_a_judge_file_names_one_model(tmp_path):
    path = tmp_path / "judge.yaml"
    path.write_text("source: x\n", encoding="utf-8")
    asked = {"min_visual": 0.5, "min_quantile": 0.05, "classes": None, "prompts": None}
    with pytest.raises(ConfigError, match="one section"):
        concept_parameters(**asked, judge=path)
    path.write_text(f"vlm: {{model: {tmp_path}, batch_size: 2}}\n", encoding="utf-8")
    values, how = concept_parameters(**asked, judge=path)
    assert values["judge"] == "vlm" and values["settings"]["model"] == str(tmp_path) and how["batch_size"] == 2


def replies(*texts):
    """Answers as a server gives them, in order."""
    given = iter(texts)
    return lambda asks: [Reply(text=next(given), model="tiny") for _ in asks]


def test_answers_of_a_model_are_read_with_distrust():
    names = naming(replies('{"name": "Dogs"}', '```json\n{"name": "Cats"}\n```', "no", '{"name": 7}', '{"name": "a\\nb"}'))
    assert names([["poodle"], ["cat"], ["x"], ["y"], ["z"]]) == ["Dogs", "Cats", None, None, None]
    judge = sight(replies('{"visual": true, "reason": "an  animal"}', '{"visual": "yes"}', '{"visual": false}'))
    one, two, three = judge([EMPTY | {"title": title} for title in ("Dog", "x", "Law")])
    assert (one.visual, one.reason, one.judge) == (1.0, "an animal", "tiny")
    assert two is None and three.visual == 0.0 and three.reason
    failed = naming(lambda asks: [Reply(error=("timeout", "slow")) for _ in asks])
    assert failed([["a"], ["b"]]) == [None, None]


def test_a_knowledge_base_is_a_list_of_concepts_to_look_for(base):
    with pytest.raises(ConfigError, match="no finished table concepts"):
        read_concepts(base.root)
    found = read_concepts(with_concepts(base).root)
    assert [concept.name for concept in found] == ["Dog", "Poodle", "Corgi"]  # by PageRank
    assert found[0].phrases == {"en": ("Dog",), "zh": ("\u72d7",)}
