"""One rule of the selection: a column, a limit, and which rows go beyond it.

A rule is a mapping as it stands in YAML: `{name: too_blurry, column: metrics.sharpness, below: 5.0}`. Its limit is one of
below, above, equals, in, not_in; a row beyond the limit is dropped. `groups` restricts it to sub-collections, `missing: drop`
lets it drop rows that have no value. For a list column (images.flags, tags.labels) equals and `in` hit when any element
matches, not_in when none does. Misspelt keys and columns are errors that name the nearest known one: a rule that silently
never fires is the worst kind.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt
from rapidfuzz import process

from curation.errors import FAILURE_CODES, ConfigError

LIMITS = ("below", "above", "equals", "in", "not_in")
RESERVED = ("duplicate", "remediated", "contained", "container")
"""Reasons of a drop that no rule may bear."""
KEYS = ("name", "column", *LIMITS, "groups", "missing")


@dataclass(frozen=True)
class Rule:
    """A checked rule: `limit` is one of LIMITS, `value` what it compares with."""

    name: str
    column: str
    limit: str
    value: object
    groups: tuple[str, ...] | None
    drop_missing: bool


def nearest(word: str, known: Sequence[str]) -> str:
    """Return a hint such as ', did you mean "metrics.sharpness"?', or the known words when none is near."""
    found = process.extractOne(word, known, score_cutoff=50)
    return f'; did you mean "{found[0]}"?' if found else f"; known: {', '.join(sorted(known))}"


def parse_rules(rules: Sequence[Mapping[str, object]]) -> list[Rule]:
    """Return the checked rules in order; raises ConfigError for wrong keys, limits and doubled or reserved names."""
    parsed = [_parse(rule) for rule in rules]
    names = [rule.name for rule in parsed]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f'two rules are called "{name}": a name is the reason of a drop and must tell them apart')
        if name in RESERVED or name in FAILURE_CODES:
            raise ConfigError(f'a rule cannot be called "{name}": that reason has a meaning of its own')
    return parsed


def hits(rule: Rule, columns: Mapping[str, pa.Array], groups: pa.Array) -> np.ndarray:
    """Return bool (rows,): which rows the rule drops.

    columns: every column that a rule may name, by 'table.column'. groups: the sub-collection of every row.
    Raises ConfigError when the column is unknown or cannot be compared with the rule's value.
    """
    if rule.column not in columns:
        hint = nearest(rule.column, list(columns))
        raise ConfigError(f'rule "{rule.name}": there is no column "{rule.column}"{hint}')
    column = columns[rule.column]
    try:
        beyond = _beyond(column, rule)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError) as error:
        message = f'rule "{rule.name}": {rule.column} is {column.type} and cannot be compared with {rule.value!r}'
        raise ConfigError(message) from error
    dropped = np.where(_mask(pc.is_null(column)), rule.drop_missing, _mask(pc.fill_null(beyond, False)))
    if rule.groups is not None:
        dropped &= _mask(pc.is_in(groups, pa.array(rule.groups, groups.type)))
    return dropped


def _parse(rule: Mapping[str, object]) -> Rule:
    given = {key: value for key, value in rule.items() if value is not None}
    for key in given:
        if key not in KEYS:
            raise ConfigError(f'rule {dict(given)}: unknown key "{key}"{nearest(key, KEYS)}')
    limits = [key for key in LIMITS if key in given]
    if not all(isinstance(given.get(key), str) and given[key] for key in ("name", "column")) or len(limits) != 1:
        raise ConfigError(f"rule {dict(given)}: needs a name, a column and exactly one of {', '.join(LIMITS)}")
    groups, missing = given.get("groups"), given.get("missing", "keep")
    if missing not in ("keep", "drop"):
        raise ConfigError(f'rule "{given["name"]}": missing is {missing!r}; allowed: keep, drop')
    limit = limits[0]
    listed = isinstance(given[limit], list | tuple)
    if listed != (limit in ("in", "not_in")):
        raise ConfigError(f'rule "{given["name"]}": {limit} takes {"one value" if listed else "a list of values"}')
    if limit in ("below", "above") and (isinstance(given[limit], bool) or not isinstance(given[limit], int | float)):
        raise ConfigError(f'rule "{given["name"]}": {limit} takes a number, not {given[limit]!r}')
    if groups is not None and not isinstance(groups, list | tuple):
        raise ConfigError(f'rule "{given["name"]}": groups takes a list of names, not {groups!r}')
    return Rule(
        name=str(given["name"]),
        column=str(given["column"]),
        limit=limit,
        value=given[limit],
        groups=None if groups is None else tuple(str(group) for group in groups),
        drop_missing=missing == "drop",
    )


def _beyond(column: pa.Array, rule: Rule) -> pa.Array:
    """Return the Arrow mask of rows beyond the limit; null where there is no value."""
    if rule.limit in ("below", "above"):
        if not (pt.is_integer(column.type) or pt.is_floating(column.type)):
            raise pa.ArrowTypeError("not a number")
        compare = pc.less if rule.limit == "below" else pc.greater
        return compare(column.cast(pa.float64()), float(rule.value))  # type: ignore[arg-type]
    wanted = list(rule.value) if isinstance(rule.value, list | tuple) else [rule.value]
    if pt.is_list(column.type):
        matched = _any_element(column, wanted)
    else:
        matched = pc.is_in(column, pa.array(wanted, column.type))
    return pc.invert(matched) if rule.limit == "not_in" else matched


def _any_element(column: pa.Array, wanted: list[object]) -> pa.Array:
    elements = pc.is_in(pc.list_flatten(column), pa.array(wanted, column.type.value_type))
    rows = pc.filter(pc.list_parent_indices(column), elements)
    found = np.zeros(len(column), dtype=bool)
    found[rows.to_numpy(zero_copy_only=False)] = True
    return pa.array(found)


def _mask(array: pa.Array) -> np.ndarray:
    mask: np.ndarray = np.asarray(array.to_numpy(zero_copy_only=False), dtype=bool)
    return mask
