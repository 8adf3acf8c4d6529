"""The report's section on losses of edits: real pair shards, planted losses."""

import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from test_loss_exhibit import commit
from tiny_pairs import tiny_pairs, write_tiny_pairs

from curation.errors import ConfigError
from curation.pair_loss_exhibit import pair_loss_exhibit
from curation.report import render
from curation.schema import EDIT_PAIRS, PAIR_LOSS, PAIR_SHARDS, conform
from curation.tables import Run

HARD, UNHELPED, BROKEN = 3, 5, 7


def losses_of(pairs: list[str]) -> pa.Table:
    """Losses at two times, a third of them of pairs that training never saw; one pair could not be read."""
    rows = []
    for number, pair in enumerate(pairs):
        about = {"pair": pair, "kind": "parametric", "task": ("style", "attribute")[number % 2], "group": "all",
                 "held_out": number % 3 == 0, "step": 40}  # fmt: skip
        if number == BROKEN:
            rows.append(about | {"error": "corrupt: cut"})
            continue
        for t, scale in ((0.2, 3.0), (0.8, 1.0)):
            said = {"level": "instruction", "language": ("en", "zh")[number % 2], "t": t}
            loss = scale * (2.0 if number == HARD else 0.8)
            rows.append(about | said | {"loss": loss, "loss_empty": loss if number == UNHELPED else loss + scale})
    return conform(pa.Table.from_pylist(rows, schema=PAIR_LOSS), PAIR_LOSS)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    root = tmp_path_factory.mktemp("pair-losses")
    shards = write_tiny_pairs(root / "pairs", 12)
    made = Run(root / "run")
    commit(made, "edit_pairs", tiny_pairs(12)[0], EDIT_PAIRS)
    commit(made, "pair_shards", pq.read_table(shards / "shard-000000.parquet").to_pylist(), PAIR_SHARDS)
    shutil.copy(shards / "shard-000000.tar", made.folder("pair_shards"))
    return made


@pytest.fixture(scope="module")
def losses(run: Run) -> pa.Table:
    return losses_of(run.read("pair_shards")["pair"].to_pylist())


def test_hard_edits_and_instructions_that_say_nothing_come_first(run: Run, losses: pa.Table):
    shown = pair_loss_exhibit(run, losses)
    pairs = run.read("pair_shards")["pair"].to_pylist()
    first = {listed["name"]: listed["examples"][0] for listed in shown["lists"]}
    assert first["Hardest edits"]["pair"] == pairs[HARD]
    assert first["Instructions that help least"]["pair"] == pairs[UNHELPED]
    assert first["Hardest edits"]["instruction_en"] == "make it blue"
    assert all(first["Hardest edits"][side].startswith("data:image/png") for side in ("source", "target"))
    assert (shown["pairs"], shown["errors"], shown["step"]) == (11, 1, 40)
    assert [(one["task"], one["images"]) for one in shown["task"]] == [("attribute", 5), ("style", 6)]  # the hard one is odd
    assert {one["told"] for one in shown["told"]} == {"instruction, en", "instruction, zh"}
    assert [(round(one["t"], 1), one["held_out"], one["images"]) for one in shown["times"]] == [
        (0.2, False, 7), (0.2, True, 4), (0.8, False, 7), (0.8, True, 4),
    ]  # fmt: skip


def test_the_page_has_the_section_when_it_is_asked_for(run: Run, losses: pa.Table):
    page = render(run, pair_losses=losses)
    section = page[page.index('<section id="pair-losses">') :].split("</section>")[0]
    assert '<a href="#pair-losses">' in page
    assert section.count("<img") == 24  # two pictures of six examples in two lists
    assert "变成蓝色" in section
    assert '<section id="pair-losses">' not in render(run)


def test_a_picture_that_cannot_be_read_is_left_out_and_the_rest_shown(run: Run, losses: pa.Table, tmp_path: Path):
    copy = Run(Path(shutil.copytree(run.root, tmp_path / "copy")))
    tar = next(copy.folder("pair_shards").glob("*.tar"))
    tar.write_bytes(tar.read_bytes()[:600])
    assert "not shown" in render(copy, pair_losses=losses)


def test_losses_of_other_pairs_are_an_error(run: Run, losses: pa.Table, tmp_path: Path):
    foreign = losses.set_column(0, losses.schema.field("pair"), pa.array(["0" * 32] * len(losses)))
    for where in (run, Run(tmp_path)):
        with pytest.raises(ConfigError, match="none of 23 losses is of an edit pair in"):
            pair_loss_exhibit(where, foreign)
