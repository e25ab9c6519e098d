"""Hugging Face Accelerate: the sampler deals to the processes, so the loader is not given to `prepare`.

Run: torchrun --nproc-per-node 2 examples/accelerate_ddp.py INDEX FOLDER
Each rank writes the positions that it trained on to FOLDER/rank-R.txt.
"""

import sys
from pathlib import Path

import torch
import torch.distributed.nn  # before a group exists: default arguments of its functions would keep that group alive
from accelerate import Accelerator
from torch.utils.data import DataLoader

import segdata
from segdata.sampling.dataset import CropDataset

BATCH, EPOCH, EPOCHS = 2, 21, 2


def main(index: str, folder: str) -> None:
    accelerator = Accelerator(cpu=True)
    sources = [segdata.Source(segdata.ClassIndex.load(index), share=1.0, class_uniform=0.5)]
    sampler = segdata.MixedClassUniformSampler(
        sources,
        epoch_size=EPOCH,
        batch_size=BATCH,
        rank=accelerator.process_index,
        num_ranks=accelerator.num_processes,
    )
    # `prepare` would deal the batches out a second time; it is for model and optimizer here.
    loader = DataLoader(CropDataset(sources, (16, 24)), batch_size=BATCH, sampler=sampler)
    model = torch.nn.Conv2d(3, 2, 1)
    model, optimizer = accelerator.prepare(model, torch.optim.SGD(model.parameters(), lr=0.01))
    accelerator.register_for_checkpointing(sampler)  # saved and loaded with `save_state` and `load_state`

    seen = []
    for epoch in range(EPOCHS):
        sampler.set_epoch(epoch)
        for batch in loader:
            loss = model(batch["image"].float().to(accelerator.device)).mean()
            accelerator.backward(loss)
            optimizer.step()
            optimizer.zero_grad()
            seen += batch["position"].tolist()
    (Path(folder) / f"rank-{accelerator.process_index}.txt").write_text("\n".join(map(str, seen)))
    # A group ends, with its threads, when nothing refers to it any more. The model does. Threads of Gloo that live on
    # while Python shuts down may abort the process.
    accelerator.wait_for_everyone()
    model, optimizer = accelerator.free_memory(model, optimizer)
    accelerator.end_training()


if __name__ == "__main__":
    main(*sys.argv[1:])
