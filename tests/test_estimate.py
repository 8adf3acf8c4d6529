"""Plans: closed forms by hand, costs against a real run's commit records, clusters as they are written, and the command."""

import dataclasses
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from curation.errors import ConfigError
from curation.tables import Run
from jobs import costs, estimate
from jobs.__main__ import app
from jobs.capacity import Capacity, Nodes, capacity
from jobs.config import read_config
from jobs.costs import PerImage
from jobs.dry_run import dry_run, duration, images_of, size
from jobs.pipeline import pipeline
from jobs.rates import kernel_rate
from jobs.runner import fingerprint_of, record_of
from jobs.stage import items
from jobs.worker import Worker

ROOT = Path(__file__).parent.parent
RATES = estimate.Rates(fp32=1e9, join=4e9)
TEN = Capacity((Nodes("node", 2, 5, 1.0, 10**9),))


def config(**changes: object):
    return read_config(None, {"source": "/images", "out": "/run", **changes})


def asked(images: int, known: dict[str, PerImage], **changes: object) -> estimate.Question:
    settings = config(**changes)
    return estimate.Question(settings, pipeline(settings), estimate.Scale(images, 1000.0, 64, 256), TEN, known, RATES)


def per_image(**changes: float) -> PerImage:
    nothing = dict.fromkeys(("cpu_seconds", "wall_seconds", "written_bytes", "peak_bytes", "held_bytes", "gpus"), 0.0)
    return PerImage(**nothing | changes, source="s")


def rows_of(question: estimate.Question) -> dict[str, estimate.Estimate]:
    return {row.stage: row for row in estimate.estimate(question)[0]}


def test_a_measured_stage_is_multiplied_out() -> None:
    row = rows_of(asked(2560, {"profile": per_image(cpu_seconds=3.6, written_bytes=500, peak_bytes=1e8)}))["profile"]
    assert row.tasks == 10  # parts of 256 rows
    assert row.cpu_hours == pytest.approx(2560 * 3.6 / 3600)
    assert row.wall_hours == pytest.approx(row.cpu_hours / 10)  # ten tasks on ten cores
    assert row.written_bytes == 2560 * 500
    assert row.read_bytes == 2560 * 1000.0  # ingest is not measured, so IMAGES counts nothing
    assert row.node_bytes == 5 * 1e8


@pytest.mark.parametrize(("tasks", "waves"), [(1, 1), (9, 1), (10, 1), (11, 2), (20, 2), (21, 3)])
def test_wall_time_is_full_waves_of_equal_tasks(tasks: int, waves: int) -> None:
    assert estimate.wall_hours(3600.0 * tasks, tasks=tasks, slots=10) == waves


def test_what_nobody_measured_is_named_and_not_counted() -> None:
    rows, _ = estimate.estimate(asked(1000, {"profile": per_image(cpu_seconds=3.6)}))
    total = estimate.totals(rows)
    assert "embed" in total["unknown"]
    assert "profile" not in total["unknown"]
    assert total["cpu_hours"] == pytest.approx(sum(row.cpu_hours for row in rows if row.cpu_hours is not None))


def test_a_figure_without_a_gpu_says_nothing_of_a_gpu() -> None:
    gpus = {"ray": {"gpus": {"embed": 0.5}}}
    without = rows_of(asked(2560, {"embed": per_image(cpu_seconds=1.0, wall_seconds=1.0)}, **gpus))["embed"]
    assert without.cpu_hours is None
    assert "not measured on a GPU" in without.basis
    measured = rows_of(asked(2560, {"embed": per_image(cpu_seconds=9.0, wall_seconds=1.0, gpus=0.5)}, **gpus))["embed"]
    assert measured.gpu_hours == pytest.approx(2560 / 3600 * 0.5)
    assert measured.wall_hours == pytest.approx(3 * 256 / 3600)  # ten tasks on the four halves of two GPUs: three waves


def test_the_graph_costs_the_square_when_exact_and_less_with_lists() -> None:
    exact = estimate.graph_of(config(dedup={"method": "similarity"}), estimate.Scale(1000, 1.0, 64, 256))
    assert exact.lists == 1
    assert exact.flops == pytest.approx(exact.brute_flops, rel=2e-3)
    large = estimate.graph_of(config(dedup={"method": "similarity"}), estimate.Scale(10**9, 1.0, 512, 256))
    assert large.flops < large.brute_flops / 1000
    assert large.parent_bytes == 8e9


