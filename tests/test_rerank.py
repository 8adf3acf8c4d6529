"""The second look at candidates: by the meaning of texts with real MiniLM, by a picture with two towers of a formula."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from tiny_knowledge import write_knowledge

from captioning.knowledge import Knowledge, Linker
from captioning.linking import Linked
from captioning.linking_model import probability
from captioning.passages import Passage
from captioning.rerank import compared, described, image_similarity, reranked
from curation.errors import ConfigError
from curation.schema import vector_type
from jobs.config import parse_config
from jobs.pipeline import pipeline

TEXTS = ["Apple pie from the orchard", "Central Park in New York", "the Apple phone"]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two candidates named Apple, described by words of a colour for the encoder of a formula."""
    titles = {
        "Apple": {"description": "a red fruit of a tree"},
        "Apple Inc.": {"description": "a white maker of phones"},
        "Central Park": {"description": "park in Manhattan"},
    }
    names = [("Apple", "en", 0, "title", 30, 60), ("Apple", "en", 1, "anchor", 30, 60), ("Central Park", "en", 2, "title", 9, 9)]
    return write_knowledge(tmp_path_factory.mktemp("rerank") / "kb", titles=titles, names=names, edges=None)


def linked(base: Path) -> Linked:
    return Knowledge(base).link(TEXTS, np.arange(3))


def titles(base: Path, found: Linked) -> list[str | None]:
    return [one["title"] for one in Knowledge(base).told(found.rows.entity[found.best].tolist())]


def test_without_weight_nothing_changes(base: Path) -> None:
    before = linked(base)
    after = reranked(before, np.random.default_rng(0).normal(size=len(before.share)), weight=0.0)
    assert after.best.tolist() == before.best.tolist()
    assert np.allclose(after.share, before.share, atol=1e-9) and np.allclose(after.score, before.score, atol=1e-9)


def test_shares_are_multiplied_by_the_exponential_of_the_weighed_cosine(base: Path) -> None:
    before = linked(base)
    similarity = np.random.default_rng(1).normal(size=len(before.share))
    after = reranked(before, similarity, weight=3.0)
    for span in np.unique(before.rows.span):
        rows = before.rows.span == span
        expected = before.share[rows] * np.exp(3 * similarity[rows])
        assert np.allclose(after.share[rows], expected / expected.sum(), atol=1e-9)
        (best,) = [row for row in after.best if before.rows.span[row] == span]
        assert after.share[best] == after.share[rows].max()
    assert np.allclose(after.score, probability(after.evidence))


def test_names_with_one_candidate_stay_as_they_are(base: Path) -> None:
    before = linked(base)
    alone = np.setdiff1d(np.arange(len(before.share)), compared(before))
    assert [described(one) for one in Knowledge(base).told(before.rows.entity[alone].tolist())] == [
        "Central Park: park in Manhattan"
    ]
    similarity = image_similarity(before, np.arange(3), Knowledge(base).told(before.rows.entity.tolist()), np.ones((3, 4)),
                                  lambda texts: np.ones((len(texts), 4)))  # fmt: skip
    assert similarity[alone].tolist() == [0.0] and (similarity[compared(before)] > 1.9).all()


def test_the_words_around_a_name_decide_between_equally_common_candidates(base: Path) -> None:
    linker = Linker(knowledge=str(base), min_score=0.0, rerank="text")
    found = linker.mentions([[Passage("caption", "en", text)] for text in TEXTS])
    assert [[one["title"] for one in own] for own in found] == [["Apple"], ["Central Park"], ["Apple Inc."]]


def test_the_picture_decides_where_its_embedder_has_a_text_tower(base: Path) -> None:
    linker = Linker(knowledge=str(base), min_score=0.0, rerank="image", embedder="searchable:ColourEncoder")
    red, white = np.eye(6, dtype=np.float16)[0], np.eye(6, dtype=np.float16)[4]
    pictures = pa.chunked_array([pa.array([red, white, None], vector_type(6))])
    found = linker.mentions([[Passage("caption", "en", "an Apple")]] * 3, pictures=pictures)
    unseen = Linker(knowledge=str(base), min_score=0.0).mentions([[Passage("caption", "en", "an Apple")]])
    assert [own[0]["title"] for own in found] == ["Apple", "Apple Inc.", unseen[0][0]["title"]]


def test_an_embedder_without_a_text_tower_is_refused(base: Path) -> None:
    with pytest.raises(ConfigError, match="no text tower"):
        Linker(knowledge=str(base), rerank="image", embedder="searchable:BlindEncoder")


def test_only_a_look_at_pictures_makes_linking_depend_on_embeddings(base: Path) -> None:
    def planned(by: str) -> tuple[tuple[str, ...], object]:
        settings = {"source": "a", "out": "b", "knowledge": {"path": str(base)}, "link": {"rerank": by}}
        (line,) = [line for line in pipeline(parse_config(settings, origin="test")) if line.stage.name == "link"]
        return line.stage.inputs, line.parameters.get("embedder")

    assert "embeddings" not in planned("text")[0] and planned("text")[1] is None
    assert planned("image") == ((*planned("text")[0], "embeddings"), "efficientnet-lite0")
