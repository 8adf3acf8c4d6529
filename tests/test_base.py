"""A run that grows from a base: the same result as from scratch, for work that follows the batch and not the base."""

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from skimage import data
from sklearn.datasets import load_sample_image

from curation.alterations import alterations, altered, spread
from curation.errors import ConfigError, SourceError, StaleInput
from curation.tables import Run
from graph.refused import rounds
from jobs.adopt import ADOPTED, adopted, base_rows
from jobs.config import read_config
from jobs.explain import explain
from jobs.pipeline import STAGES as ALL_STAGES
from jobs.pipeline import pipeline
from jobs.progress import Lines
from jobs.runner import Limits, Outcome, run_stages

pytestmark = [pytest.mark.ray, pytest.mark.slow]

STAGES = (
    "ingest", "profile", "exact", "embed", "quantise", "lists", "nearest", "knn", "candidates", "join", "edges", "keypoints",
    "verify", "forests", "components", "partition", "communities", "confirm", "duplicates",
)  # fmt: skip
OLD = ("astronaut", "coffee", "chelsea", "rocket", "camera", "hubble_deep_field")
NEW = ("retina", "clock", "coins", "china.jpg")
K = 6


def photo(name: str) -> np.ndarray:
    picture = load_sample_image(name) if name.endswith(".jpg") else getattr(data, name)()
    colour = np.repeat(picture[:, :, None], 3, 2) if picture.ndim == 2 else picture[:, :, :3]
    small = Image.fromarray(np.ascontiguousarray(colour))
    small.thumbnail((320, 320))
    return np.asarray(small)


def write(folder: Path, names: tuple[str, ...], *, copies: int, originals: bool, turn: int) -> None:
    """Write photographs and altered copies of them, each as a file of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    for place, name in enumerate(names):
        pixels = photo(name)
        if originals:
            Image.fromarray(pixels).save(folder / f"{Path(name).stem}.png")
        chosen = spread([a for a in alterations(held_out=False) if a.level == "light"], copies, turn=turn + place)
        for alteration, changed in altered(pixels, chosen, np.random.default_rng(place)):
            Image.fromarray(changed).save(folder / f"{Path(name).stem}-{alteration.kind}.png")


def grow(
    source: Path, out: Path, *, method: str = "verified", redo: tuple[str, ...] = (), until: str = "duplicates", **keys: object
) -> dict[str, Outcome]:
    """Run the stages up to `until` and return their outcomes by name."""
    settings = {"ingest": {"part_rows": 6}, "knn": {"k": K}, "verify": {"pairs_per_item": 40}, "dedup": {"method": method}}
    light = {"embed": {"model": "thumbnail_encoder:Thumbnail"}}  # the default encoder grows in test_base_run
    config = read_config(None, {"source": str(source), "out": str(out), **settings, **light, **keys})
    plan = [planned for planned in pipeline(config) if planned.stage.name in STAGES[: STAGES.index(until) + 1]]
    return {outcome.name: outcome for outcome in run_stages(Run(out), plan, limits=Limits(), redo=redo, progress=Lines())}


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two folders: old/ with copies, and new/ with other photographs, more copies of old ones, and files of old bytes."""
    root = tmp_path_factory.mktemp("collection")
    write(root / "old", OLD, copies=3, originals=True, turn=0)
    write(root / "new", NEW, copies=2, originals=True, turn=2)
    write(root / "new", OLD[:4], copies=2, originals=False, turn=5)
    (root / "new" / "again.png").write_bytes((root / "old" / "coffee.png").read_bytes())
    return root


@pytest.fixture(scope="module")
def base(collection: Path, shared_ray: object, tmp_path_factory: pytest.TempPathFactory) -> Run:
    run = Run(tmp_path_factory.mktemp("runs") / "base")
    grow(collection / "old", run.root)
    return run


@pytest.fixture(scope="module")
def grown(collection: Path, base: Run) -> tuple[Run, dict[str, Outcome]]:
    run = Run(base.root.parent / "grown")
    return run, grow(collection / "new", run.root, base=str(base.root))