def test_computed_stages_are_operations_over_a_rate() -> None:
    question = asked(10**6, {}, dedup={"method": "similarity"})
    rows, graph = estimate.estimate(question)
    join = next(row for row in rows if row.stage == "join")
    assert join.cpu_hours * 3600 == pytest.approx(graph.flops / RATES.join)
    assert join.basis == "computed"
    with_gpu = asked(10**6, {}, dedup={"method": "similarity"}, ray={"gpus": {"join": 1}})
    assert rows_of(with_gpu)["join"].basis == "computed as on CPU cores"
    knn = rows_of(asked(1000, {}))["knn"]
    assert knn.cpu_hours * 3600 == pytest.approx(1000 * 1000 * 2 * 64 / RATES.fp32)


def test_the_rate_is_that_of_the_machine() -> None:
    """Between a tenth of a GFLOP/s and ten TFLOP/s of one core, and about the same when asked again."""
    first, second = kernel_rate(dimension=256, dtype="fp32"), kernel_rate(dimension=256, dtype="fp32")
    assert 1e8 < first < 1e13
    assert first / second == pytest.approx(1, abs=0.9)  # other programs share the caches


@pytest.mark.parametrize("method", ["verified", "fast", "similarity"])
def test_every_stage_of_every_method_has_a_row(method: str) -> None:
    question = asked(10**6, {}, dedup={"method": method})
    wanted = [planned.stage.name for planned in pipeline(question.config)]
    assert list(rows_of(question)) == [name for name in wanted if name not in estimate.NOT_PLANNED]


def test_costs_of_a_real_run_are_its_commit_records(photos: Path, tmp_path: Path) -> None:
    """Two stages of a real run by plain workers: costs per image times its images are the manifests' own sums."""
    settings = read_config(None, {"source": str(photos), "out": str(tmp_path / "run"), "ingest": {"part_rows": 4}})
    run = Run(settings.out)
    for planned in pipeline(settings)[:2]:
        print_ = fingerprint_of(run, planned)
        for item in items(planned.stage, run, planned.parameters):
            Worker(settings.out).work(planned.stage, planned.parameters, print_, item)
        run.finish(planned.stage.table, record_of(run, planned, print_))
    images = run.offsets("images")[-1]
    found = costs.of_run(run)
    assert set(found) == {"ingest", "profile"}
    for stage, table in (("ingest", "images"), ("profile", "metrics")):
        assert found[stage].cpu_seconds * images == pytest.approx(run.manifest(table)["cpu_seconds"])
        written = sum(path.stat().st_size for path in run.folder(table).glob("*.parquet"))
        assert found[stage].written_bytes * images == pytest.approx(written)
    plan = dry_run(settings, run, pipeline(settings), images=None, cluster=None)
    assert plan["images"] == images
    assert plan["stages"][1]["tasks"] == run.num_parts("metrics")


def test_a_stage_in_bins_holds_one_of_them_and_one_without_bins_everything() -> None:
    known = dict.fromkeys(("duplicates", "balance"), per_image(peak_bytes=2e8, held_bytes=300))
    few, many, more = (rows_of(asked(images, known)) for images in (10**3, 10**8, 10**9))
    assert few["duplicates"].tasks == many["duplicates"].tasks == 1
    assert few["duplicates"].node_bytes == 2e8 + 3e5
    assert many["duplicates"].node_bytes == more["duplicates"].node_bytes == 2e8 + 300 * (1 << 20)
    assert more["balance"].node_bytes == 2e8 + 3e11


@pytest.mark.parametrize("method", ["verified", "fast", "similarity"])
def test_a_billion_images_fit_the_nodes_of_the_documented_cluster(method: str) -> None:
    """Stages that need more are those that nobody has measured, or that are named here."""
    settings = config(dedup={"method": method}, ingest={"part_rows": 8192})
    cluster = capacity("nodes=8,cores=64,memory_gb=512")
    question = estimate.Question(
        settings, pipeline(settings), estimate.Scale(10**9, 2e5, 512, 8192), cluster, costs.known(None, method=method), RATES
    )
    large = {row.stage for row in estimate.estimate(question)[0] if row.node_bytes > cluster.node_memory_bytes}
    assert large <= {"concepts", "balance", "shares"}


def test_a_run_that_grows_is_planned_for_its_new_images() -> None:
    known = {name: per_image(cpu_seconds=3.6, held_bytes=1) for name in ("embed", "exact")}
    whole = asked(10**6, known)
    grown = dataclasses.replace(whole, scale=dataclasses.replace(whole.scale, images=10**5, base_images=9 * 10**5))
    before, after = rows_of(whole), rows_of(grown)
    assert after["embed"].cpu_hours == pytest.approx(before["embed"].cpu_hours / 10)  # the base's vectors stand
    assert after["exact"].cpu_hours == before["exact"].cpu_hours  # copies of the base are looked for
    assert after["nearest"].cpu_hours == pytest.approx(before["nearest"].cpu_hours * 0.19)  # pairs with a new image


