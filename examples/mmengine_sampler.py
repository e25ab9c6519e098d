"""mmengine: the sampler in its DATA_SAMPLERS registry, built from settings as a Runner builds it.

Run: python examples/mmengine_sampler.py INDEX
With mmengine whole, `Runner.build_dataloader` takes the settings that `build_loader` takes here. It collates by
`pseudo_collate`, which gives lists, unless they say `default_collate`, which gives tensors. mmengine-lite, which needs
no OpenCV, has the registries but cannot import its Runner.
"""

import sys
from typing import Any

import mmengine.dataset  # noqa: F401  # registers the functions that collate
from mmengine.dist import get_dist_info
from mmengine.registry import DATA_SAMPLERS, DATASETS, FUNCTIONS
from torch.utils.data import DataLoader

import segdata
from segdata.data import CropDataset

BATCH, EPOCH = 4, 20


@DATASETS.register_module()
class SegdataCrops(CropDataset):
    """Crops of a mixture, made from plain settings."""

    def __init__(self, sources: list[dict[str, Any]], crop_size: tuple[int, int], **settings: Any) -> None:
        made = [segdata.Source(segdata.ClassIndex.load(source.pop("index")), **source) for source in sources]
        super().__init__(made, tuple(crop_size), **settings)


@DATA_SAMPLERS.register_module()
class SegdataSampler(segdata.MixedClassUniformSampler):
    """The sampler, made the way mmengine makes them: with the data set and a seed."""

    def __init__(self, dataset: SegdataCrops, epoch_size: int, batch_size: int = 1, seed: int = 0, **_: Any) -> None:
        rank, num_ranks = get_dist_info()
        super().__init__(
            dataset.sources,
            epoch_size=epoch_size,
            batch_size=batch_size,
            seed=seed or 0,
            rank=rank,
            num_ranks=num_ranks,
        )


def build_loader(settings: dict[str, Any]) -> DataLoader:
    dataset = DATASETS.build(settings.pop("dataset"))
    sampler = DATA_SAMPLERS.build(settings.pop("sampler"), default_args={"dataset": dataset, "seed": 0})
    collate = FUNCTIONS.get(settings.pop("collate_fn", {"type": "pseudo_collate"})["type"])
    return DataLoader(dataset, sampler=sampler, collate_fn=collate, **settings)


def main(index: str) -> list[int]:
    loader = build_loader(
        {
            "batch_size": BATCH,
            "num_workers": 2,
            "collate_fn": {"type": "default_collate"},
            "dataset": {
                "type": "SegdataCrops",
                "sources": [{"index": index, "share": 1.0, "class_uniform": 0.5}],
                "crop_size": (64, 96),
            },
            "sampler": {"type": "SegdataSampler", "epoch_size": EPOCH, "batch_size": BATCH},
        }
    )
    seen = []
    for epoch in range(2):
        loader.sampler.set_epoch(epoch)  # in mmengine its DistSamplerSeedHook does this
        for batch in loader:
            seen += batch["position"].tolist()
    print(f"{len(seen)} draws, each position once: {seen == list(range(2 * EPOCH))}")
    return seen


if __name__ == "__main__":
    main(sys.argv[1])
