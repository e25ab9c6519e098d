"""The torch twins against the NumPy ones and against one-hot average pooling, eager and compiled."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from segdata.cpp import pooling, scaling, tensors
from segdata.cpp.scaling import ScaledGrid
from segdata.cpp.tensors_scaling import grid_tables, scaled_counts, scaled_pool
from segdata.errors import LabelError, SettingsError

NEEDS_CUDA = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]
DEVICES = ["cpu", pytest.param("cuda", marks=NEEDS_CUDA)]


@pytest.fixture
def labels(rng):
    """Return three labels of four classes with ignored pixels, no side of which is a multiple of much."""
    return rng.choice([0, 1, 2, 3, 255], (3, 22, 35)).astype(np.uint8)


def one_hot_average_pool(labels, cell, num_classes):
    """Return counts by the textbook: one-hot, averaged over whole cells, in float64."""
    ids = torch.where(labels == 255, num_classes, labels.long())
    one_hot = F.one_hot(ids, num_classes + 1).permute(0, 3, 1, 2).double()
    return (F.avg_pool2d(one_hot, cell) * cell**2).round().to(torch.int64)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("cell", [1, 2, 3, 5, 8, 14, 15, 16, 32, 50])
def test_counts_equal_numpy_for_any_cell(labels, cell, device):
    counts = tensors.cpp_counts(torch.from_numpy(labels).to(device), cell, num_classes=4).cpu()
    expected = np.stack([pooling.cpp_counts(label, cell, num_classes=4) for label in labels])
    np.testing.assert_array_equal(counts.numpy(), expected)
    assert counts.dtype == (torch.uint8 if cell < 16 else torch.int32)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.int8, torch.int16, torch.uint16, torch.int32, torch.uint32, torch.int64])
def test_labels_of_any_integer_dtype_are_counted(dtype, device):
    label = torch.tensor([[[0, 1, 1, 1]]]).to(dtype).to(device)
    assert tensors.cpp_counts(label, 4, num_classes=2).flatten().tolist() == [1, 3, 12]


def test_no_negative_id_stands_for_the_ignored_one():
    with pytest.raises(LabelError, match="id -1 is neither a class"):
        tensors.cpp_counts(torch.tensor([[[0, -1]]], dtype=torch.int8), 1, num_classes=2)


def test_cells_whose_pixels_int32_cannot_count_are_refused():
    label = torch.zeros((1, 1, 2), dtype=torch.uint8)
    assert tensors.cpp_counts(label, 46340, num_classes=1).flatten().tolist() == [2, 46340**2 - 2]
    with pytest.raises(SettingsError, match="cell 46341: is at most 46340"):
        tensors.cpp_counts(label, 46341, num_classes=1)


@pytest.mark.parametrize("cell", [1, 2, 4, 8, 16])
def test_counts_equal_one_hot_average_pooling(rng, cell):
    labels = torch.from_numpy(rng.choice([*range(19), 255], (2, 32, 48)).astype(np.uint8))
    assert torch.equal(tensors.cpp_counts(labels, cell).long(), one_hot_average_pool(labels, cell, 19))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32, torch.int64])
def test_any_integer_dtype_gives_the_same_counts(labels, dtype):
    expected = tensors.cpp_counts(torch.from_numpy(labels), 4, num_classes=4)
    assert torch.equal(tensors.cpp_counts(torch.from_numpy(labels).to(dtype), 4, num_classes=4), expected)


def test_one_label_without_a_batch_axis(labels):
    batch = tensors.cpp_counts(torch.from_numpy(labels), 4, num_classes=4)
    assert torch.equal(tensors.cpp_counts(torch.from_numpy(labels[1]), 4, num_classes=4), batch[1])


def test_another_ignore_id(labels):
    expected = tensors.cpp_counts(torch.from_numpy(labels), 4, num_classes=4)
    other = torch.from_numpy(np.where(labels == 255, 9, labels))
    assert torch.equal(tensors.cpp_counts(other, 4, num_classes=4, ignore_id=9), expected)


def test_labels_that_are_a_view_are_pooled_as_they_are(labels):
    crop = torch.from_numpy(labels)[:, 3:19, 2:30:2]
    assert torch.equal(
        tensors.cpp_counts(crop, 4, num_classes=4), tensors.cpp_counts(crop.contiguous(), 4, num_classes=4)
    )


@pytest.mark.parametrize("cell", [3, 8, 20])
def test_probabilities_equal_numpy_to_the_last_bit(labels, cell):
    pooled = tensors.cpp_pool(torch.from_numpy(labels), cell, num_classes=4)
    expected = np.stack([pooling.cpp_pool(label, cell, num_classes=4) for label in labels])
    assert pooled.dtype == torch.float32
    np.testing.assert_array_equal(pooled.numpy(), expected)


def test_pooling_twice_by_two_is_pooling_by_four(labels):
    ids = torch.from_numpy(labels[:, :20, :32])
    fine = tensors.cpp_counts(ids, 2, num_classes=4).to(torch.int64)
    assert torch.equal(
        fine.view(3, 5, 5, 2, 8, 2).sum((3, 5)), tensors.cpp_counts(ids, 4, num_classes=4).to(torch.int64)
    )


def test_flipping_and_pooling_commute(labels):
    ids = torch.from_numpy(labels[:, :20, :32])
    flipped = tensors.cpp_counts(ids.flip(2), 4, num_classes=4)
    assert torch.equal(flipped, tensors.cpp_counts(ids, 4, num_classes=4).flip(3))


def test_the_result_is_the_same_with_deterministic_algorithms(labels):
    expected = tensors.cpp_counts(torch.from_numpy(labels), 4, num_classes=4)
    torch.use_deterministic_algorithms(True)
    try:
        assert torch.equal(tensors.cpp_counts(torch.from_numpy(labels), 4, num_classes=4), expected)
    finally:
        torch.use_deterministic_algorithms(False)


def test_no_operation_allocates_a_one_hot_label(rng):
    labels = torch.from_numpy(rng.integers(0, 19, (1, 256, 256), dtype=np.uint8))
    with torch.profiler.profile(profile_memory=True) as profile:
        tensors.cpp_counts(labels, 8)
    largest = max(event.self_cpu_memory_usage for event in profile.key_averages())
    one_hot = 20 * labels.numel()
    assert largest < one_hot


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_cuda_memory_stays_below_a_one_hot_label(rng):
    labels = torch.from_numpy(rng.integers(0, 19, (2, 512, 1024), dtype=np.uint8)).cuda()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    tensors.cpp_counts(labels, 8)
    assert torch.cuda.max_memory_allocated() - before < 20 * labels.numel()


@pytest.mark.parametrize(
    "function",
    [
        lambda ids: tensors.cpp_counts(ids, 4, num_classes=4),
        lambda ids: tensors.cpp_pool(ids, 3, num_classes=4),
    ],
    ids=["counts", "pool"],
)
def test_one_graph_under_compile(labels, function):
    ids = torch.from_numpy(labels)
    compiled = torch.compile(function, fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(ids), function(ids))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")  # by torch, when it loads its compiler
@pytest.mark.parametrize("cell", [2, 16])
def test_generated_code_counts_the_same(labels, cell):
    ids = torch.from_numpy(labels)
    compiled = torch.compile(tensors.cpp_counts, fullgraph=True)
    assert torch.equal(compiled(ids, cell, num_classes=4), tensors.cpp_counts(ids, cell, num_classes=4))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")  # by torch, when it loads its compiler
def test_generated_code_measures_the_same(labels, grids):
    ids, tables = torch.from_numpy(labels), grid_tables(grids)
    compiled = torch.compile(scaled_counts, fullgraph=True)
    assert torch.equal(compiled(ids, tables, num_classes=4), scaled_counts(ids, tables, num_classes=4))


def test_an_unknown_id_stops_a_compiled_graph(labels):
    compiled = torch.compile(lambda ids: tensors.cpp_counts(ids, 4, num_classes=3), fullgraph=True, backend="aot_eager")
    with pytest.raises(RuntimeError, match=r"a label holds an id that is neither 0-2 nor 255"):
        compiled(torch.from_numpy(labels))


def test_an_unknown_id_is_named_with_its_place():
    labels = torch.zeros(2, 4, 4, dtype=torch.int64)
    labels[1, 2, 3] = -1
    with pytest.raises(LabelError, match=r"id -1 .* \(first in label 1 of the batch, at row 2, column 3\)"):
        tensors.cpp_counts(labels, 2)


def test_scores_are_no_labels():
    with pytest.raises(LabelError, match=r"a tensor of torch.float32 with shape \(1, 4, 4\)"):
        tensors.cpp_counts(torch.zeros(1, 4, 4), 2)


def test_a_ragged_size_is_an_error_by_choice(labels):
    with pytest.raises(LabelError, match=r"22 x 35 pixels are not whole cells of 4 x 4"):
        tensors.cpp_counts(torch.from_numpy(labels), 4, num_classes=4, ragged="error")


@pytest.fixture
def grids():
    """Return three grids of one shape that differ in scale, box and flip."""
    return [
        ScaledGrid.resized((22, 35), (22, 35), cell=4, box=(0, 0, 12, 16)),
        ScaledGrid.resized((22, 35), (31, 29), cell=4, box=(-3, 5, 12, 16), flip=True),
        ScaledGrid.resized((22, 35), (11, 53), cell=4, box=(2, 40, 12, 16)),
    ]


@pytest.mark.parametrize("device", DEVICES)
def test_scaled_counts_equal_numpy(labels, grids, device):
    counts = scaled_counts(torch.from_numpy(labels).to(device), grids, num_classes=4).cpu().numpy()
    expected = [scaling.scaled_counts(label, grid, num_classes=4) for label, grid in zip(labels, grids, strict=True)]
    for counted, wanted in zip(counts, expected, strict=True):
        np.testing.assert_array_equal(counted, wanted)


def test_scaled_probabilities_equal_numpy_to_the_last_bit(labels, grids):
    pooled = scaled_pool(torch.from_numpy(labels), grids, num_classes=4).numpy()
    expected = [scaling.scaled_pool(label, grid, num_classes=4) for label, grid in zip(labels, grids, strict=True)]
    np.testing.assert_array_equal(pooled, np.stack(expected))


def test_scaled_counts_at_scale_one_are_plain_counts(labels):
    ids = torch.from_numpy(labels)
    grid = ScaledGrid.resized((22, 35), (22, 35), cell=4)
    plain = tensors.cpp_counts(ids, 4, num_classes=4)
    assert torch.equal(scaled_counts(ids, [grid] * 3, num_classes=4), plain.to(torch.int64))


def test_scaled_counts_are_one_graph_for_all_scales(labels, grids):
    ids, tables = torch.from_numpy(labels), grid_tables(grids)
    compiled = torch.compile(scaled_counts, fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(ids, tables, num_classes=4), scaled_counts(ids, tables, num_classes=4))


def test_grids_of_several_shapes_are_refused(labels):
    grids = [ScaledGrid.resized((22, 35), (22, 35), cell=cell) for cell in (2, 3, 4)]
    with pytest.raises(SettingsError, match=r"3 grids of 1 source sizes and 3 shapes"):
        scaled_counts(torch.from_numpy(labels), grids)


def test_a_batch_of_another_number_than_grids_is_refused(labels, grids):
    with pytest.raises(LabelError, match=r"a batch of shape \(2, 22, 35\), and 3 grids"):
        scaled_counts(torch.from_numpy(labels[:2]), grids, num_classes=4)


def test_where_nobody_waits_for_a_device_an_unknown_id_is_an_assertion_there(monkeypatch):
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    with pytest.raises(RuntimeError, match="a label holds an id that is neither 0-3 nor 255"):
        tensors.cpp_counts(torch.full((1, 4, 4), 9), 2, num_classes=4)
