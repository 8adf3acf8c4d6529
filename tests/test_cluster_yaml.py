"""The cluster files say what Ray accepts, and keep the promises that its schema does not check."""

import ast
import re
from collections.abc import Iterator
from copy import deepcopy
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent
CONFIG = yaml.safe_load((ROOT / "ray_cluster.yaml").read_text())
KUBERAY = {path.stem: yaml.safe_load(path.read_text()) for path in sorted((ROOT / "deploy" / "kuberay").glob("*.yaml"))}
CLUSTERS = {"raycluster": KUBERAY["raycluster"]["spec"], "rayjob": KUBERAY["rayjob"]["spec"]["rayClusterSpec"]}
CLUSTER_FILES = [ROOT / "ray_cluster.yaml", *sorted((ROOT / "deploy" / "kuberay").glob("*.yaml"))]
BUILT_IN_RESOURCES = {"CPU", "GPU", "memory", "object_store_memory"}
PINNED_RAY = re.search(r"^ray==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)[1]


def check_with_ray(config: dict) -> None:
    """Validate with the functions that `ray up` itself calls."""
    from ray.autoscaler._private.util import prepare_config, validate_config

    validate_config(prepare_config(deepcopy(config)))


def strings(node: object) -> Iterator[str]:
    """Yield every key and text of a YAML tree."""
    if isinstance(node, dict):
        for key, child in node.items():
            yield str(key)
            yield from strings(child)
    elif isinstance(node, list):
        for child in node:
            yield from strings(child)
    else:
        yield str(node)


def requested_resources() -> set[str]:
    """Return the names of custom resources that the code asks Ray for, read from its syntax trees."""
    calls = (
        keyword.value
        for path in (ROOT / "jobs").glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        for keyword in node.keywords
        if keyword.arg == "resources" and isinstance(keyword.value, ast.Dict)
    )
    return {key.value for call in calls for key in call.keys if isinstance(key, ast.Constant)} - BUILT_IN_RESOURCES


def test_ray_accepts_the_cluster_file():
    check_with_ray(CONFIG)


@pytest.mark.parametrize("key", ["max_wokers", "head_nodetype"])
def test_ray_refuses_a_misspelt_key(key):
    with pytest.raises(Exception, match=key):
        check_with_ray(CONFIG | {key: 1})


def test_the_head_runs_no_tasks():
    assert CONFIG["available_node_types"][CONFIG["head_node_type"]]["resources"]["CPU"] == 0
    for spec in CLUSTERS.values():
        assert spec["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"


def test_there_are_workers_with_and_without_a_gpu():
    workers = [node["resources"] for name, node in CONFIG["available_node_types"].items() if name != "head"]
    assert {bool(resources.get("GPU")) for resources in workers} == {True, False}


def test_counts_of_workers_are_possible():
    workers = [node for name, node in CONFIG["available_node_types"].items() if name != CONFIG["head_node_type"]]
    for node in workers:
        assert 0 <= node["min_workers"] <= node["max_workers"]
    assert sum(node["min_workers"] for node in workers) <= CONFIG["max_workers"]
    for group in (group for spec in CLUSTERS.values() for group in spec["workerGroupSpecs"]):
        assert 0 <= group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]


def test_images_carry_the_pinned_ray_and_a_python_that_imageloom_supports():
    named = [text for tree in (CONFIG, *KUBERAY.values()) for text in strings(tree)]
    images = [text for text in named if re.fullmatch(r"\S+:\d+\.\d+\.\d+-py\d+\S*", text)]
    assert len(images) == 2 + 3 + 2
    assert all(f":{PINNED_RAY}-py311" in image for image in images)
    assert all(spec["rayVersion"] == PINNED_RAY for spec in CLUSTERS.values())
    assert version("ray") == PINNED_RAY


def test_every_custom_resource_of_the_code_is_offered():
    offered = {name for node in CONFIG["available_node_types"].values() for name in node["resources"]}
    assert requested_resources() <= offered


def test_every_node_demands_the_token():
    for commands in (CONFIG["head_start_ray_commands"], CONFIG["worker_start_ray_commands"]):
        starts = [command for command in commands if "ray start" in command]
        assert len(starts) == 1
        assert "RAY_AUTH_MODE=token" in starts[0]
    assert "~/.ray/auth_token" in CONFIG["file_mounts"]
    assert all(spec["authOptions"] == {"mode": "token"} for spec in CLUSTERS.values())


def test_the_dashboard_listens_on_the_head_only():
    start = " ".join(CONFIG["head_start_ray_commands"])
    assert "--dashboard-host=127.0.0.1" in start
    assert not any("0.0.0.0" in path.read_text() for path in CLUSTER_FILES)


def test_no_file_contains_a_secret():
    secret = re.compile(r"AKIA[0-9A-Z]{16}|secret_access_key|BEGIN [A-Z ]*PRIVATE KEY|hf_[A-Za-z0-9]{20}|AUTH_TOKEN=[^$\s]")
    for path in CLUSTER_FILES:
        assert not secret.search(path.read_text()), path


def test_the_object_store_has_shared_memory():
    assert any(option.startswith("--shm-size") for option in CONFIG["docker"]["run_options"])
    for spec in CLUSTERS.values():
        for group in spec["workerGroupSpecs"]:
            mounts = group["template"]["spec"]["containers"][0]["volumeMounts"]
            assert "/dev/shm" in {mount["mountPath"] for mount in mounts}


def test_a_kubernetes_job_ends_and_retries_by_itself():
    spec = KUBERAY["rayjob"]["spec"]
    assert spec["shutdownAfterJobFinishes"] is True
    assert 0 <= spec["backoffLimit"] <= 2
    assert spec["activeDeadlineSeconds"] > 0
