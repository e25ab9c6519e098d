"""torchdata's StatefulDataLoader: it keeps count of what was consumed, and saves the sampler with its own state.

Run: python examples/torchdata_stateful.py INDEX
"""

import sys

from torchdata.stateful_dataloader import StatefulDataLoader

import segdata
from segdata.sampling.dataset import CropDataset

BATCH, EPOCH = 4, 40


def make_loader(index: str) -> StatefulDataLoader:
    sources = [segdata.Source(segdata.ClassIndex.load(index), share=1.0, class_uniform=0.5)]
    sampler = segdata.MixedClassUniformSampler(sources, epoch_size=EPOCH, seed=0, batch_size=BATCH)
    dataset = CropDataset(sources, (64, 96))
    return StatefulDataLoader(dataset, batch_size=BATCH, sampler=sampler, num_workers=2)


def main(index: str) -> list[int]:
    loader = make_loader(index)
    seen = []
    for step, batch in enumerate(loader, start=1):
        seen += batch["position"].tolist()
        if step == 3:
            state = loader.state_dict()
            break

    loader = make_loader(index)
    loader.load_state_dict(state)
    for _ in range(2):  # the rest of the epoch, then the next
        for batch in loader:
            seen += batch["position"].tolist()
    print(f"{len(seen)} draws, each position once: {seen == list(range(2 * EPOCH))}")
    return seen


if __name__ == "__main__":
    main(sys.argv[1])
