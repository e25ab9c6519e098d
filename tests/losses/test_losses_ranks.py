"""Two processes under DDP train as one, however the crops are distributed across them."""

import numpy as np
import pytest
import torch
from torch import distributed, multiprocessing, nn
from torch.nn.parallel import DistributedDataParallel

from segdata.losses import Targets, build_criterion
from segdata.models.output import AuxiliaryOutput, ModelOutput

CRITERIA = {
    "ce + cpp": {},
    "ohem + cpp": {"main": "ohem", "main_settings": {"min_kept": 40}},
    "rmi + cpp": {"main": "rmi"},
    "cpp + ce-nearest": {"main": "cpp", "auxiliary": "ce-nearest"},
}
DEALS = {"even": ([0, 1], [2, 3]), "crossed": ([3, 0], [2, 1]), "uneven": ([3], [2, 0, 1])}


class Model(nn.Module):
    """A final map at full size and one auxiliary head at stride 4, without batch statistics."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.final = nn.Conv2d(3, 3, 1)
        self.head = nn.Conv2d(3, 3, 4, stride=4)

    def forward(self, images):
        return ModelOutput(self.final(images), 1, (AuxiliaryOutput(self.head(images), 4, "stage1"),))


def crops():
    """Return four crops whose ignored share goes from nothing to all."""
    rng = np.random.default_rng(9802)
    labels = rng.integers(0, 3, (4, 24, 24))
    for label, share in zip(labels, (0, 0.2, 0.9, 1), strict=True):
        label[rng.random(label.shape) < share] = 255
    return torch.from_numpy(rng.normal(size=(4, 3, 24, 24))), torch.from_numpy(labels)


def train_one_step(model, settings, chosen):
    """Return the loss and the gradient of some crops."""
    images, labels = (tensor[chosen] for tensor in crops())
    report = build_criterion(**settings)(model(images), Targets(labels, num_classes=3))
    model.zero_grad()
    report.loss.backward()
    return report.loss.detach(), torch.cat([parameter.grad.flatten() for parameter in model.parameters()])


def train_on_ranks(rank, folder):
    """Train one step for every criterion and deal, and save what rank 0 has of it."""
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    model = DistributedDataParallel(Model().double())
    found = {}
    for criterion, settings in CRITERIA.items():
        for deal, shares in DEALS.items():
            loss, gradient = train_one_step(model, settings, shares[rank])
            distributed.all_reduce(loss)
            found[criterion, deal] = (loss / 2, gradient)
    if rank == 0:
        torch.save(found, f"{folder}/found.pt")
    distributed.destroy_process_group()


@pytest.fixture(scope="module")
def on_two_ranks(tmp_path_factory):
    """Return losses and gradients of two processes by criterion and deal."""
    folder = tmp_path_factory.mktemp("ranks")
    multiprocessing.spawn(train_on_ranks, (str(folder),), nprocs=2)
    return torch.load(folder / "found.pt")


@pytest.mark.parametrize("deal", DEALS)
@pytest.mark.parametrize("criterion", CRITERIA)
def test_loss_and_gradient_equal_those_of_one_process(on_two_ranks, criterion, deal):
    loss, gradient = train_one_step(Model().double(), CRITERIA[criterion], [0, 1, 2, 3])
    torch.testing.assert_close(on_two_ranks[criterion, deal], (loss, gradient), rtol=1e-10, atol=1e-14)


def test_a_mean_per_rank_would_not_pass_this_test():
    alone = [train_one_step(Model().double(), {}, share)[1] for share in DEALS["uneven"]]
    whole = train_one_step(Model().double(), {}, [0, 1, 2, 3])[1]
    assert (sum(alone) / 2 - whole).abs().max() > 0.01 * whole.abs().max()