@pytest.fixture(scope="module")
def scratch(collection: Path, base: Run) -> Run:
    run = Run(base.root.parent / "scratch")
    grow(collection, run.root)
    return run


def copies(run: Run) -> set[frozenset[str]]:
    """Return the verified copies as pairs of paths."""
    uris = run.read("images", ["uri"])["uri"].to_pylist()
    tables = [run.read(table) for table in ("verdicts", "confirmations") if run.has(table)]
    rows = [row for row in pa.concat_tables(tables).to_pylist() if row["relation"] == "copy"]
    return {frozenset((uris[row["row_a"]], uris[row["row_b"]])) for row in rows}


def keepers(run: Run) -> dict[str, str]:
    """Return the path of every image's keeper by its own path."""
    uris = run.read("images", ["uri"])["uri"].to_pylist()
    rows = run.read("duplicates", ["keeper_row"])["keeper_row"].to_pylist()
    return {uri: uris[row] if row is not None else uri for uri, row in zip(uris, rows, strict=True)}


def pictures_kept(run: Run) -> dict[str, str]:
    """Return the id of every image's keeper by the image's path: of files of the same bytes any may be the keeper."""
    images = run.read("images", ["uri", "id"])
    ids = dict(zip(images["uri"].to_pylist(), images["id"].to_pylist(), strict=True))
    return {uri: ids[keeper] for uri, keeper in keepers(run).items()}


def groups(run: Run) -> set[frozenset[str]]:
    found: dict[str, set[str]] = {}
    for uri, keeper in keepers(run).items():
        found.setdefault(keeper, set()).add(uri)
    return {frozenset(members) for members in found.values()}


def test_the_base_is_the_beginning_of_the_grown_run(base: Run, grown: tuple[Run, object]) -> None:
    run, _ = grown
    count = base.read("images").num_rows
    assert base_rows(run) == count
    for table in ("images", "metrics", "embeddings", "keypoints"):
        assert run.read(table).slice(0, count).equals(base.read(table))
        assert (run.folder(table) / "part-00000.parquet").samefile(base.folder(table) / "part-00000.parquet")


def test_old_decisions_stand(base: Run, grown: tuple[Run, object]) -> None:
    before, now = keepers(base), keepers(grown[0])
    assert {uri: now[uri] for uri in before} == before


def test_a_new_copy_names_its_keeper_in_the_base(collection: Path, grown: tuple[Run, object]) -> None:
    run, _ = grown
    (story,) = explain(run, str(collection / "new" / "again.png"))
    old = {str(collection / "old" / "coffee.png"), keepers(run)[str(collection / "old" / "coffee.png")]}
    assert keepers(run)[str(collection / "new" / "again.png")] in old
    assert story["duplicates"]["keeper_row"] < base_rows(run)


def test_every_dropped_image_has_evidence_against_a_keeper_that_stays(grown: tuple[Run, object]) -> None:
    rows = grown[0].read("duplicates").to_pylist()
    for row in rows:
        if row["keeper_row"] is not None:
            assert rows[row["keeper_row"]]["keeper_row"] is None
            assert json.loads(row["evidence"])["method"]


def test_growing_finds_the_copies_that_a_run_from_scratch_finds(grown: tuple[Run, object], scratch: Run) -> None:
    found, wanted = copies(grown[0]), copies(scratch)
    assert len(wanted) > 40
    assert len(wanted & found) / len(wanted) >= 0.97  # candidates: an old image's list does not gain new ones by itself
    assert len(found - wanted) / len(wanted) <= 0.1  # and forgets none that a longer list would have pushed out
    same = groups(grown[0]) & groups(scratch)
    assert len(same) / len(groups(scratch)) >= 0.9


def test_keepers_chosen_anew_are_those_from_scratch(
    collection: Path, base: Run, grown: tuple[Run, object], scratch: Run, tmp_path: Path
) -> None:
    out = shutil.copytree(grown[0].root, tmp_path / "run")
    outcomes = grow(collection / "new", out, base=str(base.root), duplicates={"rekey_base": True}, redo=("duplicates",))
    assert [name for name, outcome in outcomes.items() if outcome.state == "done"] == ["duplicates"]
    now, wanted = pictures_kept(Run(out)), pictures_kept(scratch)
    assert np.mean([now[uri] == wanted[uri] for uri in wanted]) >= 0.97


