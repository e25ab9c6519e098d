"""Recorded passes, with a stand-in for CUDA graphs: what is copied, what is taken as written, and what is refused."""

from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import torch

from segdata.errors import SettingsError
from segdata.losses.criterion import LossReport, Targets
from segdata.losses.terms import WHOLE_STEP, PassShare
from segdata.training.recorded_pass import PASSES_BEFORE, RecordedPass


class Passes:
    """Passes whose loss is the sum of all that goes in."""

    def __init__(self) -> None:
        self.launched = 0

    def take(self, images, targets, share):
        self.launched += 1
        self.given = images, targets, share
        self.report = LossReport(self.loss(self.given), {}, {})
        return self.report

    def loss(self, given):
        images, targets, share = given
        return (
            share.valid
            * share.pixels
            * (images.sum() + targets.labels.sum() + targets.counts(1).sum() + 0 * targets.counts(2).sum())
        )


@pytest.fixture
def passes(monkeypatch):
    """Stand in for CUDA graphs: a replay computes what was launched while it was recorded, on the same tensors."""
    made = Passes()

    class Graph:
        def replay(self):
            self.report.loss.copy_(made.loss(self.given))

    @contextmanager
    def recording(graph, *, capture_error_mode):
        assert capture_error_mode == "thread_local"
        yield
        graph.given, graph.report = made.given, made.report

    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "graph", recording)
    return made


def on(device="cuda", ranks=1):
    return SimpleNamespace(device=torch.device(device), num_ranks=ranks)


def batch(number, size=4):
    images = torch.full((2, 3, size, size), float(number))
    labels = torch.full((2, size, size), number, dtype=torch.uint8)
    return images, Targets(labels, {1: torch.full((2, 20, size, size), number)})


def expected(number, size=4):
    return number * size * size * 2 * (3 + 1 + 20)


def test_after_a_few_passes_one_is_recorded_and_then_replayed_on_what_is_given(passes):
    take = RecordedPass(passes.take, on())
    for number in range(1, PASSES_BEFORE + 1):
        assert take(*batch(number), PassShare(0.5, 0.25)).loss == 0.125 * expected(number)
    assert passes.launched == PASSES_BEFORE
    for number in (7, 8, 9):
        images, targets = batch(number)
        assert take(images, targets, PassShare(0.25, 0.5)).loss == 0.125 * expected(number)
        assert targets.pooled == {2}
    assert passes.launched == PASSES_BEFORE + 1


def test_a_batch_of_another_kind_is_taken_as_written(passes):
    take = RecordedPass(passes.take, on())
    for _ in range(PASSES_BEFORE):
        take(*batch(1), WHOLE_STEP)
    assert take(*batch(2), WHOLE_STEP).loss == expected(2)
    launched = passes.launched
    assert take(*batch(3, size=6), WHOLE_STEP).loss == expected(3, size=6)
    wider = batch(3)[0], Targets(batch(3)[1].labels.long(), {1: batch(3)[1].counts(1)})
    assert take(*wider, WHOLE_STEP).loss == expected(3)
    assert passes.launched == launched + 2
    assert take(*batch(4), WHOLE_STEP).loss == expected(4)
    assert passes.launched == launched + 2


@pytest.mark.parametrize(("world", "told"), [(on("cpu"), "on the CPU"), (on(ranks=4), "on 4 ranks")])
def test_more_than_one_gpu_or_none_is_refused(world, told):
    with pytest.raises(SettingsError, match=f"run.cuda_graphs: .*{told}"):
        RecordedPass(None, world)


def test_what_cannot_be_recorded_is_said(passes):
    take = RecordedPass(passes.take, on())
    for _ in range(PASSES_BEFORE):
        take(*batch(1), WHOLE_STEP)

    def fail(*_):
        raise RuntimeError(message)

    take._take = fail
    message = "CUDA error: operation not permitted when stream is capturing\nmore"
    with pytest.raises(SettingsError, match=r"cannot be recorded \(CUDA error: operation not permitted .*\)\. Set"):
        take(*batch(1), WHOLE_STEP)
    message = "CUDA out of memory."
    with pytest.raises(RuntimeError, match="out of memory"):
        take(*batch(1), WHOLE_STEP)
