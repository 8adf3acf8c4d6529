"""Search: vectors against brute force, and the verb's answers on a small run."""

import json
from pathlib import Path

import numpy as np
import pytest
from image_rows import save
from searchable import COLOURS, picture, write_run

from curation.errors import ConfigError, SourceError
from curation.tables import Run
from graph.knn import knn
from graph.search import corpus_mean, cosines, nearest
from jobs import corpus
from jobs.search import answer
from jobs.search_view import plain, sheet


def vectors(num: int, *, dimension: int = 24, seed: int = 0) -> np.ndarray:
    """Return unit vectors about a common direction, with a failed row, a zero row and two equal rows, as a network's are."""
    generator = np.random.default_rng(seed)
    found = (generator.normal(size=(num, dimension)) + 2 * generator.normal(size=dimension)).astype(np.float16)
    found = (found / np.linalg.norm(found.astype(np.float32), axis=1, keepdims=True)).astype(np.float32)
    found[3], found[5], found[7] = np.nan, 0, found[6]
    return found


def in_parts(matrix: np.ndarray, rows: int) -> list[tuple[int, np.ndarray]]:
    return [(start, matrix[start : start + rows]) for start in range(0, len(matrix), rows)]


def brute_force(matrix: np.ndarray, query: np.ndarray, k: int, mean: np.ndarray, banned: set[int]) -> list[int]:
    unit = lambda v: v / np.linalg.norm(v)  # noqa: E731
    usable = [row for row in range(len(matrix)) if np.isfinite(matrix[row]).all() and matrix[row].any() and row not in banned]
    centred = [(-float(unit(unit(matrix[row]).astype(np.float64) - mean) @ unit(unit(query) - mean)), row) for row in usable]
    chosen = [row for _, row in sorted((round(value, 7), row) for value, row in centred)[:k]]
    return sorted(chosen, key=lambda row: (-round(float(unit(matrix[row]).astype(np.float64) @ unit(query)), 6), row))


@pytest.mark.parametrize("part_rows", [1000, 64, 7])
@pytest.mark.parametrize("k", [1, 5, 300])
def test_nearest_equals_brute_force_however_the_parts_are_cut(part_rows: int, k: int) -> None:
    matrix, query = vectors(300), vectors(9, seed=1)[0]
    mean = corpus_mean(lambda: in_parts(matrix, part_rows)).astype(np.float64)
    ((rows, cosine),) = nearest(
        queries=query[None], parts=in_parts(matrix, part_rows), k=k, mean=mean.astype(np.float32), excluded=np.array([11])
    )
    assert rows.tolist() == brute_force(matrix, query.astype(np.float64), k, mean, {11})
    assert cosine == pytest.approx(matrix[rows] @ query, abs=1e-6)
    assert not {3, 5, 11} & set(rows.tolist())


def test_images_of_the_run_get_the_neighbours_that_the_knn_table_has() -> None:
    matrix = np.delete(vectors(200), [3, 5, 7], axis=0)
    table = knn(vectors=matrix, ids=[str(row) for row in range(len(matrix))], k=8)
    mean = corpus_mean(lambda: in_parts(matrix, 50))
    for row in (0, 17, 120):
        ((rows, cosine),) = nearest(
            queries=matrix[row][None], parts=in_parts(matrix, 50), k=8, mean=mean, excluded=np.array([row])
        )
        assert rows.tolist() == table["rows"][row].as_py()
        assert cosine == pytest.approx(table["similarities"][row].as_py(), abs=1e-6)


def test_the_mean_counts_equal_vectors_once() -> None:
    matrix = np.delete(vectors(50), [3, 5], axis=0)
    many = np.concatenate([matrix, np.repeat(matrix[:1], 500, axis=0)])
    assert corpus_mean(lambda: in_parts(many, 13)) == pytest.approx(np.unique(matrix, axis=0).mean(0), abs=1e-6)


