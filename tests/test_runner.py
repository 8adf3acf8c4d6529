"""The runner: skipping, resuming, staleness, worker crashes and hangs."""

import fcntl
from pathlib import Path

import pytest
from tiny_run import CONFIG, config, weights_of
from tiny_shards import squares, write_tiny_shards

from curation.errors import ConfigError, CorruptPart, StageFailed, StaleInput
from curation.tables import Cost, Run
from jobs.pipeline import STAGES
from jobs.progress import Lines
from jobs.runner import Limits, Outcome, Planned, fingerprint_of, record_of, run_stages
from jobs.stage import Stage
from model.config import TrainConfig, to_dict
from model.train import train

pytestmark = pytest.mark.ray


def go(
    run: Run, *plan: Planned, redo: tuple[str, ...] = (), timeout: float = 60.0, gpus: dict[str, float] | None = None
) -> list[Outcome]:
    limits = Limits(max_attempts=2, item_timeout_seconds=timeout, gpus=gpus or {})
    return run_stages(run, plan, limits=limits, redo=redo, progress=Lines())


def stage(function: str, table: str = "one", inputs: tuple[str, ...] = (), *, parts: int = 1, **parameters: object) -> Planned:
    """Return a stage; one part starts one worker process, more start two."""
    line = Stage(table, table, inputs, f"runner_stages:{function}", "", plan="runner_stages:plan")
    return Planned(line, {"parts": parts, **parameters})


def test_a_finished_stage_is_not_run_again(tmp_path: Path, shared_ray: dict[str, float]) -> None:
    run = Run(tmp_path)
    assert [outcome.state for outcome in go(run, stage("count"))] == ["done"]
    before = run.manifest("one")
    assert [outcome.state for outcome in go(run, stage("count"))] == ["current"]
    assert run.manifest("one") == before


def test_missing_parts_alone_are_computed_on_resume(tmp_path: Path, shared_ray: dict[str, float]) -> None:
    run = Run(tmp_path)
    go(run, stage("count", parts=3))
    run.store.delete("one/_manifest.json")
    run.store.delete("one/part-00001.parquet")
    (outcome,) = go(run, stage("count", parts=3))
    assert len(outcome.results) == 1
    assert run.read("one").num_rows == 9


def test_a_stale_message_names_every_stage_that_must_be_redone(tmp_path: Path, shared_ray: dict[str, float]) -> None:
    run = Run(tmp_path)
    followers = [stage("count", table, ("one",)) for table in ("two", "three")] + [stage("count", "four", ("two",))]
    go(run, stage("count"), *followers)
    go(run, stage("count", offset=5), redo=("one",))
    with pytest.raises(StaleInput, match=r"its input one was .* Repeat the command with --redo two --redo three to compute"):
        go(run, stage("count", offset=5), *followers)


def test_a_damaged_manifest_can_be_redone(tmp_path: Path, shared_ray: dict[str, float]) -> None:
    run = Run(tmp_path)
    go(run, stage("count"))
    (run.folder("one") / "_manifest.json").write_text('{"rows"')
    with pytest.raises(CorruptPart, match="_manifest"):
        go(run, stage("count"))
    assert [outcome.state for outcome in go(run, stage("count"), redo=("one",))] == ["done"]


def test_a_changed_parameter_is_stale_and_names_the_command(tmp_path: Path, shared_ray: dict[str, float]) -> None:
    run = Run(tmp_path)
    go(run, stage("count"))
    with pytest.raises(StaleInput, match=r"parameter offset was None and is now 5.*--redo one"):
        go(run, stage("count", offset=5))
    go(run, stage("count", offset=5), redo=("one",))
    assert run.read("one").column("id")[0].as_py() == "5-0"


def test_redo_with_the_same_result_leaves_what_follows_current(tmp_path: Path, shared_ray: dict[str, float]) -> None:
    run = Run(tmp_path)
    plan = (stage("count"), stage("count", "two", ("one",)))
    go(run, *plan)
    assert [outcome.state for outcome in go(run, *plan, redo=("one",))] == ["done", "current"]


def test_redo_with_another_result_carries_on_to_what_follows(tmp_path: Path, shared_ray: dict[str, float]) -> None:
    run = Run(tmp_path)
    go(run, stage("count"), stage("count", "two", ("one",)))
    outcomes = go(run, stage("count", offset=1), stage("count", "two", ("one",)), redo=("one",))
    assert [outcome.state for outcome in outcomes] == ["done", "done"]


