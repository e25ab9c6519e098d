"""Cross entropy and its mining of hard pixels against torch and against sums written out."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from segdata.errors import LabelError, SettingsError
from segdata.losses import CrossEntropyLoss, OHEMCrossEntropyLoss, build_criterion
from segdata.losses.terms import nearest_labels


@pytest.fixture
def labels(rng):
    """Return two labels of three classes, a quarter ignored."""
    return torch.from_numpy(rng.choice([0, 1, 2, 255], (2, 6, 8)))


@pytest.fixture
def logits(rng):
    """Return scores of three classes for every pixel."""
    return torch.from_numpy(rng.normal(0, 2, (2, 3, 6, 8)))


def scores_for(probabilities):
    """Return scores of one row of pixels, two classes, that give class 0 these probabilities."""
    odds = [math.log(p / (1 - p)) for p in probabilities]
    return torch.tensor([[odds], [[0.0] * len(odds)]])[None]


def test_hand_worked_pixels():
    loss = CrossEntropyLoss()(scores_for([0.5, 0.25, 0.9]), torch.tensor([[[0, 1, 255]]]))
    assert loss.item() == pytest.approx(-(math.log(0.5) + math.log(0.75)) / 2, rel=1e-6)


def test_it_is_torchs_mean_over_valid_pixels(logits, labels):
    expected = F.cross_entropy(logits, labels, ignore_index=255)
    torch.testing.assert_close(CrossEntropyLoss()(logits, labels), expected, rtol=1e-14, atol=0)


def test_labels_of_bytes_are_taken(logits, labels):
    assert torch.equal(CrossEntropyLoss()(logits, labels.to(torch.uint8)), CrossEntropyLoss()(logits, labels))


def test_coarse_scores_are_enlarged_to_the_labels(logits, labels):
    coarse = logits[:, :, :3, :4]
    enlarged = F.interpolate(coarse, size=(6, 8), mode="bilinear", align_corners=False)
    assert torch.equal(CrossEntropyLoss()(coarse, labels), CrossEntropyLoss()(enlarged, labels))


def test_or_the_nearest_labels_are_kept(logits, labels):
    coarse = logits[:, :, :3, :4]
    loss = CrossEntropyLoss(resize="labels")
    assert torch.equal(loss(coarse, labels), loss(coarse, labels[:, ::2, ::2]))


@pytest.mark.parametrize("size", [(3, 4), (5, 3), (6, 8), (13, 9)])
def test_nearest_labels_are_torchs_nearest(labels, size):
    expected = F.interpolate(labels[:, None].double(), size=size, mode="nearest")[:, 0].long()
    assert torch.equal(nearest_labels(labels, size), expected)


@pytest.mark.parametrize("loss", [CrossEntropyLoss(), OHEMCrossEntropyLoss(min_kept=5, threshold=0.4)])
def test_gradcheck(logits, labels, loss):
    logits.requires_grad_()
    assert torch.autograd.gradcheck(lambda scores: loss(scores, labels), logits)


@pytest.mark.parametrize("loss", [CrossEntropyLoss(), OHEMCrossEntropyLoss()])
def test_an_all_ignored_batch_has_zero_loss_and_zero_gradient(logits, loss):
    logits.requires_grad_()
    value = loss(logits, torch.full((2, 6, 8), 255))
    value.backward()
    assert value.item() == 0
    assert torch.equal(logits.grad, torch.zeros_like(logits))


def test_half_precision_scores_are_summed_in_float32(logits, labels):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = CrossEntropyLoss()(logits.bfloat16(), labels)
    assert loss.dtype == torch.float32
    assert torch.equal(loss, CrossEntropyLoss()(logits.bfloat16().float(), labels))


def test_hard_pixels_are_those_below_the_threshold():
    loss = OHEMCrossEntropyLoss(threshold=0.7, min_kept=1)
    value = loss(scores_for([0.2, 0.6, 0.8, 0.9]), torch.zeros(1, 1, 4, dtype=torch.long))
    assert value.item() == pytest.approx(-(math.log(0.2) + math.log(0.6)) / 2, rel=1e-6)


def test_at_least_so_many_are_kept():
    loss = OHEMCrossEntropyLoss(threshold=0.1, min_kept=3)
    value = loss(scores_for([0.2, 0.6, 0.8, 0.9]), torch.zeros(1, 1, 4, dtype=torch.long))
    assert value.item() == pytest.approx(-(math.log(0.2) + math.log(0.6) + math.log(0.8)) / 3, rel=1e-6)


def test_ignored_pixels_are_never_the_hard_ones():
    loss = OHEMCrossEntropyLoss(threshold=0.1, min_kept=3)
    value = loss(scores_for([0.2, 0.6, 0.8, 0.9]), torch.tensor([[[255, 0, 255, 0]]]))
    assert value.item() == pytest.approx(-(math.log(0.6) + math.log(0.9)) / 2, rel=1e-6)


def test_hard_pixels_are_found_image_by_image(logits, labels):
    loss = OHEMCrossEntropyLoss(threshold=0.05, min_kept=4)
    both = loss(logits, labels)
    expected = total = 0.0
    for scores, ids in zip(logits, labels, strict=True):
        losses = np.sort(F.cross_entropy(scores[None], ids[None], ignore_index=255, reduction="none").flatten())[::-1]
        hard = max(4, np.count_nonzero(losses > -math.log(0.05)))
        expected, total = expected + losses[:hard].sum(), total + hard
    assert both.item() == pytest.approx(expected / total, rel=1e-12)


def test_a_label_outside_the_classes_is_named(logits):
    with pytest.raises(LabelError, match=r"id 3 is neither a class \(0-2\) nor the ignored id 255"):
        CrossEntropyLoss()(logits, torch.full((2, 6, 8), 3))


def test_an_unknown_way_to_resize_is_refused():
    with pytest.raises(SettingsError, match=r"resize 'both': what is resized is the 'logits' or the 'labels'"):
        CrossEntropyLoss(resize="both")


@pytest.mark.parametrize("settings", [{"threshold": 0.0}, {"min_kept": 0}])
def test_mining_nothing_is_refused(settings):
    with pytest.raises(SettingsError, match=r"at least one pixel is kept"):
        OHEMCrossEntropyLoss(**settings)


def test_a_mean_over_all_pixels_counts_the_ignored_ones(logits, labels):
    loss = CrossEntropyLoss(normalize="all")(logits, labels)
    total = F.cross_entropy(logits, labels, ignore_index=255, reduction="sum")
    torch.testing.assert_close(loss, total / labels.numel(), rtol=1e-14, atol=0)


def test_mined_pixels_are_averaged_over_all_pixels_too(logits, labels):
    mined = OHEMCrossEntropyLoss(min_kept=5, threshold=0.3)
    over_all = OHEMCrossEntropyLoss(min_kept=5, threshold=0.3, normalize="all")
    hard = mined.hard_pixels(mined.per_pixel(logits, labels), labels != 255).sum()
    assert 0 < hard < (labels != 255).sum()
    torch.testing.assert_close(
        over_all(logits, labels) * labels.numel(), mined(logits, labels) * hard, rtol=1e-14, atol=0
    )


@pytest.mark.parametrize("kind", [CrossEntropyLoss, OHEMCrossEntropyLoss])
def test_another_mean_is_refused(kind):
    with pytest.raises(SettingsError, match=rf"{kind.__name__}, normalize 'both'.*'valid' pixels or over 'all'"):
        kind(normalize="both")


def test_a_criterion_hands_it_to_cross_entropy_alone():
    criterion = build_criterion(main="ohem", auxiliary="ce-nearest", normalize="all")
    assert [loss.normalize for loss in (criterion.main, criterion.scales, *criterion.rule_losses)] == ["all"] * 4
    assert not hasattr(build_criterion(main="rmi", auxiliary="cpp", normalize="all").main, "normalize")
