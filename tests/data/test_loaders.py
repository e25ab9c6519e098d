"""Loaders of others around the sampler: resumed anywhere, also where workers run ahead of the training."""

import pytest
import torch
from indexes import even_index
from torch.utils.data import DataLoader, Dataset

from segdata.sampling.sampler import MixedClassUniformBatchSampler, MixedClassUniformSampler
from segdata.sampling.stream import Draw, Source

pytestmark = pytest.mark.filterwarnings("ignore:'set_vital' is deprecated")  # torchdata 0.11 with torch 2.13


class Positions(Dataset):
    """Gives the position of a draw."""

    def __getitem__(self, draw: Draw) -> int:
        return draw.position


def make_sampler(**settings):
    """Return a sampler of five batches of four per epoch."""
    sources = [Source(even_index(7), 0.4), Source(even_index(5), 0.6, class_uniform=1.0)]
    return MixedClassUniformSampler(sources, epoch_size=20, batch_size=4, **settings)


def make_stateful(form, num_workers, **settings):
    """Return a StatefulDataLoader with the sampler in one of its two forms."""
    loaders = pytest.importorskip("torchdata.stateful_dataloader")
    sampler = make_sampler(**settings)
    if form == "batches":
        batches = MixedClassUniformBatchSampler(sampler)
        return loaders.StatefulDataLoader(Positions(), batch_sampler=batches, num_workers=num_workers)
    return loaders.StatefulDataLoader(Positions(), batch_size=4, sampler=sampler, num_workers=num_workers)


def read(loader, num_batches):
    """Return the positions of the next batches, over as many epochs as it takes, and the state after them."""
    seen = []
    while num_batches:
        for batch in loader:
            seen += batch.tolist()
            num_batches -= 1
            if not num_batches:
                return seen, loader.state_dict()
    return seen, loader.state_dict()


@pytest.mark.parametrize("form", ["draws", "batches"])
@pytest.mark.parametrize(("num_workers", "stops"), [(0, range(12)), (2, (1, 4, 5, 8))])
def test_a_stateful_loader_goes_on_after_any_batch(form, num_workers, stops):
    for stop in stops:
        seen, state = read(make_stateful(form, num_workers), stop)
        loader = make_stateful(form, num_workers)
        loader.load_state_dict(state)
        seen += read(loader, 7)[0]
        assert seen == list(range(len(seen)))


def test_a_stateful_loader_goes_on_with_another_number_of_ranks():
    for stop in (1, 2, 3):
        seen, state = read(make_stateful("draws", 2), stop)
        for rank in range(2):
            loader = make_stateful("draws", 2, rank=rank, num_ranks=2)
            loader.load_state_dict(state)
            seen += [position for batch in loader for position in batch.tolist()]
        assert sorted(seen) == list(range(20 if stop % 2 else 16))  # whole batches of both ranks


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_stateful_loader_is_read_as_long_as_the_sampler_has_epochs_left(num_workers):
    for stop in (3, 5, 6):
        seen, state = read(make_stateful("draws", num_workers), stop)
        loader = make_stateful("draws", num_workers)
        loader.load_state_dict(state)
        while loader.sampler.epoch < 2:
            seen += [position for batch in loader for position in batch.tolist()]
        assert seen == list(range(40))


def first_after_a_break(num_workers, epoch=None):
    """Return the first position read after the second batch of epoch 0 was the last read of it."""
    sampler = make_sampler()
    loader = DataLoader(Positions(), batch_size=4, sampler=sampler, num_workers=num_workers)
    for number, _ in enumerate(loader):
        if number == 1:
            break
    if epoch is not None:
        sampler.set_epoch(epoch)
    return next(iter(loader))[0].item()


def test_after_a_break_the_workers_decide_what_comes_next_unless_the_epoch_is_set():
    assert [first_after_a_break(num_workers) for num_workers in (0, 2)] == [0, 20]
    assert [first_after_a_break(num_workers, epoch=0) for num_workers in (0, 2)] == [0, 0]
    assert [first_after_a_break(num_workers, epoch=1) for num_workers in (0, 2)] == [20, 20]


def test_a_plain_loader_goes_on_by_what_was_consumed():
    sampler = make_sampler()
    loader = iter(DataLoader(Positions(), batch_size=4, sampler=sampler, num_workers=2))
    seen = torch.cat([next(loader) for _ in range(2)]).tolist()
    resumed = make_sampler(num_ranks=2)  # on other machines
    resumed.load_state_dict(sampler.state_dict(consumed=len(seen)))
    assert next(iter(resumed)).position in (8, 9)
    assert len(resumed) == 4


def test_batches_form_a_valid_batch_sampler():
    loader = DataLoader(Positions(), batch_sampler=MixedClassUniformBatchSampler(make_sampler()))
    assert len(loader) == 5
    assert torch.cat(list(loader)).tolist() == list(range(20))