def test_a_changed_input_without_redo_is_stale(tmp_path: Path, shared_ray: dict[str, float]) -> None:
    run = Run(tmp_path)
    go(run, stage("count"), stage("count", "two", ("one",)))
    go(run, stage("count", offset=1), redo=("one",))
    with pytest.raises(StaleInput, match="its input one was"):
        go(run, stage("count", offset=1), stage("count", "two", ("one",)))


def training(settings: TrainConfig) -> Planned:
    return Planned(next(stage for stage in STAGES if stage.name == "train"), to_dict(settings))


def test_a_training_is_resumed_to_the_same_bits_and_redone_for_other_steps(tmp_path: Path, shared_ray: dict[str, float]) -> None:
    run = Run(write_tiny_shards(tmp_path, squares(44)).parent)
    run.commit_part(
        "shards", 0, None, fingerprint="", cost=Cost(0, 0), published=list(run.store.list("shards")), counts={"ok": 44}
    )
    folder, planned = run.folder("checkpoints"), training(CONFIG)
    run.start("checkpoints", {**record_of(run, planned, fingerprint_of(run, planned)), "parts": 1})
    train(CONFIG, shards=run.folder("shards"), out=folder)
    straight, middle = weights_of(folder / "step-000012"), (folder / "step-000008" / "manifest.json").stat().st_mtime_ns
    run.store.delete("checkpoints/step-000012/manifest.json")  # as a kill after step 8 leaves it
    go(run, planned)
    assert weights_of(folder / "step-000012") == straight
    assert (folder / "step-000008" / "manifest.json").stat().st_mtime_ns == middle
    with pytest.raises(StaleInput, match=r"parameter num_steps was 12 and is now 6.*--redo train"):
        go(run, training(config(num_steps=6)))
    (outcome,) = go(run, training(config(num_steps=6)), redo=("train",))
    assert (outcome.state, outcome.rows) == ("done", 6)
    assert [path.name for path in sorted(folder.glob("step-*"))] == ["step-000004", "step-000006"]
    assert len((folder / "log.jsonl").read_text().splitlines()) == 6
    assert not list(tmp_path.glob(".*.discarded"))


def test_a_worker_that_dies_once_is_replaced(tmp_path: Path, shared_ray: dict[str, float]) -> None:
    run = Run(tmp_path / "run")
    go(run, stage("die_once", parts=3, marker=str(tmp_path / "died")))
    assert (tmp_path / "died").exists()
    assert run.read("one").num_rows == 9


def test_a_part_that_always_kills_its_worker_fails_by_name(tmp_path: Path, shared_ray: dict[str, float]) -> None:
    run = Run(tmp_path)
    with pytest.raises(StageFailed, match=r"one failed 2 times on part \[1\]"):
        go(run, stage("always_die", parts=3))
    assert [commit.part for commit in run.commits("one")][:1] == [0]


def test_a_part_that_hangs_is_ended_and_tried_again(tmp_path: Path, shared_ray: dict[str, float]) -> None:
    run = Run(tmp_path / "run")
    go(run, stage("hang_once", parts=3, marker=str(tmp_path / "hung")), timeout=5.0)
    assert run.read("one").num_rows == 9


def test_a_bug_in_a_stage_is_named_with_its_part(tmp_path: Path, shared_ray: dict[str, float]) -> None:
    with pytest.raises(StageFailed, match=r"one failed on part \[1\]: ZeroDivisionError: a bug in the stage"):
        go(Run(tmp_path), stage("raise_in_one", parts=3))


def test_a_second_driver_on_one_run_is_refused(tmp_path: Path) -> None:
    tmp_path.joinpath("_lock").touch()
    with (tmp_path / "_lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(ConfigError, match="in use by another imageloom process"):
            go(Run(tmp_path), stage("count"))


def test_redo_of_an_unknown_stage_names_the_stages(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--redo onee: no such stage in this run; stages are one"):
        go(Run(tmp_path), stage("count"), redo=("onee",))


def test_gpus_that_the_machine_lacks_are_refused_by_stage(tmp_path: Path, shared_ray: dict[str, float]) -> None:
    if shared_ray.get("GPU", 0) >= 1000:
        pytest.skip("this machine has a thousand GPUs")
    with pytest.raises(ConfigError, match=r"ray\.gpus asks 1000 GPUs for one"):
        go(Run(tmp_path), stage("count"), gpus={"one": 1000})
