"""Lightning, two processes: `use_distributed_sampler=False` leaves the dealing to ranks to the sampler.

Run: python examples/lightning_ddp.py INDEX FOLDER
Each rank writes the positions that it trained on to FOLDER/rank-R.txt.
"""

import sys
from pathlib import Path

import lightning
import torch
from torch.utils.data import DataLoader

import segdata
from segdata.sampling.dataset import CropDataset

BATCH, EPOCH, EPOCHS, RANKS = 2, 21, 2, 2  # 21 draws are no whole number of batches of all ranks: none is lost


class Data(lightning.LightningDataModule):
    """Crops dealt to the ranks of the trainer."""

    def __init__(self, index: str) -> None:
        super().__init__()
        self.sources = [segdata.Source(segdata.ClassIndex.load(index), share=1.0, class_uniform=0.5)]

    def train_dataloader(self) -> DataLoader:
        """Return this rank's loader."""
        sampler = segdata.MixedClassUniformSampler(
            self.sources,
            epoch_size=EPOCH,
            batch_size=BATCH,
            rank=self.trainer.global_rank,
            num_ranks=self.trainer.world_size,
        )
        sampler.set_epoch(self.trainer.current_epoch)  # where a checkpoint was loaded
        return DataLoader(CropDataset(self.sources, (16, 24)), batch_size=BATCH, sampler=sampler)


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


def main(index: str, folder: str) -> None:
    trainer = lightning.Trainer(
        accelerator="cpu",
        devices=RANKS,
        strategy="ddp",
        use_distributed_sampler=False,
        max_epochs=EPOCHS,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(Model(folder), Data(index))
    # Lightning leaves a group of Gloo to the end of Python, when its threads may abort the process.
    trainer.strategy.barrier()
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(*sys.argv[1:])