def test_a_run_of_few_images_does_not_replace_shipped_figures(photos: Path, tmp_path: Path) -> None:
    settings = read_config(None, {"source": str(photos), "out": str(tmp_path / "run")})
    run = Run(settings.out)
    planned = pipeline(settings)[0]
    for item in items(planned.stage, run, planned.parameters):
        Worker(settings.out).work(planned.stage, planned.parameters, fingerprint_of(run, planned), item)
    run.finish("images", {})
    assert costs.of_run(run)["ingest"].images < costs.FEW
    if "ingest" in costs.SHIPPED:
        assert costs.known(run)["ingest"].source == costs.SOURCE


def test_shipped_figures_are_those_of_the_benchmark() -> None:
    path = ROOT / costs.SOURCE
    record = json.loads(path.read_text())["stages"] if path.exists() else {}
    measures = ("cpu_seconds", "written_bytes", "peak_bytes", "held_bytes")
    assert {name: tuple(stage[key] for key in measures) for name, stage in record.items()} == dict(costs.SHIPPED)


def test_the_similarity_route_takes_its_own_measurements() -> None:
    """`partition` of verified pairs and of vectors are different work, so figures of one say nothing of the other."""
    path = ROOT / costs.VECTORS
    found = costs.known(None, method="similarity")
    assert all(costs.VECTORS in found[name].source for name in costs.ROUTE if name in found)
    if path.exists():
        largest = max(json.loads(path.read_text())["results"], key=lambda row: row["count"])
        stages = {stage["stage"]: stage for stage in largest["stages"]}
        assert found["partition"].cpu_seconds * largest["count"] == pytest.approx(stages["partition"]["cpu_seconds"])


def test_a_cluster_is_read_from_the_launcher_file_or_a_line() -> None:
    launcher = capacity(str(ROOT / "ray_cluster.yaml"))
    assert (launcher.cores, launcher.gpus) == (24 * 16, 8)
    assert "head" not in {kind.name for kind in launcher.kinds}
    line = capacity("nodes=8, cores=32, gpus=2, memory_gb=256")
    assert (line.cores, line.gpus, line.node_memory_bytes) == (256, 16, 256 * 10**9)
    here = capacity(None, num_cpus=3)
    assert here.cores == 3
    assert here.node_memory_bytes > 1e8


@pytest.mark.parametrize(
    "text",
    [
        "cores=x", "nodes=3", "sockets=3", "nodes=0,cores=1", "cores=nan", "cores=inf", "nodes=1.5,cores=2", "cores=4,gpus=-1",
        "cores=4,memory_gb=0", "cores=4,memory_gb=-1", "pyproject.toml",
    ],
)  # fmt: skip
def test_a_cluster_that_says_nothing_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        capacity(text)


@pytest.mark.parametrize(("text", "number"), [("1e9", 10**9), ("1000", 1000), ("1_000", 1000)])
def test_numbers_of_images_may_be_written_short(text: str, number: int) -> None:
    assert images_of(text) == number


@pytest.mark.parametrize("text", ["", "many", "0", "-1", "12.7", "nan", "inf"])
def test_a_number_of_images_must_be_one(text: str) -> None:
    with pytest.raises(ConfigError):
        images_of(text)


def test_the_command_prints_a_plan_and_makes_nothing(tmp_path: Path) -> None:
    out = tmp_path / "never"
    asked_for = ["run", "--source", str(tmp_path), "--out", str(out), "--plan", "--images", "1e9"]
    said = CliRunner().invoke(app, [*asked_for, "--cluster", "nodes=8,cores=64,memory_gb=512"])
    assert said.exit_code == 0, said.output
    assert "Nothing has been run" in said.output
    plan = json.loads(CliRunner().invoke(app, [*asked_for, "--json"]).output)
    assert plan["images"] == 10**9
    assert not out.exists()


def test_a_plan_of_one_stage_leaves_out_what_it_does_not_need(tmp_path: Path) -> None:
    asked_for = ["run", "--plan", "--images", "1e6", "--json", "--only", "duplicates"]
    names = [row["stage"] for row in json.loads(CliRunner().invoke(app, asked_for).output)["stages"]]
    assert {"ingest", "exact", "embed", "knn", "verify", "duplicates"} <= set(names)
    assert not {"ocr", "tag", "select", "caption", "shard"} & set(names)


def test_options_of_a_plan_are_refused_without_it(tmp_path: Path) -> None:
    said = CliRunner().invoke(app, ["run", "--source", str(tmp_path), "--out", str(tmp_path / "run"), "--images", "5"])
    assert isinstance(said.exception, ConfigError)


def test_sizes_and_times_are_short() -> None:
    assert [size(value) for value in (0, 999, 1500, 2.5e12)] == ["", "999 B", "1.5 kB", "2.5 TB"]
    assert [duration(hours) for hours in (None, 1 / 3600, 1.5, 1234.0)] == ["", "1 s", "1.50", "1,234"]