def test_without_an_image_there_is_nothing_near() -> None:
    none = np.full((4, 3), np.nan, np.float32)
    ((rows, cosine),) = nearest(queries=np.eye(3, dtype=np.float32)[:1], parts=[(0, none)], k=3)
    assert rows.size == cosine.size == 0
    assert np.isnan(cosines(query=np.eye(3, dtype=np.float32)[0], vectors=none)).all()
    with pytest.raises(ValueError, match="k = 0"):
        nearest(queries=none, parts=[], k=0)


COLOUR_OF_ROW = ("red", "red", "green", "blue", "yellow", "white", "black", "red", "green", "blue", "yellow", "red", "black")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Thirteen pictures in two parts, row 7 a copy of row 0, one broken file; the embedder reads texts."""
    return write_run(tmp_path_factory.mktemp("search"), COLOUR_OF_ROW, copies={7: 0})


@pytest.fixture(scope="module")
def blind(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The same without a text tower."""
    return write_run(tmp_path_factory.mktemp("blind"), COLOUR_OF_ROW, encoder="BlindEncoder")


def colours(found: dict) -> list[str]:
    return [COLOUR_OF_ROW[card["row"]] for card in found["results"]]


def test_a_picture_finds_itself_first_and_then_its_colour(run: Run) -> None:
    found = answer(run, image=run.root.parent / "source" / "003-blue.png", k=2)
    assert [card["row"] for card in found["results"]] == [3, 9]
    assert found["results"][0]["similarity"] == pytest.approx(1.0, abs=1e-3)  # float16 has 11 bits


def test_an_image_of_the_run_is_not_among_its_own_neighbours(run: Run) -> None:
    identity = run.read("images")["id"][0].as_py()
    found = answer(run, id_=identity[:10], k=3)
    assert colours(found) == ["red", "red", "red"]
    assert 0 not in [card["row"] for card in found["results"]]