def test_work_follows_the_batch(collection: Path, base: Run, grown: tuple[Run, dict[str, Outcome]]) -> None:
    run, outcomes = grown
    images = len(list((collection / "new").iterdir()))
    parts = -(-images // 6)
    for name in ("ingest", "profile", "embed", "knn", "keypoints"):
        assert len(outcomes[name].results) == parts
        assert sum(result["rows"] for result in outcomes[name].results) == images
    compared = sum(result["rows"] for name in ("verify", "confirm") for result in outcomes[name].results)
    assert 0 < compared <= 2 * K * images
    assert run.read("verdicts").num_rows == base.read("verdicts").num_rows + sum(r["rows"] for r in outcomes["verify"].results)


def test_a_larger_base_asks_for_the_same_work(collection: Path, grown: tuple[Run, dict[str, Outcome]], tmp_path: Path) -> None:
    run, _ = grown
    write(tmp_path / "more", ("flower.jpg", "moon"), copies=1, originals=True, turn=0)
    outcomes = grow(tmp_path / "more", tmp_path / "run", base=str(run.root))  # the base has a base itself
    assert base_rows(Run(tmp_path / "run")) == run.read("images").num_rows
    assert [len(outcomes[name].results) for name in ("ingest", "profile", "embed", "knn", "keypoints")] == [1] * 5
    assert sum(result["rows"] for name in ("verify", "confirm") for result in outcomes[name].results) <= 2 * K * 4
    before, now = keepers(run), keepers(Run(tmp_path / "run"))
    assert {uri: now[uri] for uri in before} == before


def test_of_the_whole_folder_only_what_is_new_is_read(collection: Path, base: Run, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="already in the base"):
        grow(collection / "old", tmp_path / "none", base=str(base.root))
    grow(collection, tmp_path / "run", base=str(base.root), until="ingest")
    run = Run(tmp_path / "run")
    assert run.read("images").num_rows == base.read("images").num_rows + len(list((collection / "new").iterdir()))


def test_a_second_call_does_nothing_and_a_changed_base_is_stale(collection: Path, base: Run, grown: tuple[Run, object]) -> None:
    run, _ = grown
    assert {o.state for o in grow(collection / "new", run.root, base=str(base.root)).values()} == {"current"}
    path = base.folder("images") / "_manifest.json"
    text = path.read_text()
    path.write_text(text.replace(base.digest("images"), "0" * 64))
    try:
        with pytest.raises(StaleInput, match=r"images/ is stale: its input base was .* and is now 00000000"):
            grow(collection / "new", run.root, base=str(base.root))
    finally:
        path.write_text(text)


def test_what_was_made_otherwise_is_made_again_for_all(
    collection: Path, base: Run, grown: tuple[Run, object], tmp_path: Path
) -> None:
    run = Run(shutil.copytree(grown[0].root, tmp_path / "run"))
    keys = {"base": str(base.root), "keypoints": {"max_keypoints": 100}}
    outcomes = grow(collection / "new", run.root, redo=("keypoints",), until="verify", **keys)
    assert adopted(run, "embeddings").parts > 0
    assert adopted(run, "keypoints").parts == adopted(run, "verdicts").parts == 0
    assert len(outcomes["keypoints"].results) == run.num_parts("images")
    assert run.read("verdicts").num_rows == run.read("edges").num_rows


def test_the_fast_method_grows_as_well(collection: Path, shared_ray: object, tmp_path: Path) -> None:
    grow(collection / "old", tmp_path / "base", method="fast")
    outcomes = grow(collection / "new", tmp_path / "grown", method="fast", base=str(tmp_path / "base"))
    grow(collection, tmp_path / "scratch", method="fast")
    images = len(list((collection / "new").iterdir()))
    assert sum(result["rows"] for result in outcomes["verify"].results) <= K * images
    found, wanted = copies(Run(tmp_path / "grown")), copies(Run(tmp_path / "scratch"))
    assert len(wanted & found) / len(wanted) >= 0.97
    before, together = keepers(Run(tmp_path / "base")), Run(tmp_path / "grown").read("duplicates")
    keys = {"base": str(tmp_path / "base"), "components": {"images_per_item": 8}}
    grow(collection / "new", tmp_path / "grown", method="fast", redo=("components",), **keys)  # many bins in place of one
    assert Run(tmp_path / "grown").num_parts("components") > 4
    assert Run(tmp_path / "grown").read("duplicates").equals(together)
    keys |= {"fast": {"max_distance": 4}}  # what the base took for copies is no longer taken for one
    grow(collection / "new", tmp_path / "grown", method="fast", redo=("verify",), **keys)
    now = keepers(Run(tmp_path / "grown"))
    assert {uri: now[uri] for uri in before} == before


SIMILARITY: dict[str, object] = {
    "method": "similarity",
    "join": {"min_similarity": 0.8, "engine": "ivf", "nlist": 4, "nprobe": 2},
    "components": {"min_similarity": 0.9},
}


def test_another_method_in_the_same_folder_forgets_the_verdicts_of_the_first(collection: Path, base: Run, tmp_path: Path) -> None:
    grow(collection / "old", tmp_path / "fresh", method="fast")
    run = Run(shutil.copytree(base.root, tmp_path / "run"))
    grow(collection / "old", run.root, method="fast", redo=("verify",))
    assert run.has("confirmations")  # they stay, for the way back
    assert run.read("duplicates").equals(Run(tmp_path / "fresh").read("duplicates"))
    assert rounds(run) == ("verdicts",)


def test_the_similarity_method_grows_as_well(collection: Path, shared_ray: object, tmp_path: Path) -> None:
    base, grown, anew, scratch = (Run(tmp_path / name) for name in ("base", "grown", "anew", "scratch"))
    grow(collection / "old", base.root, **SIMILARITY)
    outcomes = grow(collection / "new", grown.root, base=str(base.root), **SIMILARITY)
    shutil.copytree(grown.root, anew.root)
    keys = {"base": str(base.root), "duplicates": {"rekey_base": True}, **SIMILARITY}
    grow(collection / "new", anew.root, redo=("partition", "duplicates"), **keys)
    grow(collection, scratch.root, **SIMILARITY)
    images = len(list((collection / "new").iterdir()))
    assert sum(result["rows"] for result in outcomes["embed"].results) == images
    assert adopted(grown, "lists").parts and adopted(grown, "pairs").parts
    assert grown.read("edges")["row_b"].to_numpy()[adopted(grown, "edges").rows :].min() >= base_rows(grown)
    before, now = keepers(base), keepers(grown)
    assert {uri: now[uri] for uri in before} == before
    assert all(now[now[uri]] == now[uri] for uri in now)
    wanted, found = pictures_kept(scratch), pictures_kept(anew)
    assert np.mean([found[uri] == wanted[uri] for uri in wanted]) >= 0.97  # centroids are the base's own
    kept = [sum(uri == keeper for uri, keeper in keepers(some).items()) for some in (grown, scratch)]
    assert kept[0] <= 1.1 * kept[1]


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"base": "out"}, "base and out are the same folder"),
        (
            {"base": "nowhere", "dedup": {"method": "similarity"}, "join": {"engine": "faiss"}},
            "base does not work with join.engine faiss",
        ),
        ({"duplicates": {"rekey_base": True}}, "rekey_base has no effect without `base`"),
    ],
)
def test_a_base_that_cannot_be_grown_from_is_refused(
    keys: dict[str, object], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=message):
        pipeline(read_config(None, {"source": "a", "out": "out", **keys}))


def test_a_base_that_is_not_finished_is_refused_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is not a finished run: it has no complete images/"):
        grow(tmp_path, tmp_path / "out", base=str(tmp_path / "nowhere"))
    assert not (tmp_path / "out").exists()


def test_adopted_tables_are_tables_of_the_pipeline() -> None:
    assert set(ADOPTED) <= {stage.table for stage in ALL_STAGES}
