"""The GPU benchmarks' code, at toy size on a CPU."""

from pathlib import Path

import pytest
import torch

from benchmarks import sampling_gpu, train_gpu
from benchmarks.dit_gpu import main
from benchmarks.raw_shards import write_raw_shards
from model.attention import VARLEN


def test_every_candidate_runs_and_agrees_with_diffusers(capsys: pytest.CaptureFixture[str]):
    rows = main(["--smoke", "--px", "64", "--batch", "2", "--repeats", "1", "--backward", "--no-compile"])
    names = [row["candidate"] for row in rows]
    assert names[:3] == ["diffusers", "ours", "fused"]
    assert all(row["away"] < 1e-4 and row["seconds"] > 0 and row["mfu"] > 0 for row in rows)
    assert len(names) + capsys.readouterr().out.count("left out: attention ") == 3 + len(VARLEN)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is here: it would be measured")
def test_without_a_gpu_nothing_is_measured_and_said_so(capsys: pytest.CaptureFixture[str]):
    assert main([]) == []
    assert capsys.readouterr().out.startswith("no CUDA device: nothing was measured")


def test_the_trainers_log_is_read_and_nothing_is_saved(tmp_path: Path):
    train_gpu.write_pictures(tmp_path / "pictures", px=32)
    write_raw_shards(tmp_path / "pictures", tmp_path / "shards")
    (row,) = train_gpu.main(
        ["--smoke", "--px", "32", "--batch", "2", "--steps", "4", "--option", "plain", "--scratch", str(tmp_path)]
    )
    assert row["steps"] == 4 and row["tokens_per_second"] > 0 and 0 < row["loss"] < 10
    assert not list((tmp_path / "out").glob("step-*"))


def test_a_pipeline_of_toy_size_is_written_and_sampled_in_turn(tmp_path: Path):
    sampling_gpu.write_pipeline(tmp_path / "toy", sampling_gpu.TOY, device="cpu")
    for way in ("ours", "ours, in turn, int8"):
        (row,) = sampling_gpu.main(["--smoke", "--px", "32", "--way", way, "--scratch", str(tmp_path)])
        assert row["way"] == way and row["seconds"] > 0
