"""Explaining images by name: what matches, what does not, and how damage is told."""

from pathlib import Path

import pytest
from image_rows import image_rows, save
from skimage import data

from curation.errors import ConfigError
from curation.tables import Cost, Run
from jobs.explain import MAX_STORIES, explain
from jobs.story import tell


def images_of(root: Path, *names: str) -> Run:
    run = Run(root / "run")
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
    rows = image_rows([save(root, name, data.astronaut()[:32, :32]) for name in names])
    run.commit_part("images", 0, rows, fingerprint="f", cost=Cost(0, 0))
    return run


def keys(run: Run, name: str) -> list[str]:
    return [story["images"]["uri"].rpartition("/")[2] for story in explain(run, name)]


@pytest.mark.parametrize("name", ["", ".", "/", "./"])
def test_a_name_of_nothing_matches_no_image(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="no image"):
        explain(images_of(tmp_path, "a.png"), name)


def test_a_path_may_begin_with_dots(tmp_path: Path) -> None:
    run = images_of(tmp_path, ".well/known.png", "a.png")
    assert keys(run, ".well/known.png") == ["known.png"]
    assert keys(run, "./a.png") == keys(run, "../a.png") == ["a.png"]


def test_every_image_of_a_shared_name_is_told_up_to_a_limit(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run = images_of(tmp_path, *(f"{folder}/x.png" for folder in range(MAX_STORIES + 1)))
    assert len(explain(run, "x.png")) == MAX_STORIES
    assert f"{MAX_STORIES + 1} images are called 'x.png'" in caplog.text
    assert len(explain(run, "7/x.png")) == 1


def test_stories_of_a_run_that_packed_nothing_are_told(tmp_path: Path) -> None:
    run = images_of(tmp_path, "a.png")
    run.finish("shards", {"stage": "shard"})
    (story,) = explain(run, "a.png")
    assert story["shards"] is None


def test_a_name_cannot_steer_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tell(explain(images_of(tmp_path, "a\x1b[31m\nb.png"), "a\x1b[31m\nb.png"))
    printed = capsys.readouterr().out
    assert "\x1b" not in printed
    assert "a\\x1b[31m\\nb.png" in printed
