"""torchdata's StatefulDataLoader: it keeps count of what was consumed, and saves the sampler with its own state.

Run: python examples/torchdata_stateful.py INDEX
"""

import sys

from torchdata.stateful_dataloader import StatefulDataLoader

import segdata
from segdata.data import CropDataset

BATCH, EPOCH, EPOCHS = 4, 40, 2


def make_loader(index: str) -> tuple[segdata.MixedClassUniformSampler, StatefulDataLoader]:
    sources = [segdata.Source(segdata.ClassIndex.load(index), share=1.0, class_uniform=0.5)]
    sampler = segdata.MixedClassUniformSampler(sources, epoch_size=EPOCH, seed=0, batch_size=BATCH)
    dataset = CropDataset(sources, (64, 96))
    return sampler, StatefulDataLoader(dataset, batch_size=BATCH, sampler=sampler, num_workers=2)


def main(index: str, save_after: int = 3) -> list[int]:
    sampler, loader = make_loader(index)
    seen = []
    for step, batch in enumerate(loader, start=1):
        seen += batch["position"].tolist()
        if step == save_after:
            state = loader.state_dict()
            break

    sampler, loader = make_loader(index)
    loader.load_state_dict(state)
    while sampler.epoch < EPOCHS:  # the sampler gets its state, and with it the epoch, when the loader is iterated
        for batch in loader:
            seen += batch["position"].tolist()
    print(f"{len(seen)} draws, each position once: {seen == list(range(EPOCHS * EPOCH))}")
    return seen


if __name__ == "__main__":
    main(sys.argv[1])
