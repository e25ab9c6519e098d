"""What every part of a recipe is: plain settings, frozen, checked where they are made."""

from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator


class Section(BaseModel):
    """A group of settings; unknown keys are refused, and nothing changes after it is made."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True, validate_default=True
    )

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_value_for_a_number(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse what would silently become 0 or 1."""
        assert info.field_name is not None
        annotation = cls.model_fields[info.field_name].annotation
        if isinstance(value, bool) and not _takes_bool(annotation):
            words = ", ".join(_words(annotation))
            raise ValueError(
                f"{str(value).lower()} is a truth value, as YAML reads on, off, yes and no. Expected is "
                + (f"one of: {words}." if words else "another kind of value. Put a word in quotes.")
            )
        return value


def _words(annotation: Any) -> list[str]:
    """Return the words that a setting may be, null after them where it may be left empty; none where it is no word."""
    if isinstance(annotation, str):
        return [annotation]
    words = [word for each in get_args(annotation) for word in _words(each)]
    return [*words, "null"] if words and type(None) in get_args(annotation) else words


def _takes_bool(annotation: Any) -> bool:
    return annotation is bool or any(_takes_bool(argument) for argument in get_args(annotation))
