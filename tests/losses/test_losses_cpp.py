"""The loss on CPP targets against sums written out in float64, and against cross entropy where they coincide."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from segdata.cpp.tensors import cpp_counts
from segdata.errors import SettingsError
from segdata.losses import CPPLoss, CrossEntropyLoss


@pytest.fixture
def labels(rng):
    """Return two labels of three classes, a quarter ignored."""
    return torch.from_numpy(rng.choice([0, 1, 2, 255], (2, 8, 12)))


@pytest.fixture
def logits(rng):
    """Return scores of three classes at stride 4."""
    return torch.from_numpy(rng.normal(0, 3, (2, 3, 2, 3)))


def written_out(logits, counts, ignore):
    """Return (divergence, entropy) by the definition, cell by cell, in Python floats."""
    divergence = entropy = mass = 0.0
    for scores, cell in zip(
        logits.permute(0, 2, 3, 1).reshape(-1, logits.shape[1]).tolist(),
        counts.permute(0, 2, 3, 1).reshape(-1, counts.shape[1]).tolist(),
        strict=True,
    ):
        classes = cell[:-1] if ignore == "mask" else cell
        valid = sum(classes) / sum(cell)
        log_norm = math.log(sum(math.exp(score) for score in scores))
        mass += valid
        for score, count in zip(scores, classes, strict=True):
            if count:
                q = count / sum(classes)
                entropy -= valid * q * math.log(q)
                divergence += valid * q * (math.log(q) - (score - log_norm))
    return divergence / mass, entropy / mass


def test_hand_worked_cell():
    logits = torch.tensor([math.log(3.0), 0.0]).view(1, 2, 1, 1)  # predicts 3/4 and 1/4
    even = torch.tensor([2, 2, 0], dtype=torch.uint8).view(1, 3, 1, 1)
    expected = 0.5 * math.log(0.5 / 0.75) + 0.5 * math.log(0.5 / 0.25)
    assert CPPLoss()(logits, even).item() == pytest.approx(expected, rel=1e-6)


def test_a_perfect_prediction_has_no_loss_and_no_gradient():
    logits = torch.tensor([math.log(3.0), 0.0], dtype=torch.float64).view(1, 2, 1, 1).requires_grad_()
    loss = CPPLoss()(logits, torch.tensor([3, 1, 4]).view(1, 3, 1, 1))
    loss.backward()
    assert abs(loss.item()) < 1e-15
    assert logits.grad.abs().max() < 1e-15


def test_masked_value_is_the_written_out_sum(logits, labels):
    counts = cpp_counts(labels, 4, num_classes=3)
    expected, floor = written_out(logits, counts, "mask")
    loss = CPPLoss()
    assert loss(logits, counts).item() == pytest.approx(expected, rel=1e-14)
    assert loss.entropy_floor(counts).item() == pytest.approx(floor, rel=1e-6)


def test_channel_value_is_the_written_out_sum(rng, labels):
    logits = torch.from_numpy(rng.normal(0, 3, (2, 4, 2, 3)))
    counts = cpp_counts(labels, 4, num_classes=3)
    expected, floor = written_out(logits, counts, "channel")
    loss = CPPLoss(ignore="channel")
    assert loss(logits, counts).item() == pytest.approx(expected, rel=1e-14)
    assert loss.entropy_floor(counts).item() == pytest.approx(floor, rel=1e-6)


def test_torchs_kl_div_agrees_where_nothing_is_ignored(logits, rng):
    counts = cpp_counts(torch.from_numpy(rng.integers(0, 3, (2, 8, 12))), 4, num_classes=3)
    target = counts[:, :3].double() / 16
    expected = F.kl_div(F.log_softmax(logits, 1), target, reduction="none").sum() / 12
    torch.testing.assert_close(CPPLoss()(logits, counts), expected, rtol=1e-14, atol=0)


def test_the_gradient_is_that_of_soft_cross_entropy(logits, labels):
    counts = cpp_counts(labels, 4, num_classes=3)
    logits.requires_grad_()
    CPPLoss()(logits, counts).backward()
    valid = counts[:, :3].sum(1, keepdim=True).double()
    expected = (valid * torch.softmax(logits.detach(), 1) - counts[:, :3]) / valid.sum()
    torch.testing.assert_close(logits.grad, expected, rtol=1e-12, atol=1e-16)


@pytest.mark.parametrize("ignore", ["mask", "channel"])
def test_gradcheck(rng, labels, ignore):
    logits = torch.from_numpy(rng.normal(size=(2, 3 + (ignore == "channel"), 2, 3))).requires_grad_()
    counts = cpp_counts(labels, 4, num_classes=3)
    assert torch.autograd.gradcheck(lambda scores: CPPLoss(ignore=ignore)(scores, counts), logits)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_at_cell_one_it_is_cross_entropy_to_the_last_bit(rng, labels, dtype):
    scores = torch.from_numpy(rng.normal(0, 5, (2, 3, 8, 12))).to(dtype)
    one, other = scores.clone().requires_grad_(), scores.clone().requires_grad_()
    pooled, plain = CPPLoss()(one, labels), CrossEntropyLoss()(other, labels)
    pooled.backward()
    plain.backward()
    assert torch.equal(pooled, plain)
    assert torch.equal(one.grad, other.grad)


def test_labels_and_their_counts_give_the_same(logits, labels):
    loss = CPPLoss()
    assert torch.equal(loss(logits, labels), loss(logits, cpp_counts(labels, 4, num_classes=3)))


def test_ragged_labels_are_pooled_by_the_cell_that_is_named(rng):
    labels = torch.from_numpy(rng.integers(0, 3, (1, 9, 13)))
    logits = torch.zeros(1, 3, 2, 2)
    counts = cpp_counts(labels, 8, num_classes=3)
    assert torch.equal(CPPLoss()(logits, labels, cell=8), CPPLoss()(logits, counts))


def test_only_the_ratios_of_areas_matter(logits, labels):
    counts = cpp_counts(labels, 4, num_classes=3).to(torch.int64)
    torch.testing.assert_close(CPPLoss()(logits, counts * 10**9), CPPLoss()(logits, counts), rtol=1e-12, atol=0)


def test_stored_uint16_counts_are_taken(logits, labels):
    counts = cpp_counts(labels, 4, num_classes=3)
    stored = torch.from_numpy(counts.numpy().astype(np.uint16))
    assert torch.equal(CPPLoss()(logits, stored), CPPLoss()(logits, counts))


def test_a_wholly_ignored_cell_weighs_nothing(logits, labels):
    counts = cpp_counts(labels, 4, num_classes=3)
    counts[0, :, 0, 0] = torch.tensor([0, 0, 0, 16])
    other = logits.clone()
    other[0, :, 0, 0] = torch.tensor([50.0, -50.0, 7.0])
    assert torch.equal(CPPLoss()(logits, counts), CPPLoss()(other, counts))


def test_an_all_ignored_batch_has_zero_loss_and_zero_gradient(logits):
    logits.requires_grad_()
    loss = CPPLoss()(logits, torch.full((2, 8, 12), 255))
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(logits.grad, torch.zeros_like(logits))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_scores_lose_nothing_but_their_own_rounding(logits, labels, dtype):
    half = (logits * 1000).to(dtype)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = CPPLoss()(half, labels)
    assert loss.dtype == torch.float32
    assert torch.equal(loss, CPPLoss()(half.float(), labels))
    assert torch.isfinite(loss)


def test_no_floating_target_is_kept_for_the_backward_pass(rng):
    labels = torch.from_numpy(rng.integers(0, 19, (1, 64, 64), dtype=np.uint8))
    logits = torch.zeros(1, 19, 16, 16, requires_grad=True)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor) or tensor, lambda tensor: tensor):
        CPPLoss()(logits, labels)
    floating = [tensor for tensor in kept if tensor.is_floating_point() and tensor.numel() >= logits.numel()]
    assert len({tensor.data_ptr() for tensor in floating}) == 1  # the log-probabilities


def test_one_graph_under_compile(logits, labels):
    loss = CPPLoss()
    compiled = torch.compile(lambda scores: loss(scores, labels), fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(logits), loss(logits, labels), rtol=1e-14, atol=0)


def test_an_unknown_treatment_is_refused():
    with pytest.raises(SettingsError, match=r"ignore 'drop': the ignored mass is a 'mask' or a 'channel'"):
        CPPLoss(ignore="drop")


def test_counts_of_another_stride_are_refused(logits, labels):
    with pytest.raises(SettingsError, match=r"counts of \(2, 4, 4, 6\)\. .* counts of shape \(2, 4, 2, 3\)"):
        CPPLoss()(logits, cpp_counts(labels, 2, num_classes=3))


def test_labels_that_are_no_multiple_need_the_cell(labels):
    with pytest.raises(SettingsError, match=r"3 x 3 are not a whole fraction of labels of 8 x 12\. Pass cell="):
        CPPLoss()(torch.zeros(2, 3, 3, 3), labels)
