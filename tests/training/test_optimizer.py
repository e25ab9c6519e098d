"""Groups of parameters, the rate of each step, the moving average."""

import pytest
import torch
from torch import nn

from segdata.config.recipe import OptimizerRecipe, ScheduleRecipe
from segdata.training.optimizer import (
    MovingAverage,
    build_optimizer,
    learning_rate,
    parameter_groups,
    set_learning_rate,
)


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1))
        self.head = nn.Conv2d(1, 2, 1)


def rates(num_steps: int, **settings) -> list[float]:
    recipe = ScheduleRecipe(batch_size=1, iterations=num_steps, **settings)
    return [learning_rate(step, num_steps, 1.0, recipe) for step in range(num_steps)]


def test_poly_falls_to_nothing_at_the_end():
    assert rates(4, power=1.0) == [1.0, 0.75, 0.5, 0.25]
    assert rates(2, power=2.0) == [1.0, 0.25]


def test_warm_up_rises_in_a_straight_line():
    found = rates(100, power=0.9, warmup_iterations=10, warmup_factor=0.1)
    plain = rates(100, power=0.9)
    assert [a / b for a, b in zip(found[:11], plain[:11], strict=True)] == pytest.approx(
        [0.1 + 0.09 * s for s in range(10)] + [1]
    )
    assert found[10:] == plain[10:]


def test_the_rate_ends_at_its_least():
    assert rates(4, power=1.0, min_lr=0.6) == pytest.approx([1.0, 0.9, 0.8, 0.7])


@pytest.mark.parametrize(("power", "min_lr"), [(0.9, 1e-4), (2.0, 0.0), (0.9, 0.01)])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch.jit, which mmengine still imports
def test_rates_are_those_of_mmcv(power, min_lr):
    """By mmengine's schedule of one more step: it reaches its end in the last step, mmcv's one after it."""
    from mmengine.optim import PolyLR

    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = PolyLR(optimizer, eta_min=min_lr, power=power, begin=0, end=51, by_epoch=False)
    theirs = []
    for _ in range(50):
        theirs.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    assert rates(50, power=power, min_lr=min_lr) == pytest.approx(theirs, rel=1e-9)


def test_heads_have_their_own_rate():
    model = Model()
    optimizer = build_optimizer(model, OptimizerRecipe(lr=0.1, head_lr_factor=10))
    set_learning_rate(optimizer, 0.05)
    found = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    assert found[id(model.backbone[0].weight)] == 0.05
    assert found[id(model.head.bias)] == 0.5


def test_adamw_takes_its_own_settings():
    model = nn.Module()
    model.backbone = nn.Linear(2, 2)
    recipe = OptimizerRecipe(name="adamw", lr=0.001, betas=(0.8, 0.99), weight_decay=0.05)
    optimizer = build_optimizer(model, recipe)
    assert isinstance(optimizer, torch.optim.AdamW)
    (group,) = optimizer.param_groups
    assert (group["lr"], group["betas"], group["weight_decay"], group["fused"]) == (0.001, (0.8, 0.99), 0.05, True)


def test_norms_and_biases_can_be_left_undecayed():
    model = Model()
    groups = parameter_groups(model, OptimizerRecipe(lr=0.1, weight_decay=0.5, decay_norms=False))
    decays = {id(p): group["weight_decay"] for group in groups for p in group["params"]}
    assert [decays[id(p)] for p in (model.backbone[0].weight, model.head.weight)] == [0.5, 0.5]
    assert [decays[id(p)] for p in (*model.backbone[1].parameters(), model.head.bias)] == [0, 0, 0]


def test_the_average_forgets_its_start_soon_and_then_keeps_its_decay():
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, 0.0)
    average = MovingAverage(model, decay=0.5)
    nn.init.constant_(model.weight, 1.0)
    average.update(model, step=0)  # keeps 1 / 10
    assert average.model.weight.item() == pytest.approx(0.9)
    average.update(model, step=100)  # keeps 0.5
    assert average.model.weight.item() == pytest.approx(0.95)


def test_the_average_takes_the_newest_buffers():
    model = nn.BatchNorm2d(1)
    average = MovingAverage(model, decay=0.99)
    model(torch.ones(2, 1, 2, 2))
    average.update(model, step=50)
    assert torch.equal(average.model.running_mean, model.running_mean)
    assert not average.model.weight.requires_grad
    model.running_mean.fill_(7.0)
    average.copy_buffers(model)
    assert average.model.running_mean.item() == 7
    assert average.model.num_batches_tracked.item() == 1
