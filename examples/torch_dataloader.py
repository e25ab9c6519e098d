"""Plain PyTorch: the sampler in a DataLoader with workers, and a run resumed by what was consumed.

Run: python examples/torch_dataloader.py INDEX
where INDEX is what `segdata index LABELS -o INDEX --images IMAGES` (or a Cityscapes root) wrote.
"""

import sys

from torch.utils.data import DataLoader

import segdata
from segdata.data import CropDataset

BATCH, EPOCH, EPOCHS = 4, 40, 2


def make_loader(index: str) -> tuple[segdata.MixedClassUniformSampler, DataLoader]:
    sources = [segdata.Source(segdata.ClassIndex.load(index), share=1.0, class_uniform=0.5)]
    sampler = segdata.MixedClassUniformSampler(sources, epoch_size=EPOCH, seed=0, batch_size=BATCH)
    dataset = CropDataset(sources, (64, 96), scales=(0.5, 2.0), flip=True, cells=(4, 8))
    return sampler, DataLoader(dataset, batch_size=BATCH, sampler=sampler, num_workers=2)


def main(index: str, save_after: int = 4) -> list[int]:
    sampler, loader = make_loader(index)
    seen = []
    for step, batch in enumerate(loader, start=1):
        seen += batch["position"].tolist()  # train on batch["image"], batch["label"], batch["counts"] here
        if step == save_after:  # the workers are ahead of the training by now: say what it has used
            state = sampler.state_dict(consumed=step * BATCH)
            break

    sampler, loader = make_loader(index)  # another process, another day
    sampler.load_state_dict(state)
    for epoch in range(sampler.epoch, EPOCHS):  # not from 0: `set_epoch` would go back to it
        sampler.set_epoch(epoch)
        for batch in loader:
            seen += batch["position"].tolist()
    print(f"{len(seen)} draws, each position once: {seen == list(range(EPOCHS * EPOCH))}")
    return seen


if __name__ == "__main__":
    main(sys.argv[1])
