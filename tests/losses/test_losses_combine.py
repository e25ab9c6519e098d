"""The loss of a whole model: weights, rules, targets by stride, and what is reported."""

import subprocess
import sys

import pytest
import torch

import segdata.losses
from segdata.cpp.tensors import cpp_counts
from segdata.errors import SettingsError
from segdata.losses import CPPLoss, CrossEntropyLoss, RMILoss, SegmentationCriterion, Targets, build_criterion
from segdata.losses.criterion import Rule
from segdata.losses.rmi import BinaryCrossEntropyLoss
from segdata.losses.terms import PassShare
from segdata.models.build import build_model
from segdata.models.output import AuxiliaryOutput, ModelOutput, ScaleOutput


@pytest.fixture
def labels(rng):
    """Return two labels of three classes, a quarter ignored."""
    return torch.from_numpy(rng.choice([0, 1, 2, 255], (2, 32, 32)))


@pytest.fixture
def output(rng):
    """Return the maps of a model of two scales with object regions and two auxiliary heads."""

    def scores(side):
        return torch.from_numpy(rng.normal(0, 2, (2, 3, side, side))).requires_grad_()

    auxiliary = (
        AuxiliaryOutput(scores(32), 1, "regions"),
        AuxiliaryOutput(scores(8), 4, "stage1"),
        AuxiliaryOutput(scores(4), 8, "stage2"),
    )
    return ModelOutput(scores(32), 1, auxiliary, (ScaleOutput(scores(4), 0.5), ScaleOutput(scores(8), 1.0)))


def test_the_loss_is_the_weighted_sum_of_its_parts(output, labels):
    report = build_criterion()(output, Targets(labels, num_classes=3))
    ce, cpp = CrossEntropyLoss(), CPPLoss()
    main, regions = ce(output.logits, labels), ce(output.auxiliary[0].logits, labels)
    heads = cpp(output.auxiliary[1].logits, labels) + cpp(output.auxiliary[2].logits, labels)
    scales = ce(output.scales[0].logits, labels) + ce(output.scales[1].logits, labels)
    expected = main + 0.4 * regions + 0.6 * heads + 0.05 * scales
    torch.testing.assert_close(report.loss, expected, rtol=1e-13, atol=0)
    assert list(report.parts) == ["main", "regions", "stage1", "stage2", "scale0.5", "scale1"]


def test_the_floor_of_every_cpp_part_is_reported(output, labels):
    report = build_criterion()(output, Targets(labels, num_classes=3))
    floors = {f"stage{i}": CPPLoss().entropy_floor(cpp_counts(labels, 4 * i, num_classes=3)).double() for i in (1, 2)}
    assert list(report.entropy_floors) == ["stage1", "stage2"]
    torch.testing.assert_close(report.entropy_floors, floors, rtol=1e-6, atol=0)


def test_each_head_may_have_its_own_weight(output, labels):
    criterion = build_criterion(auxiliary_weight={"stage2": 0.25, "*": 0.75}, regions_weight=0, scales_weight=0)
    report = criterion(output, Targets(labels, num_classes=3))
    parts = report.parts
    assert list(parts) == ["main", "stage1", "stage2"]
    torch.testing.assert_close(report.loss, parts["main"] + 0.75 * parts["stage1"] + 0.25 * parts["stage2"])


def test_stored_counts_are_used_and_what_is_missing_is_pooled(output, labels):
    wrong = cpp_counts(labels.flip(2), 4, num_classes=3)
    targets = Targets(labels, {4: wrong}, num_classes=3)
    report = build_criterion()(output, targets)
    torch.testing.assert_close(report.parts["stage1"], CPPLoss()(output.auxiliary[1].logits.detach(), wrong))
    assert targets.pooled == {8}


@pytest.mark.parametrize(("name", "resize"), [("ce", "logits"), ("ce-nearest", "labels")])
def test_the_baselines_train_their_heads_by_cross_entropy(output, labels, name, resize):
    report = build_criterion(auxiliary=name)(output, Targets(labels, num_classes=3))
    stage = CrossEntropyLoss(resize=resize)(output.auxiliary[1].logits.detach(), labels)
    torch.testing.assert_close(report.parts["stage1"], stage, rtol=1e-13, atol=0)
    assert report.entropy_floors == {}


def test_rmi_is_for_the_final_map_and_binary_cross_entropy_for_regions_and_scales(output, labels):
    report = build_criterion(main="rmi")(output, Targets(labels, num_classes=3))
    binary = BinaryCrossEntropyLoss()
    torch.testing.assert_close(report.parts["main"], RMILoss()(output.logits.detach(), labels))
    torch.testing.assert_close(report.parts["regions"], binary(output.auxiliary[0].logits.detach(), labels))
    torch.testing.assert_close(report.parts["scale0.5"], binary(output.scales[0].logits.detach(), labels))


