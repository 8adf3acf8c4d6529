"""Turns pydantic's findings into one line per mistake: where it is, what is wrong, what was probably meant."""

from typing import Any

from pydantic import BaseModel, ValidationError
from rapidfuzz import process

SECTION_EXPECTED = ("model_type", "model_attributes_type", "dataclass_type")
"""What pydantic calls a value that stands where a section should."""


def explain_errors(error: ValidationError, model: type[BaseModel], origin: str) -> str:
    """Return one line per finding; an unknown key names the nearest known one."""
    return "\n".join(f"{origin}: {_line(found, model)}" for found in error.errors(include_url=False))


def _line(found: Any, model: type[BaseModel]) -> str:
    place = ".".join(str(part) for part in found["loc"])
    if found["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        return f"unknown key {place!r}{_nearest(found['loc'], model)}"
    if found["type"] == "missing":
        return f"key {place!r} is required"
    if found["type"] in SECTION_EXPECTED:
        return f"{place} is a section of keys, not {found['input']!r}; leave it out where its defaults will do"
    if found["type"] == "value_error":  # a sentence of ours, which says what the value is
        return f"{place}: {found['ctx']['error']}"
    return f"{place}: {found['msg']} (it is {found['input']!r})"


def _nearest(loc: tuple[Any, ...], model: type[BaseModel]) -> str:
    known = _keys_at(loc[:-1], model)
    match = process.extractOne(str(loc[-1]), known, score_cutoff=50)
    if match:
        return f"; did you mean {match[0]!r}?"
    return f"; known keys are {', '.join(sorted(known))}"


def _keys_at(path: tuple[Any, ...], model: type[BaseModel]) -> list[str]:
    """Return the keys that the schema knows at a path; optional sections and lists are looked through."""
    schema = model.model_json_schema()
    node: Any = schema
    for part in path:
        node = _resolve(schema, node)
        node = node.get("items", {}) if isinstance(part, int) else node.get("properties", {}).get(part, {})
    return list(_resolve(schema, node).get("properties", {}))


def _resolve(schema: dict[str, Any], node: Any) -> Any:
    for option in node.get("anyOf", []):
        if "$ref" in option:
            node = option
    if "$ref" in node:
        return schema["$defs"][node["$ref"].rsplit("/", 1)[-1]]
    return node
