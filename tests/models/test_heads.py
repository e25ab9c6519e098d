import pytest
import torch
from torch import nn

from segdata.models.heads.deeplab import AtrousPyramid
from segdata.models.heads.head import gather
from segdata.models.heads.ocr_head import OCRHead
from segdata.models.heads.psp import PyramidPooling, UPerHead


def test_gather_upsamples_all_features_to_the_finest():
    fine, coarse = torch.zeros(1, 1, 1, 4), torch.tensor([[[[0.0, 4.0]]]])
    joined = gather([fine, coarse], align_corners=False)
    assert joined[0, :, 0].tolist() == [[0.0] * 4, [0.0, 1.0, 3.0, 4.0]]


def test_pyramid_pooling_pools_to_1_2_3_and_6_cells():
    pyramid = PyramidPooling(4, 8, align_corners=False)
    assert [path[0].output_size for path in pyramid.paths] == [1, 2, 3, 6]
    assert pyramid(torch.randn(2, 4, 7, 9)).shape == (2, 8, 7, 9)


@pytest.mark.parametrize(("stride", "expected"), [(8, [12, 24, 36]), (16, [6, 12, 18])])
@pytest.mark.parametrize("separable", [False, True])
def test_the_atrous_pyramid_dilates_by_its_stride(stride, expected, separable):
    pyramid = AtrousPyramid(4, 8, stride, separable=separable, align_corners=False)
    kernels = [layer for path in pyramid.paths for layer in path.modules() if isinstance(layer, nn.Conv2d)]
    assert [layer.dilation[0] for layer in kernels if layer.kernel_size == (3, 3)] == expected
    assert all(layer.groups == (4 if separable else 1) for layer in kernels if layer.kernel_size == (3, 3))
    assert pyramid(torch.randn(2, 4, 7, 9)).shape == (2, 8, 7, 9)


def test_upernet_adds_coarser_levels_to_finer_ones():
    """With laterals and smoothing as identities, each level is itself plus all coarser ones, upsampled."""
    head = UPerHead((1, 1, 1), (4, 8, 16), 2, channels=1, dropout=0.0, align_corners=False)
    head.pyramid = nn.Identity()
    head.laterals = head.smooth = nn.ModuleList([nn.Identity(), nn.Identity()])
    head.bottleneck, head.classifier = nn.Identity(), nn.Identity()
    features = [torch.full((1, 1, 4 // s, 4 // s), value) for s, value in ((1, 100.0), (2, 10.0), (4, 1.0))]
    assert head(features).logits[0, :, 0, 0].tolist() == [111.0, 11.0, 1.0]


def test_ocr_reads_a_dilated_backbone_at_its_last_two_stages_and_hrnet_at_all():
    dilated = OCRHead((4, 8, 16, 32), (4, 8, 8, 8), 5, channels=16, dropout=0.0, align_corners=False)
    joined = OCRHead((4, 8, 16, 32), (4, 8, 16, 32), 5, channels=16, dropout=0.0, align_corners=False)
    assert (dilated.stride, dilated.regions[0][0].in_channels, dilated.ocr.pixels[0].in_channels) == (8, 16, 32)
    assert (joined.stride, joined.regions[0][0].in_channels, joined.ocr.pixels[0].in_channels) == (4, 60, 60)
