"""What the backward pass keeps in memory, by model and setting.

    python benchmarks/model_memory.py

Nothing is computed: the models stand on torch's meta device, and the bytes of every tensor that autograd keeps are
added up, each storage once, weights left out. One crop of SeeThroughNet's recipe, 2048x1024, in float32; mixed
precision keeps about half of it. What a recomputation holds for a while comes on top: one module's activations.
"""

from typing import Any

import torch
from torch import Tensor

from segdata.models import build_model
from segdata.models.output import ModelOutput

CROP = (1024, 2048)

SETTINGS: list[tuple[str, dict[str, Any]]] = [
    ("hmsa", {}),
    ("hmsa", {"fuse_at": "stride"}),
    ("seethroughnet", {}),
    ("seethroughnet", {"fuse_at": "stride"}),
    ("seethroughnet", {"checkpointing": True}),
    ("seethroughnet", {"checkpointing": True, "fuse_at": "stride"}),
]


def kept_gib(name: str, settings: dict[str, Any]) -> float:
    """Return the GiB that autograd keeps after a forward pass in training mode."""
    with torch.device("meta"):
        model = build_model(name, 19, **settings)
        images = torch.empty(2, 3, *CROP)  # two: batch norm minds a single value per channel
    own = {weight.untyped_storage()._cdata for weight in (*model.parameters(), *model.buffers())}
    kept: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in own:
            kept[storage._cdata] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        output: ModelOutput = model(images)
    assert output.logits.requires_grad
    return sum(storage.nbytes() for storage in kept.values()) / images.shape[0] / 2**30


def main() -> None:
    """Print a table, each figure beside its share of the model's first."""
    print("| model | settings | kept per image, GiB | share |")
    print("|---|---|--:|--:|")
    first: dict[str, float] = {}
    for name, settings in SETTINGS:
        kept = kept_gib(name, settings)
        words = ", ".join(f"{key}={value}" for key, value in settings.items()) or "as published"
        print(f"| {name} | {words} | {kept:.1f} | {kept / first.setdefault(name, kept):.2f} |")


if __name__ == "__main__":
    main()
