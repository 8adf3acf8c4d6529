"""What every section of a run's YAML is: typed keys, of which unknown ones are errors."""

from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator


def refuse_switch(value: object, kind: Any, place: str = "") -> None:
    """Raise ValueError when `value` is yes or no, which YAML reads as true and false, and `kind` is that of a number."""
    if isinstance(value, bool) and {int, float} & {kind, *get_args(kind)}:
        raise ValueError(f"{place}Input should be a number (it is {value})")


class Section(BaseModel):
    """A group of keys; unknown ones are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)

    @field_validator("*", mode="before")
    @classmethod
    def _no_switch_for_a_number(cls, value: object, info: ValidationInfo) -> object:
        refuse_switch(value, cls.model_fields[str(info.field_name)].annotation)
        return value
