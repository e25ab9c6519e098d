"""Hugging Face Accelerate: the sampler deals to the processes, so the loader is not given to `prepare`.

Run: torchrun --nproc-per-node 2 examples/accelerate_ddp.py INDEX FOLDER [STATE]
Each rank writes the positions that it trained on to FOLDER/rank-R.txt. The state after step N is saved to
FOLDER/step-N; with STATE the run continues from one.
"""

import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed.nn  # before a group exists: default arguments of its functions would keep that group alive
from accelerate import Accelerator
from torch.utils.data import DataLoader

import segdata
from segdata.data import CropDataset

BATCH, EPOCH, EPOCHS = 2, 21, 2


class Progress:
    """What is saved of the data: the sampler as of the last batch trained on, as the workers are ahead of it."""

    def __init__(self, sampler: segdata.MixedClassUniformSampler) -> None:
        self.sampler = sampler
        self.steps = 0  # of the whole run
        self.num_batches = 0  # since the iteration began

    def state_dict(self) -> dict[str, Any]:
        """Return the place in the stream."""
        return {"steps": self.steps, "sampler": self.sampler.state_dict(consumed=self.num_batches * BATCH)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from there."""
        self.steps, self.num_batches = state["steps"], 0
        self.sampler.load_state_dict(state["sampler"])


def main(index: str, folder: str, state: str | None = None) -> None:
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
    loader = DataLoader(CropDataset(sources, (16, 24)), batch_size=BATCH, sampler=sampler, num_workers=2)
    model = torch.nn.Conv2d(3, 2, 1)
    model, optimizer = accelerator.prepare(model, torch.optim.SGD(model.parameters(), lr=0.01))
    progress = Progress(sampler)
    accelerator.register_for_checkpointing(progress)  # the sampler alone would be saved as far as the workers are
    if state is not None:
        accelerator.load_state(state)

    seen = []
    for epoch in range(sampler.epoch, EPOCHS):
        sampler.set_epoch(epoch)
        for num_batches, batch in enumerate(loader, start=1):
            loss = model(batch["image"].float().to(accelerator.device)).mean()
            accelerator.backward(loss)
            optimizer.step()
            optimizer.zero_grad()
            seen += batch["position"].tolist()
            progress.steps += 1
            progress.num_batches = num_batches
            accelerator.save_state(Path(folder) / f"step-{progress.steps}")
    (Path(folder) / f"rank-{accelerator.process_index}.txt").write_text("\n".join(map(str, seen)))
    # A group ends, with its threads, when nothing refers to it any more. The model does. Threads of Gloo that live on
    # while Python shuts down may abort the process.
    accelerator.wait_for_everyone()
    model, optimizer = accelerator.free_memory(model, optimizer)
    accelerator.end_training()


if __name__ == "__main__":
    main(*sys.argv[1:])
