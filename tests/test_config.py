"""The configuration: defaults suffice, mistakes are one line that names the key and what was meant."""

from pathlib import Path

import pytest

from curation.errors import ConfigError
from curation.tables import Run
from jobs.config import Config, parse_config, read_config
from jobs.pipeline import STAGES, between, needed_for, pipeline


def parse(**values: object) -> Config:
    return parse_config({"source": "s", "out": "o", **values}, origin="x.yaml")


def test_source_and_out_suffice() -> None:
    verified = dict.fromkeys(stage.name for stage in STAGES if not stage.methods or "verified" in stage.methods)
    assert [planned.stage.name for planned in pipeline(parse())] == [
        name
        for name in verified
        if name not in ("caption_fit", "link", "pairs", "pair_shard", "train", "sample", "evaluate", "losses")
    ]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"ocrr": {}}, "x.yaml: unknown key 'ocrr'; did you mean 'ocr'?"),
        ({"knn": {"metrc": 1}}, "x.yaml: unknown key 'knn.metrc'"),
        ({"knn": {"kk": 1}}, "unknown key 'knn.kk'; did you mean 'k'?"),
        ({"train": {"learning_rat": 1}}, "unknown key 'train.learning_rat'; did you mean 'learning_rate'?"),
        ({"train": {"data": {"group": ["a"]}}}, "unknown key 'train.data.group'; did you mean 'groups'?"),
        ({"ingest": {"policy": {"max_pixel": 3}}}, "unknown key 'ingest.policy.max_pixel'; did you mean 'max_pixels'?"),
        ({"knn": {"k": 0}}, "knn.k: Input should be greater than or equal to 1 (it is 0)"),
        ({"embed": {"batch_size": "many"}}, "embed.batch_size: Input should be a valid integer"),
        ({"ingest": None}, "ingest is a section of keys, not None; leave it out where its defaults will do"),
        ({"select": {"bases_px": [0]}}, "select.bases_px.0: Input should be greater than"),
        ({"hierarchy": {"resolutions": [4, 2, 1]}}, "[4.0, 2.0, 1.0] must be three increasing positive numbers"),
        ({"train": {"learning_rate": -1}}, "x.yaml: train: learning_rate is -1.0"),
        (
            {"select": {"rules": [{"name": "corrupt", "column": "x.y", "below": 1}]}},
            'select.rules: a rule cannot be called "corrupt"',
        ),
    ],
)
def test_a_mistake_is_one_line_naming_the_key(values: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(**values)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_two_mistakes_are_two_lines() -> None:
    with pytest.raises(ConfigError) as caught:
        parse(knn={"k": 0}, ocrr={})
    assert len(str(caught.value).splitlines()) == 2


def test_the_command_line_overrides_the_file(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text("source: a\nout: b\nray: {num_cpus: 3}\n")
    config = read_config(path, {"source": "c", "out": None, "ray": {"address": "auto"}})
    assert (config.source, config.out, config.ray.num_cpus, config.ray.address) == ("c", "b", 3, "auto")


@pytest.mark.parametrize("text", ["- a\n- b\n", "a: [", "\x00", "", "source: &a {b: *a}\nout: o\n"])
def test_what_is_not_a_mapping_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"run\.yaml"):
        read_config(path, {})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("source: a\nout: b\nsource: c\n", "names the key 'source' again in line 3"),
        ("source: a\nout: b\nknn:\n  k: 3\n  k: 4\n", "names the key 'k' again in line 5"),
        ("source: a\nout: [\n", "cannot be read as YAML in line 3"),
    ],
)
def test_a_slip_of_yaml_names_its_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_config(path, {})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"column": "metrics.sharpnes", "below": 1}, 'no column "metrics.sharpnes"; did you mean "metrics.sharpness"'),
        ({"column": "tags.best", "below": 1}, "tags.best is string and cannot be compared with 1"),
    ],
)
def test_a_rule_is_asked_about_its_column_before_any_stage_runs(values: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        pipeline(parse(select={"rules": [{"name": "small", **values}]}))


def test_rules_may_name_what_stages_write_and_what_is_derived() -> None:
    columns = ["images.flags", "images.megapixels", "tags.labels", "placeholders.reason", "watermarks.text", "hierarchy.level_1"]
    rules = [{"name": column.replace(".", "_"), "column": column, "in": [1 if "level" in column else "x"]} for column in columns]
    rules[1] = {"name": "small", "column": "images.megapixels", "below": 1}
    pipeline(parse(select={"rules": rules}))
    with pytest.raises(ConfigError, match=r'no column "hierarchy.level_1"'):  # that method has no levels
        pipeline(parse(select={"rules": rules}, dedup={"method": "similarity"}))


def test_a_group_of_the_balance_is_looked_up_before_any_stage_runs() -> None:
    pipeline(parse(balance={"mode": "communities", "by": "group"}))
    with pytest.raises(ConfigError, match=r'no column "images.grup" of single values; did you mean "images.group"'):
        pipeline(parse(balance={"mode": "communities", "by": "images.grup"}))


@pytest.mark.parametrize(("section", "values"), [("sample", {"prompts": ["a"]}), ("losses", {}), ("evaluate", {"classes": {}})])
def test_what_asks_a_model_needs_a_training(section: str, values: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=f"section {section} has no effect without section train"):
        pipeline(parse(**{section: values}))


def test_until_and_from_cut_the_list(tmp_path: Path) -> None:
    plan = pipeline(parse())
    assert [p.stage.name for p in between(plan, Run(tmp_path), start=None, until="profile")] == ["ingest", "profile"]
    with pytest.raises(ConfigError, match="ingest is not complete"):
        between(plan, Run(tmp_path), start="profile", until=None)


def test_only_a_stage_and_what_it_rests_on() -> None:
    names = [planned.stage.name for planned in needed_for(pipeline(parse()), "embed")]
    assert names == ["ingest", "embed"]
    with pytest.raises(ConfigError, match=r"--only emebd: no such stage; did you mean embed\?"):
        needed_for(pipeline(parse()), "emebd")


@pytest.mark.parametrize(("name", "message"), [("emebd", "did you mean embed"), ("train", "no section `train`")])
def test_an_unknown_stage_is_refused_by_name(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        between(pipeline(parse()), Run(tmp_path), start=None, until=name)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"source": ""}, "source: String should have at least 1 character"),
        ({"out": ""}, "out: String should have at least 1 character"),
        ({"knn": {"k": True}}, "knn.k: Input should be a number (it is True)"),
        ({"train": {"num_steps": True}}, "x.yaml: train: num_steps: Input should be a number (it is True)"),
        ({"train": {"data": {"resolution_px": False}}}, "x.yaml: train: data.resolution_px: Input should be a number"),
        ({"tag": {"min_score": False}}, "tag.min_score: Input should be a number (it is False)"),
        ({"ingest": {"policy": {"formats": ["jpg"]}}}, "ingest.policy.formats.0: Input should be 'jpeg', 'png'"),
    ],
)
def test_a_value_of_another_kind_is_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(**values)
    assert message in str(caught.value)


def test_a_section_that_is_a_number_is_refused_under_an_override(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text("source: a\nout: b\nray: 5\n")
    with pytest.raises(ConfigError, match="ray is a section of keys, not 5"):
        read_config(path, {"ray": {"num_cpus": 1}})


def test_a_tilde_is_the_home_folder() -> None:
    (ingest,) = between(pipeline(parse(source="~/x")), Run("."), start=None, until="ingest")
    assert ingest.parameters["source"] == str(Path.home() / "x")


def test_components_cannot_be_taken_below_the_edges() -> None:
    with pytest.raises(ConfigError, match=r"components.min_similarity = 0.6 is below join.min_similarity = 0.7"):
        pipeline(parse(dedup={"method": "similarity"}, components={"min_similarity": 0.6}))
    pipeline(parse(components={"min_similarity": 0.6}))  # another method does not read it


def test_an_unknown_criterion_of_the_keeper_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"duplicates\.keeper\.0: Input should be 'resolution'"):
        parse(duplicates={"keeper": ["beauty"]})