def test_a_stored_vector_is_searched_by_its_row(run: Run, tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", np.eye(len(COLOURS), dtype=np.float32))
    assert colours(answer(run, vector=f"{tmp_path}/v.npy:3", k=2)) == ["yellow", "yellow"]
    for place, message in (("v.npy", r"holds \(6, 6\)"), ("v.npy:9", "cannot be read"), ("no.npy:0", "cannot be read")):
        with pytest.raises(ConfigError, match=message):
            answer(run, vector=f"{tmp_path}/{place}")


def test_a_text_tower_finds_by_meaning_and_words_find_by_letters(run: Run) -> None:
    near = answer(run, text="something green", k=2)
    assert (near["by"], colours(near)) == ("similarity", ["green", "green"])
    lettered = answer(run, text="something green", k=2, words=True)
    assert (lettered["by"], colours(lettered)) == ("score", ["green", "green"])
    assert [card["complete"] for card in lettered["results"]] == [False, False]


def test_words_find_captions_tags_and_text_read_in_the_image(blind: Run) -> None:
    found = answer(blind, text="yellow sale", k=9)
    assert colours(found) == ["yellow", "yellow"]
    assert found["results"][0]["matched"] == ["name", "caption", "tags", "text"]
    assert colours(answer(blind, text="蓝")) == colours(answer(blind, text="蓝色方块", k=2)) == ["blue", "blue"]
    assert plain(answer(blind, text="黑色", k=1))["results"][0]["snippet"].count("[黑色]") == 1


def test_only_kept_images_are_found_when_asked(run: Run) -> None:
    assert 7 in [card["row"] for card in answer(run, text="red", k=9)["results"]]
    for words in (True, False):
        found = answer(run, text="red", k=9, kept_only=True, words=words)
        assert 7 not in [card["row"] for card in found["results"]]
        assert all(card["status"] == "kept" for card in found["results"])


@pytest.mark.parametrize("name", ["7", "007-red.png", "0"])
def test_a_community_is_told_from_any_member(run: Run, name: str) -> None:
    found = answer(run, community=name, k=2)
    assert [(card["row"], card["is_keeper"]) for card in found["members"]] == [(0, True), (7, False)]
    assert found["members"][0]["similarity"] == pytest.approx(1.0)
    assert not {0, 7} & {card["row"] for card in found["results"]}
    assert colours(found) == ["red", "red"]


def test_answers_are_json(run: Run) -> None:
    for question in ({"text": "red"}, {"community": "0"}, {"text": "red", "words": True}):
        assert json.loads(json.dumps(plain(answer(run, **question))))["results"]  # type: ignore[arg-type]


def test_the_contact_sheet_escapes_words_and_refers_to_nothing(tmp_path: Path) -> None:
    hostile = write_run(tmp_path, ["red", "blue"], encoder="BlindEncoder")
    page = sheet(hostile, answer(hostile, text='red "><script>alert(1)</script>'))
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "default-src 'none'" in page
    assert 'src="data:image/png;base64,' in page
    assert "http" not in page.replace("http-equiv", "")
    assert page == sheet(hostile, answer(hostile, text='red "><script>alert(1)</script>'))


def test_a_failed_image_is_shown_with_its_failure_and_has_no_neighbours(run: Run) -> None:
    with pytest.raises(ConfigError, match=r"broken.png has no embedding"):
        answer(run, id_="broken.png")
    found = answer(run, community="broken.png")
    assert (found["num_members"], found["results"]) == (1, [])
    assert found["members"][0]["status"] == "failed"
    assert "no vector" in sheet(run, found)


@pytest.mark.parametrize(
    ("asked", "error", "message"),
    [
        ({}, ConfigError, "exactly one of --image, --text"),
        ({"text": "a", "id_": "b"}, ConfigError, "given: --text, --id"),
        ({"id_": "a", "words": True}, ConfigError, "--words goes with --text"),
        ({"text": "?!"}, ConfigError, "no letter or digit"),
        ({"image": Path("nowhere.jpg")}, SourceError, r"nowhere.jpg cannot be read as an image: missing"),
        ({"image": Path(__file__)}, SourceError, "not_an_image"),
        ({"community": "nobody"}, ConfigError, "no image in .* is called 'nobody'"),
        ({"community": "99999"}, ConfigError, "no image in"),
        ({"id_": "ffffffffffff"}, ConfigError, "no image in"),
    ],
)
def test_mistakes_are_typed_and_one_line(blind: Run, asked: dict, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message) as caught:
        answer(blind, **asked)
    assert len(str(caught.value).splitlines()) == 1


def test_a_run_without_words_or_tower_says_what_to_do(tmp_path: Path) -> None:
    silent = write_run(tmp_path, ["red"], encoder="BlindEncoder", captions=False, decided=False)
    with pytest.raises(ConfigError, match=r"has no words to search.*--image"):
        answer(silent, text="red")
    with pytest.raises(ConfigError, match="run the stage select first"):
        answer(silent, id_="000-red.png", kept_only=True)


def test_the_index_follows_the_tables_and_may_be_deleted(tmp_path: Path) -> None:
    run = write_run(tmp_path, ["red", "green"], encoder="BlindEncoder")
    place = run.root / corpus.FOLDER / "words.sqlite"
    assert len(answer(run, text="square")["results"]) == 2
    before = place.stat().st_mtime_ns
    answer(run, text="square")
    assert place.stat().st_mtime_ns == before
    place.unlink()
    assert len(answer(run, text="square")["results"]) == 2
    (run.root / "captions" / "_commits" / "part-00000.json").unlink()
    (run.root / "captions" / "_manifest.json").unlink()
    assert answer(run, text="square")["results"] == []
    assert len(answer(run, text="thing")["results"]) == 2


def test_a_picture_of_another_kind_is_searched_too(run: Run, tmp_path: Path) -> None:
    path = save(tmp_path, "query.webp", picture("yellow", 77))
    assert colours(answer(run, image=path, k=2)) == ["yellow", "yellow"]
    assert set(COLOURS) >= set(COLOUR_OF_ROW)
