import pytest
import torch
from torch.nn import functional as F

from segdata.models import build_model, resizing
from segdata.models.heads.psp import POOL_SIZES, PyramidPooling
from segdata.models.layers import resize, resize_features
from segdata.models.resizing import interpolation_matrix, region_matrix, region_means, resize_bilinear

FORMATS = pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
SIZES = [((5, 7), (15, 35)), ((33, 33), (129, 129)), ((17, 33), (64, 100)), ((1, 1), (4, 6)), ((6, 3), (6, 9))]


@pytest.fixture
def products(monkeypatch):
    """What CUDA does, on the CPU."""
    monkeypatch.setattr(resizing, "_by_products", lambda maps: True)


def maps_of(*shape, memory_format=torch.contiguous_format, dtype=torch.float64):
    maps = torch.rand(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(dtype)
    return maps.to(memory_format=memory_format).requires_grad_()


def interpolated(maps, size, *, align_corners=False):
    return F.interpolate(maps, size=size, mode="bilinear", align_corners=align_corners)


def assert_alike(outputs, expected, maps):
    """Compare values and the gradients of a sum with weights that differ by place."""
    gradients = []
    for each in (outputs, expected):
        torch.testing.assert_close(each, expected, rtol=0, atol=1e-12)
        places = torch.arange(each.numel(), dtype=each.dtype).reshape(each.shape).sin()
        gradients += torch.autograd.grad((each * places).sum(), maps)
    torch.testing.assert_close(*gradients, rtol=0, atol=1e-10)


@FORMATS
@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("channels", [3, 32])
@pytest.mark.parametrize(("source", "target"), SIZES)
def test_products_enlarge_as_torch_interpolates(products, source, target, channels, align_corners, memory_format):
    maps = maps_of(2, channels, *source, memory_format=memory_format)
    enlarged = resize_bilinear(maps, target, align_corners=align_corners)
    assert_alike(enlarged, interpolated(maps, target, align_corners=align_corners), maps)


@FORMATS
@pytest.mark.parametrize("source", [(3, 4), (1, 1)])
def test_many_channels_keep_their_memory_format(products, source, memory_format):
    maps = torch.zeros(2, 32, 8, 9).to(memory_format=memory_format)[:, :, : source[0], : source[1]].clone()
    assert resize_bilinear(maps, (8, 9)).is_contiguous(memory_format=memory_format)


def test_few_channels_are_enlarged_one_by_one(products):
    maps = maps_of(2, 19, 3, 4, memory_format=torch.channels_last)
    assert resize_bilinear(maps, (8, 9)).is_contiguous()


@pytest.mark.parametrize("source", [(2, 600), (600, 2), (8, 2), (2, 8)])
def test_torch_reduces_maps_and_enlarges_large_ones(products, source):
    target = (6, 7) if max(source) == 8 else (601, 602)
    maps = maps_of(1, 2, *source, dtype=torch.float32)
    assert torch.equal(resize_bilinear(maps, target), interpolated(maps, target))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("channels", [3, 32])
def test_half_precision_stays_within_its_rounding(products, channels, dtype):
    maps = maps_of(2, channels, 17, 33, memory_format=torch.channels_last, dtype=dtype)
    enlarged = resize_bilinear(maps, (64, 100))
    assert enlarged.dtype == dtype
    torch.testing.assert_close(
        enlarged.double(), interpolated(maps.double(), (64, 100)), rtol=0, atol=1.5 * torch.finfo(dtype).eps
    )


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
@pytest.mark.parametrize("target", [8, 9, 100])
def test_the_weights_of_a_pixel_add_up_to_one(dtype, target):
    weights = interpolation_matrix(7, target, False, dtype, torch.device("cpu"))
    assert weights.double().sum(1).eq(1).all()


def test_weights_of_powers_of_two_are_exact_in_bfloat16():
    exact, rounded = (
        interpolation_matrix(4, 512, False, dtype, torch.device("cpu")).double()
        for dtype in (torch.float64, torch.bfloat16)
    )
    assert torch.equal(exact, rounded)


@FORMATS
@pytest.mark.parametrize("size", [(1, 1), (6, 12), (7, 9), (5, 40)])
def test_products_average_regions_as_torch_does(products, size, memory_format):
    x = maps_of(2, 5, *size, memory_format=memory_format)
    means = region_means(x, POOL_SIZES)
    expected = [F.adaptive_avg_pool2d(x, each) for each in POOL_SIZES]
    assert [mean.shape for mean in means] == [mean.shape for mean in expected]
    assert_alike(torch.cat([m.flatten(1) for m in means], 1), torch.cat([m.flatten(1) for m in expected], 1), x)


def test_on_the_cpu_regions_are_torch_s_own():
    x = maps_of(2, 5, 7, 9, dtype=torch.float32)
    for mean, size in zip(region_means(x, (1, 3)), (1, 3), strict=True):
        assert torch.equal(mean, F.adaptive_avg_pool2d(x, size))


def test_means_in_float16_do_not_overflow(products):
    x = torch.full((1, 2, 300, 300), 6.0, dtype=torch.float16)
    assert all(mean.eq(6).all() for mean in region_means(x, POOL_SIZES))


def test_the_matrix_of_regions_is_exact_in_bfloat16():
    weights, factors = region_matrix(7, 5, (1, 3), torch.bfloat16, torch.device("cpu"))
    assert factors.dtype == torch.float32
    torch.testing.assert_close(weights.double().sum(1, keepdim=True) * factors.double(), torch.ones(10, 1).double())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("forced", [False, True])
def test_under_autocast_scores_are_resized_in_float32_and_features_in_their_own(monkeypatch, dtype, forced):
    monkeypatch.setattr(resizing, "_by_products", lambda maps: forced)
    maps = maps_of(1, 2, 3, 4, dtype=dtype)
    with torch.autocast("cpu", torch.bfloat16):
        scores, features = resize(maps, (5, 6)), resize_features(maps, (5, 6))
        assert resize(maps, (3, 4)) is maps
    assert (scores.dtype, features.dtype) == (torch.float32, dtype)
    torch.testing.assert_close(scores, interpolated(maps.float(), (5, 6)))


def test_matrices_are_made_once_and_usable_in_training_though_made_in_inference_mode(products, monkeypatch):
    monkeypatch.setattr(resizing, "_KEPT", {})
    maps = maps_of(1, 2, 3, 4)
    with torch.inference_mode():
        resize_bilinear(maps, (5, 6))
        region_means(maps, (1, 2))
    kept = dict(resizing._KEPT)
    (resize_bilinear(maps, (5, 6)).sum() + region_means(maps, (1, 2))[1].sum()).backward()
    assert len(kept) == 3
    assert all(resizing._KEPT[key] is value for key, value in kept.items())


def test_in_a_compiled_graph_nothing_is_kept(products, monkeypatch):
    monkeypatch.setattr(resizing, "_KEPT", {})
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    maps = maps_of(1, 2, 3, 4)
    assert_alike(resize_bilinear(maps, (6, 8)), interpolated(maps, (6, 8)), maps)
    assert resizing._KEPT == {}


def test_no_more_matrices_are_kept_than_there_are_places(products, monkeypatch):
    monkeypatch.setattr(resizing, "_KEPT", {})
    monkeypatch.setattr(resizing, "MOST_KEPT", 1)
    maps = maps_of(1, 2, 3, 4)
    assert_alike(resize_bilinear(maps, (5, 6)), interpolated(maps, (5, 6)), maps)
    assert len(resizing._KEPT) == 1


@FORMATS
@pytest.mark.parametrize("dynamic", [False, True])
def test_both_functions_compile_to_one_graph(products, dynamic, memory_format):
    def function(maps):
        with torch.autocast("cpu", torch.bfloat16):
            return resize(maps, (9, 10)), resize_features(maps, (11, 8)), *region_means(maps, POOL_SIZES)

    torch._dynamo.reset()
    maps = maps_of(2, 32, 7, 8, memory_format=memory_format, dtype=torch.float32)
    compiled = torch.compile(function, fullgraph=True, backend="aot_eager", dynamic=dynamic)
    gradients = []
    for outputs, expected in [(compiled(maps), function(maps)), (function(maps), function(maps))]:
        torch.testing.assert_close(outputs, expected)
        gradients += torch.autograd.grad(sum(output.square().sum() for output in outputs), maps)
    torch.testing.assert_close(*gradients)


@FORMATS
def test_pspnet_is_the_same_model_either_way(monkeypatch, memory_format):
    torch.manual_seed(0)
    model = build_model("pspnet", 5, backbone="resnet_tiny", head_channels=32, dropout=0.0).double()
    model.to(memory_format=memory_format)
    images = torch.randn(2, 3, 64, 96, dtype=torch.float64).to(memory_format=memory_format)
    found = []
    for forced in (False, True):
        monkeypatch.setattr(resizing, "_by_products", lambda maps, forced=forced: forced)
        logits = resize(model(images).logits, (64, 96))
        found.append((logits, *torch.autograd.grad(logits.square().mean(), model.parameters())))
    torch.testing.assert_close(*found)


def test_the_pooled_paths_keep_their_published_keys():
    keys = PyramidPooling(4, 8, align_corners=False).state_dict().keys()
    assert {key.split(".", 2)[2] for key in keys if key.startswith("paths.3.")} >= {"1.0.weight", "1.1.running_mean"}
