"""Windows over an image: every pixel the mean over its windows, in bands."""

import pytest
import torch

from segdata.inference.sliding import slide, window_starts


@pytest.mark.parametrize("length", range(1, 40))
@pytest.mark.parametrize(("window", "stride"), [(7, 7), (7, 5), (7, 1), (30, 20)])
def test_windows_cover_an_axis_and_stay_inside(length, window, stride):
    starts = window_starts(length, window, stride)
    inside = min(window, length)
    covered = {place for start in starts for place in range(start, start + inside)}
    assert covered == set(range(length))
    assert starts == sorted(set(starts))


def test_the_grid_is_that_of_mmsegmentation():
    # h_grids = max(h_img - h_crop + h_stride - 1, 0) // h_stride + 1; windows that stick out are moved back.
    for length, window, stride in [(1024, 769, 513), (2048, 769, 513), (512, 512, 341), (100, 769, 513)]:
        num = max(length - window + stride - 1, 0) // stride + 1
        expected = [max(min(number * stride + window, length) - window, 0) for number in range(num)]
        assert window_starts(length, window, stride) == expected


@pytest.mark.parametrize("size", [(23, 31), (5, 40), (8, 9), (1, 1)])
@pytest.mark.parametrize("batch_size", [1, 3])
def test_bands_are_the_mean_over_the_windows_of_each_pixel(size, batch_size):
    image = torch.arange(2.0 * size[0] * size[1], dtype=torch.float64).reshape(2, *size).sin()

    def score(parts):
        assert 1 <= len(parts) <= batch_size
        return parts.cumsum(dim=3)  # depends on where a window begins

    total, number = torch.zeros(2, *size, dtype=torch.float64), torch.zeros(size)
    for top in window_starts(size[0], 9, 4):
        for left in window_starts(size[1], 8, 8):
            total[:, top : top + 9, left : left + 8] += image[:, top : top + 9, left : left + 8].cumsum(dim=2)
            number[top : top + 9, left : left + 8] += 1
    bands = list(slide(score, image, (9, 8), (4, 8), batch_size=batch_size))
    torch.testing.assert_close(torch.cat(bands, dim=1), total / number)


def test_no_more_than_one_row_of_windows_is_held():
    bands = slide(
        lambda parts: parts.new_zeros(len(parts), 1, *parts.shape[2:]), torch.zeros(3, 1000, 20), (10, 20), (5, 20)
    )
    assert {band.shape for band in bands} == {(1, 5, 20), (1, 10, 20)}


def test_a_window_as_large_as_the_image_changes_nothing():
    image = torch.linspace(0, 1, 3 * 6 * 7).reshape(3, 6, 7)
    (band,) = slide(lambda parts: parts.softmax(dim=1), image, (100, 100), (50, 50))
    torch.testing.assert_close(band, image.softmax(dim=0), rtol=0, atol=0)
