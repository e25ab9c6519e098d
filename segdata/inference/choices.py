"""What a user asks of a model on the command line; imports nothing, so that a command starts fast."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True, kw_only=True)
class Choices:
    """What a user asks for in place of what the recipe says; None leaves it.

    Attributes
    ----------
    evaluation : mapping
        Fields of `segdata.config.recipe.EvaluationRecipe`; those that are None are left as they are.
    precision : {"float32", "bfloat16", "float16"}, or None
        Of the model's arithmetic.
    device : {"auto", "cpu", "cuda"}
    """

    evaluation: Mapping[str, Any]
    precision: Literal["float32", "bfloat16", "float16"] | None = None
    device: str = "auto"
