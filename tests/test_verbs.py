"""The command line's verbs without Ray: mistakes are one line on stderr, the right exit code, and no traceback."""

import subprocess
import sys
from pathlib import Path

import pytest
from image_rows import image_rows, save
from skimage import data

from curation.errors import SourceError
from curation.ledger import balance
from curation.tables import Cost, Run
from jobs.__main__ import main
from jobs.ingest import plan
from jobs.train import plan as plan_training


def call(*arguments: str, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(sys, "argv", ["imageloom", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("status", "nowhere"), 2, "nowhere is not a run folder"),
        (("explain", "nowhere", "x"), 2, "nowhere is not a run folder"),
        (("report", "nowhere"), 2, "nowhere is not a run folder"),
        (("validate", "nowhere"), 2, "nowhere is not a run folder"),
        (("search", "nowhere", "--text", "x"), 2, "nowhere is not a run folder"),
        (("voids", "nowhere", "--concepts", "x"), 2, "nowhere is not a run folder"),
        (("remediate", "nowhere", "--failures", "x"), 2, "nowhere is not a run folder"),
        (("sample", "nowhere", "--prompt", "x", "--out", "o"), 9, "nowhere is no checkpoint"),
        (("train", "nowhere", "none.yaml", "--out", "o"), 2, "none.yaml cannot be read"),
        (("train", "nowhere", "run.yaml", "--out", "o"), 2, "run.yaml has no section `train`"),
        (("run", "--source", "nowhere", "--out", "o"), 3, "nowhere does not exist"),
        (("run", "--source", ".", "--out", "."), 2, "the same folder"),
        (("run", "--source", ".", "--out", "file"), 2, "file cannot be made"),
    ],
)
def test_a_mistake_is_one_line_and_its_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], arguments: tuple[str, ...], code: int,
    message: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    Path("run.yaml").write_text("source: a\n")
    assert call(*arguments, monkeypatch=monkeypatch) == code
    error = capfd.readouterr().err
    assert message in error
    assert error.startswith("imageloom: ")
    assert len(error.splitlines()) == 1
    assert not Path("_lock").exists()


@pytest.mark.parametrize("option", [("--num-steps", "0"), ("--guidance", "0.5"), ("--width-px", "0")])
def test_options_out_of_range_are_refused(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], option: tuple[str, str]
) -> None:
    assert call("sample", "nowhere", "--prompt", "x", "--out", "o", *option, monkeypatch=monkeypatch) == 2
    assert f"Invalid value for '{option[0]}'" in capfd.readouterr().err


def test_ctrl_c_says_how_to_go_on(tmp_path: Path) -> None:
    code = (
        "import sys, jobs.status, jobs.__main__ as verbs\n"
        "def interrupt(*_): raise KeyboardInterrupt\n"
        "jobs.status.status = interrupt\n"
        "sys.argv = ['imageloom', 'status', sys.argv[1]]\n"
        "verbs.main()"
    )
    run = one_image(tmp_path)
    ended = subprocess.run([sys.executable, "-c", code, str(run.root)], capture_output=True, text=True, timeout=60)
    assert ended.returncode == 130
    assert "run the same command again to continue" in ended.stderr
    assert "Traceback" not in ended.stderr


def one_image(root: Path) -> Run:
    run = Run(root / "run")
    run.commit_part("images", 0, image_rows([save(root, "a.png", data.astronaut())]), fingerprint="f", cost=Cost(0, 0))
    return run


def test_what_ingest_leaves_out_is_in_the_ledger(tmp_path: Path) -> None:
    run = one_image(tmp_path)
    (run.root / "_lock").touch()
    (tmp_path / "notes.md").touch()
    assert len(plan(run, source=str(tmp_path), part_rows=9)) == 1
    assert balance(run)["left_out"] == {".md": 1, "run folder": 1}


def test_a_run_that_kept_nothing_has_nothing_to_train_on(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no image was kept"):
        plan_training(Run(tmp_path))
