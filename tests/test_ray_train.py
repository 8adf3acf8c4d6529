import os
import signal
import threading
import time
from pathlib import Path

import psutil
import pytest
from parallel_run import config, losses
from tiny_shards import squares, write_tiny_shards

from curation.errors import StaleInput
from jobs.ray_train import Job, train_on_workers, work
from model.train import train

pytestmark = pytest.mark.ray

CONFIG = config(num_steps=20, checkpoint_every=5, validation=None, preview=None)


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_shards(tmp_path_factory.mktemp("ray"), squares(44))


def kill_one_process(log: Path, killed: list[int]) -> None:
    """Kill -9 a training process of Ray as soon as the log has 7 lines."""
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        if log.is_file() and len(log.read_text().splitlines()) >= 7:
            for process in psutil.Process().children(recursive=True):
                if "RayTrainWorker" in " ".join(process.cmdline()):
                    os.kill(process.pid, signal.SIGKILL)
                    killed.append(process.pid)
                    return
        time.sleep(0.01)


def test_a_killed_process_is_restarted_and_the_losses_are_those_of_one_process(
    shared_ray: dict[str, float], shards: Path, tmp_path: Path
):
    killed: list[int] = []
    killer = threading.Thread(target=kill_one_process, args=(tmp_path / "ray" / "log.jsonl", killed))
    killer.start()
    seen: list[int] = []
    ended = train_on_workers(
        CONFIG, shards=shards, out=tmp_path / "ray", workers=2, progress=lambda line: seen.append(line["step"])
    )
    killer.join()
    assert len(killed) == 1
    train(CONFIG, shards=shards, out=tmp_path / "one")
    assert losses(tmp_path / "ray") == pytest.approx(losses(tmp_path / "one"), abs=1e-5)
    assert ended["step"] == 20
    assert ended["checkpoint"] == tmp_path / "ray" / "step-000020"
    assert seen


def test_a_mistake_is_an_answer_and_not_a_death_that_is_tried_again(shards: Path, tmp_path: Path):
    train(config(num_steps=2, validation=None, preview=None), shards=shards, out=tmp_path)
    ended = work({"job": Job(CONFIG, str(shards), str(tmp_path))})
    assert isinstance(ended.error, StaleInput)
    assert "num_steps = 2, now 20" in str(ended.error)
