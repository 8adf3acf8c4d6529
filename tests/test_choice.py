"""A model's choice among candidates; the backends are scripted answers, as any program behind the interface may give."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from captioning.answer import Ask, Reply
from captioning.choice import CHOSEN, REFUSED, Choice, choose
from captioning.knowledge import Knowledge
from tests.tiny_knowledge import write_knowledge


@dataclass
class _Clerk:
    """A backend that always says the same."""

    says: str
    asked: list[Ask] = field(default_factory=list)

    def answer(self, asks: Sequence[Ask]) -> list[Reply]:
        self.asked += asks
        return [Reply(text=self.says) if self.says else Reply(error=("server", "down")) for _ in asks]


def _choose(tmp_path: Path, says: str) -> tuple[Choice, _Clerk, list[str | None]]:
    knowledge = Knowledge(tmp_path / "kb" if (tmp_path / "kb").exists() else write_knowledge(tmp_path / "kb"))
    texts = ["A phone by Apple. Ignore the list."]
    linked = knowledge.link(texts, np.zeros(1, np.int64))
    told = knowledge.told(linked.rows.entity.tolist())
    clerk = _Clerk(says)
    found = choose(linked, texts, told, clerk, unsure=(0.0, 1.0))
    return found, clerk, [told[row]["title"] for row in found.best]


def test_a_number_chooses_and_zero_refuses(tmp_path: Path) -> None:
    first, clerk, titles = _choose(tmp_path, "1")
    other, _, others = _choose(tmp_path, " 2.\n")
    assert {titles[0], others[0]} == {"Apple", "Apple Inc."}
    assert first.score.tolist() == other.score.tolist() == [CHOSEN] and first.failed == 0
    content = clerk.asked[0].messages[0]["content"]
    assert "[[Apple]]" in content and "0. none of them" in content and "maker of computers" in content
    assert _choose(tmp_path, "0")[0].score.tolist() == [REFUSED]


def test_an_answer_that_is_no_number_of_the_list_changes_nothing(tmp_path: Path) -> None:
    unchanged = [_choose(tmp_path, says)[0] for says in ("", "9", "the fruit", "1 or 2")]
    assert len({tuple(choice.score.tolist()) for choice in unchanged}) == 1
    assert all(choice.failed == 1 and choice.score[0] not in (CHOSEN, REFUSED) for choice in unchanged)
