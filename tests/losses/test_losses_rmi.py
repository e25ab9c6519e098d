"""Region mutual information against NumPy, patch by patch, with inverses and determinants."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from segdata.errors import SettingsError
from segdata.losses import RMILoss
from segdata.losses.rmi import BinaryCrossEntropyLoss


@pytest.fixture
def labels(rng):
    """Return two labels of two classes in blocks, some ignored."""
    blocks = torch.from_numpy(rng.choice([0, 1, 1, 255], (2, 10, 12)))
    return blocks.repeat_interleave(3, 1).repeat_interleave(3, 2)


@pytest.fixture
def logits(rng, labels):
    """Return scores of two classes for every pixel."""
    return torch.from_numpy(rng.normal(0, 2, (2, 2, *labels.shape[1:])))


def average_pool(image):
    """Average 4 x 4 windows of an image padded by 2 zeros, whole windows alone."""
    padded = np.pad(image, 2)
    height, width = padded.shape[0] // 4, padded.shape[1] // 4
    return np.array(
        [[padded[4 * i : 4 * i + 4, 4 * j : 4 * j + 4].sum() / 16 for j in range(width)] for i in range(height)]
    )


def patch_vectors(image):
    """Return all 3 x 3 patches of an image as columns, less their mean."""
    height, width = image.shape
    patches = [image[i : i + 3, j : j + 3].ravel() for i in range(height - 2) for j in range(width - 2)]
    return np.array(patches).T - np.mean(patches, axis=0)[:, None]


def reference_bound(scores, ids, class_id):
    """Return the lower bound of one image and class by the published formula."""
    valid = ids != 255
    of_labels = patch_vectors(average_pool(((ids == class_id) & valid).astype(float)))
    of_scores = patch_vectors(average_pool(1 / (1 + np.exp(-scores[class_id])) * valid + 1e-6))
    inverse = np.linalg.inv(of_scores @ of_scores.T + 5e-4 * np.eye(9))
    between = of_labels @ of_scores.T
    remaining = of_labels @ of_labels.T - between @ inverse @ between.T
    return 0.5 * np.linalg.slogdet(remaining + 5e-4 * np.eye(9))[1] / 9


def reference_binary(logits, labels):
    """Return the binary cross entropy, summed over classes, averaged over valid pixels."""
    valid = labels != 255
    one_hot = F.one_hot(torch.where(valid, labels, 0), logits.shape[1]).permute(0, 3, 1, 2).double()
    losses = F.binary_cross_entropy_with_logits(logits.double(), one_hot, reduction="none").sum(1)
    return (losses * valid).sum() / valid.sum()


def test_bound_is_the_published_formula_image_by_image_and_class_by_class(logits, labels):
    bounds = RMILoss().lower_bound(logits, labels).numpy()
    expected = [[reference_bound(s, y, k) for k in (0, 1)] for s, y in zip(logits.numpy(), labels.numpy(), strict=True)]
    np.testing.assert_allclose(bounds, expected, rtol=1e-9)


def test_loss_is_half_binary_cross_entropy_and_half_mutual_information(logits, labels):
    loss = RMILoss()
    expected = 0.5 * reference_binary(logits, labels) + 0.5 * loss.lower_bound(logits, labels).sum(1).mean()
    torch.testing.assert_close(loss(logits, labels), expected, rtol=1e-12, atol=0)


def test_binary_cross_entropy_is_torchs_over_valid_pixels(logits, labels):
    expected = reference_binary(logits, labels)
    torch.testing.assert_close(BinaryCrossEntropyLoss()(logits, labels), expected, rtol=1e-12, atol=0)


def test_labels_of_bytes_and_scores_of_float32_are_taken(logits, labels):
    loss = RMILoss()(logits.float(), labels.to(torch.uint8))
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss.double(), RMILoss()(logits, labels), rtol=1e-4, atol=0)


def test_a_size_that_the_pool_does_not_divide_drops_the_last_window(logits, labels):
    cut = (slice(None), slice(0, 29), slice(0, 35))
    expected = [
        reference_bound(s, y, 1) for s, y in zip(logits[:, :, :29, :35].numpy(), labels[cut].numpy(), strict=True)
    ]
    bounds = RMILoss().lower_bound(logits[:, :, :29, :35], labels[cut])[:, 1]
    np.testing.assert_allclose(bounds.numpy(), expected, rtol=1e-9)


def test_gradcheck(logits, labels):
    scores = logits[:1, :, :24, :24].clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda s: RMILoss()(s, labels[:1, :24, :24]), scores, fast_mode=True)


def test_a_better_prediction_has_a_lower_bound(labels):
    valid = torch.where(labels == 255, 0, labels)
    truth = 4.0 * F.one_hot(valid, 2).permute(0, 3, 1, 2).double() - 2
    loss = RMILoss()
    assert (loss.lower_bound(truth, labels) < loss.lower_bound(-truth.roll(7, 3), labels)).all()


def test_an_all_ignored_batch_has_zero_loss_and_finite_gradient(logits, labels):
    logits.requires_grad_()
    value = RMILoss()(logits, torch.full_like(labels, 255))
    value.backward()
    assert value.item() == 0
    assert torch.isfinite(logits.grad).all()


def test_an_all_ignored_image_does_not_count(logits, labels):
    ignored = torch.cat([labels[:1], torch.full_like(labels[:1], 255)])
    torch.testing.assert_close(RMILoss()(logits, ignored), RMILoss()(logits[:1], labels[:1]), rtol=1e-13, atol=0)


def test_covariances_without_a_cholesky_factor_are_left_out_and_counted(logits, labels):
    loss = RMILoss(ridge=0.0)  # a class that is nowhere has a covariance of zeros
    absent = torch.where(labels == 1, 0, labels)
    logits.requires_grad_()
    value = loss(logits, absent)
    value.backward()
    assert loss.left_out.item() == 2
    assert torch.isfinite(value)
    assert torch.isfinite(logits.grad).all()


def test_scores_that_are_no_numbers_spoil_their_class_of_their_image_alone(logits, labels):
    logits[0, 1, 5, 5] = torch.nan
    loss = RMILoss()
    assert torch.isfinite(loss.lower_bound(logits, labels)).all()
    assert loss.left_out.item() == 1


def test_what_is_left_out_gives_no_gradient(logits, labels):
    logits.requires_grad_()
    loss = RMILoss(ridge=0.0)
    loss.lower_bound(logits, torch.where(labels == 1, 0, labels))[:, 1].sum().backward()
    assert torch.equal(logits.grad, torch.zeros_like(logits))


def test_autocast_does_not_reach_the_matrix_products(logits, labels):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = RMILoss()(logits.float(), labels)
    assert torch.equal(inside, RMILoss()(logits.float(), labels))


def test_crops_without_a_patch_are_refused(logits, labels):
    with pytest.raises(SettingsError, match=r"labels of 6 x 6 pixels pooled by 4 hold no patch of 3 x 3"):
        RMILoss()(logits[:, :, :6, :6], labels[:, :6, :6])


def test_settings_out_of_range_are_refused():
    with pytest.raises(SettingsError, match=r"binary_share 1.5\. .* the share is from 0 to 1"):
        RMILoss(binary_share=1.5)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_either_part_may_have_all_of_the_weight(share):
    assert RMILoss(binary_share=share).binary_share == share


def test_the_share_divides_the_weight_between_the_parts(logits, labels):
    parts = {term.name: term.weight for term in RMILoss(binary_share=0.25).terms(logits, labels)}
    assert parts == {"bce": 0.25, "rmi": 0.75}