def test_the_final_map_may_be_trained_on_cpp_at_its_stride(output, labels):
    report = build_criterion(main="cpp")(output, Targets(labels, num_classes=3))
    torch.testing.assert_close(report.parts["main"], CrossEntropyLoss()(output.logits.detach(), labels))
    torch.testing.assert_close(report.parts["scale0.5"], CPPLoss()(output.scales[0].logits.detach(), labels))


def test_an_ignored_channel_is_for_the_heads_alone(output, labels, rng):
    wide = AuxiliaryOutput(torch.from_numpy(rng.normal(size=(2, 4, 8, 8))), 4, "coarse1")
    report = build_criterion(ignore="channel")(output._replace(auxiliary=(wide,)), Targets(labels, num_classes=3))
    torch.testing.assert_close(report.parts["coarse1"], CPPLoss(ignore="channel")(wide.logits, labels))


def test_an_all_ignored_batch_has_zero_loss_and_zero_gradient(output, labels):
    report = build_criterion()(output, Targets(torch.full_like(labels, 255), num_classes=3))
    report.loss.backward()
    assert report.loss.item() == 0
    assert torch.equal(output.logits.grad, torch.zeros_like(output.logits))


def test_what_mutual_information_left_out_is_counted_once(output, labels):
    criterion = build_criterion(main="rmi", main_settings={"ridge": 0.0})
    criterion(output, Targets(torch.where(labels == 1, 0, labels), num_classes=3))
    assert criterion.counters()["rmi_left_out"].item() == 2
    assert build_criterion().counters() == {}


@pytest.mark.parametrize("name", ["hrnet", "seethroughnet", "hmsa"])
def test_real_models_train_on_it(rng, name):
    model = build_model(name, 3, backbone="hrnet_tiny", aux_stages=(1, 2, 3, 4))
    labels = torch.from_numpy(rng.choice([0, 1, 2, 255], (2, 64, 64)))
    report = build_criterion()(model(torch.zeros(2, 3, 64, 64)), Targets(labels, num_classes=3))
    report.loss.backward()
    without = [key for key, value in model.named_parameters() if value.grad is None]
    assert len(report.parts) > 1
    assert without == []


def test_importing_training_leaves_torch_alone():
    code = "import sys, segdata.losses as t; assert 'CPPLoss' in dir(t); sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_unknown_name_in_training_is_an_attribute_error():
    with pytest.raises(AttributeError, match=r"module 'segdata.losses' has no attribute 'Loss'"):
        _ = segdata.losses.Loss


def test_a_clone_of_targets_has_tensors_of_its_own(labels):
    targets = Targets(labels, num_classes=3)
    counts = targets.counts(2)
    copy = targets.clone()
    ids, copied = copy.tensors()
    assert torch.equal(ids, labels)
    assert torch.equal(copied, counts)
    assert (ids.data_ptr(), copied.data_ptr()) != (labels.data_ptr(), counts.data_ptr())
    assert (copy.num_classes, copy.ignore_id, copy.pooled) == (3, 255, set())


def test_passes_that_are_parts_of_a_step_are_weighted_by_what_their_mean_is_over(output, labels):
    whole, share = Targets(labels, num_classes=3), PassShare(valid=0.25, pixels=0.5)
    for normalize, factor in (("valid", 0.25), ("all", 0.5)):
        criterion = build_criterion(normalize=normalize, auxiliary="ce-nearest")
        assert criterion(output, whole, share).parts["main"] == factor * criterion(output, whole).parts["main"]


def test_a_map_without_a_rule_is_refused(output, labels):
    criterion = SegmentationCriterion(CrossEntropyLoss(), rules=[Rule("stage*", CPPLoss(), 0.6)])
    with pytest.raises(
        SettingsError, match=r"no rule for the auxiliary map 'regions'\. The patterns are \['stage\*'\]"
    ):
        criterion(output, Targets(labels, num_classes=3))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"main": "cee"}, r"main loss 'cee' is not known\. .* Did you mean 'ce'\?"),
        ({"auxiliary": "nearest"}, r"Did you mean 'ce-nearest'\?"),
        ({"main_settings": {"treshold": 1}, "main": "ohem"}, r"setting of loss 'ohem' 'treshold' .* 'threshold'\?"),
    ],
)
def test_unknown_names_are_refused_with_the_nearest(settings, message):
    with pytest.raises(SettingsError, match=message):
        build_criterion(**settings)
