"""Lightning, two processes: `use_distributed_sampler=False` leaves the dealing to ranks to the sampler.

Run: python examples/lightning_ddp.py INDEX FOLDER [CHECKPOINT [RANKS]]
Each rank writes the positions that it trained on to FOLDER/rank-R.txt. A checkpoint is written after every third step.
With CHECKPOINT the run continues from one, exactly, also with another number of processes.
"""

import sys
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch.utils.data import DataLoader

import segdata
from segdata.data import CropDataset

BATCH, EPOCH, EPOCHS, RANKS = 2, 21, 6, 2  # 21 draws are not whole number of batches of all ranks: none is lost


class EpochLoader(DataLoader):
    """A loader whose length counts the batches of the epoch that were done before a resumption, as Lightning does."""

    def __init__(self, *settings: Any, num_done: int, **more: Any) -> None:
        super().__init__(*settings, **more)
        self.num_batches = num_done + super().__len__()  # now: workers run ahead, and then the sampler has less left

    def __len__(self) -> int:
        """Return the batches of the epoch."""
        return self.num_batches


class Data(lightning.LightningDataModule):
    """Crops dealt to the ranks of the trainer; its state is that of the sampler."""

    def __init__(self, index: str) -> None:
        super().__init__()
        self.sources = [segdata.Source(segdata.ClassIndex.load(index), share=1.0, class_uniform=0.5)]

    def setup(self, stage: str) -> None:  # noqa: ARG002  # Lightning gives it by name
        """Make this rank's sampler, once: it continues from epoch to epoch."""
        self.sampler = segdata.MixedClassUniformSampler(
            self.sources,
            epoch_size=EPOCH,
            batch_size=BATCH,
            rank=self.trainer.global_rank,
            num_ranks=self.trainer.world_size,
        )

    def train_dataloader(self) -> EpochLoader:
        """Return this rank's loader of what is left of the epoch."""
        loop = self.trainer.fit_loop
        self.num_done = loop.batch_idx + 1 if loop.restarting else 0
        if loop.restarting:  # within an epoch. Lightning may ask twice, and workers may have run ahead in between
            self.sampler.load_state_dict(self.loaded)
        else:
            self.sampler.set_epoch(loop.epoch_progress.current.processed)
        dataset = CropDataset(self.sources, (16, 24))
        return EpochLoader(dataset, batch_size=BATCH, sampler=self.sampler, num_workers=1, num_done=self.num_done)

    def state_dict(self) -> dict[str, Any]:
        """Return the sampler's state as of the last batch trained on; workers are ahead of it."""
        num_batches = self.trainer.fit_loop.epoch_loop.batch_progress.current.processed - self.num_done
        return self.sampler.state_dict(consumed=num_batches * BATCH)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where a checkpoint was taken."""
        self.loaded = state
        self.sampler.load_state_dict(state)


class Model(lightning.LightningModule):
    """One layer, and a note of what it saw."""

    def __init__(self, folder: str) -> None:
        super().__init__()
        self.layer, self.folder, self.seen = torch.nn.Conv2d(3, 2, 1), Path(folder), []

    def training_step(self, batch: dict[str, torch.Tensor], _number: int) -> torch.Tensor:
        """Note the positions and return a loss."""
        self.seen += batch["position"].tolist()
        return self.layer(batch["image"].float()).mean()

    def on_train_end(self) -> None:
        """Write the note."""
        (self.folder / f"rank-{self.global_rank}.txt").write_text("\n".join(map(str, self.seen)))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return plain gradient descent."""
        return torch.optim.SGD(self.parameters(), lr=0.01)


def main(index: str, folder: str, checkpoint: str | None = None, num_ranks: str = str(RANKS)) -> None:
    trainer = lightning.Trainer(
        accelerator="cpu",
        devices=int(num_ranks),
        strategy="ddp",
        use_distributed_sampler=False,
        reload_dataloaders_every_n_epochs=1,  # epochs differ by a batch: their length is to be read again
        max_epochs=EPOCHS,
        callbacks=[ModelCheckpoint(folder, "{step}", every_n_train_steps=3, save_top_k=-1)],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(Model(folder), Data(index), ckpt_path=checkpoint)
    # Lightning leaves a group of Gloo to the end of Python, when its threads may abort the process.
    trainer.strategy.barrier()
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(*sys.argv[1:])
