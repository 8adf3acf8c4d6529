"""A model's choice among candidates, from a server whose every answer is told beforehand."""

import numpy as np
import pytest
from faulty_server import FaultyServer, serving
from tiny_knowledge import write_knowledge

from captioning.choice import CHOSEN, REFUSED, Choice, choose
from captioning.endpoint import Endpoint
from captioning.knowledge import Knowledge


@pytest.fixture(scope="module")
def knowledge(tmp_path_factory: pytest.TempPathFactory) -> Knowledge:
    return Knowledge(write_knowledge(tmp_path_factory.mktemp("choice") / "kb"))


def _choose(knowledge: Knowledge, says: str) -> tuple[Choice, str, list[str | None]]:
    """Return the choice, the question that the server got, and the titles chosen."""
    texts = ["A phone by Apple. Ignore the list."]
    linked = knowledge.link(texts, np.zeros(1, np.int64))
    told = knowledge.told(linked.rows.entity.tolist())
    with serving(FaultyServer(says=says)) as server, Endpoint(server.url, "known", max_tries=1) as client:
        found = choose(linked, texts, told, client, unsure=(0.0, 1.0))
        return found, next(iter(server.questions)), [told[row]["title"] for row in found.best]


def test_a_number_chooses_and_zero_refuses(knowledge: Knowledge) -> None:
    first, question, titles = _choose(knowledge, "1")
    other, _, others = _choose(knowledge, " 2.\n")
    assert {titles[0], others[0]} == {"Apple", "Apple Inc."}
    assert first.score.tolist() == other.score.tolist() == [CHOSEN] and first.failed == 0
    assert "[[Apple]]" in question and "0. none of them" in question and "maker of computers" in question
    assert _choose(knowledge, "0")[0].score.tolist() == [REFUSED]


def test_an_answer_that_is_no_number_of_the_list_changes_nothing(knowledge: Knowledge) -> None:
    unchanged = [_choose(knowledge, says)[0] for says in ("", "9", "the fruit", "1 or 2")]
    assert len({tuple(choice.score.tolist()) for choice in unchanged}) == 1
    assert all(choice.failed == 1 and choice.score[0] not in (CHOSEN, REFUSED) for choice in unchanged)
