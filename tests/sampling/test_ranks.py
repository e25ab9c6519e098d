"""Real processes, joined by gloo: however many there are, together they draw the one stream."""

import multiprocessing
import socket
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from indexes import even_index
from torch.utils.data import DataLoader

from segdata.sampling.sampler import MixedClassUniformSampler
from segdata.sampling.stream import Draw, Source

EPOCH, EPOCHS, BATCH = 50, 2, 3


class AsTensor(torch.utils.data.Dataset):
    """Gives a draw as five integers."""

    def __getitem__(self, draw: Draw) -> torch.Tensor:
        position, source, image, class_id, center = draw
        return torch.tensor([position, source, image, -1 if class_id is None else class_id, *(center or (-1, -1))])


def sources() -> list[Source]:
    return [Source(even_index(7), 0.4), Source(even_index(9), 0.4, class_uniform=1.0), Source(even_index(5), 0.2)]


def work(rank: int, num_processes: int, port: int, folder: str) -> None:
    """Join groups of 1, 2, ... processes in turn; draw two epochs in each, and let its rank 0 save what all drew."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"tcp://127.0.0.1:{port}", rank=rank, world_size=num_processes)
    for num_ranks in range(1, num_processes + 1):
        group = dist.new_group(list(range(num_ranks)))
        if rank < num_ranks:
            steps = draw_together(rank, num_ranks, group)
            if rank == 0:
                torch.save(steps, Path(folder) / f"{num_ranks}.pt")
    dist.destroy_process_group()


def draw_together(rank: int, num_ranks: int, group: dist.ProcessGroup) -> list[torch.Tensor]:
    """Return for each step of a DataLoader the draws of all ranks of the group."""
    sampler = MixedClassUniformSampler(sources(), epoch_size=EPOCH, batch_size=BATCH, rank=rank, num_ranks=num_ranks)
    loader = DataLoader(AsTensor(), batch_size=BATCH, sampler=sampler)
    steps = []
    for epoch in range(EPOCHS):
        sampler.set_epoch(epoch)
        for batch in loader:
            assert len(batch) == BATCH
            gathered = [torch.empty_like(batch) for _ in range(num_ranks)]
            dist.all_gather(gathered, batch, group)  # hangs unless all ranks have as many batches
            steps.append(torch.cat(gathered))
    return steps


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return the folder where four real processes left what groups of them drew."""
    path = tmp_path_factory.mktemp("ranks")
    multiprocessing.get_context("forkserver").set_forkserver_preload(["torch", "segdata.sampling.sampler"])
    mp.start_processes(work, (4, free_port(), str(path)), nprocs=4, start_method="forkserver")
    return path


@pytest.mark.parametrize("num_ranks", [1, 2, 3, 4])
def test_the_processes_together_draw_the_stream_of_one(num_ranks, folder):
    stream = MixedClassUniformSampler(sources(), epoch_size=EPOCH).stream.draws(0, EPOCH * EPOCHS)
    at = 0
    for step in torch.load(folder / f"{num_ranks}.pt"):  # each step of all ranks holds the next positions of the stream
        drawn = step[step[:, 0].argsort()]
        assert drawn[:, 0].tolist() == list(range(at, at + BATCH * num_ranks))
        for column, values in enumerate((stream.sources, stream.images, stream.classes, stream.rows, stream.columns)):
            assert drawn[:, column + 1].tolist() == values[at : at + len(drawn)].tolist()
        at += len(drawn)
    assert EPOCH * EPOCHS - BATCH * num_ranks < at <= EPOCH * EPOCHS
