import torch
from torch import nn

from segdata.models.ocr import ObjectAttention, OCRBlock, gather_objects


def test_an_object_is_the_mean_of_the_pixels_its_region_is_sure_of():
    pixels = torch.tensor([[[[1.0, 2.0, 3.0]], [[10.0, 20.0, 30.0]]]])
    regions = torch.tensor([[[[0.0, 0.0, 0.0]], [[-1e4, 0.0, 0.0]]]])
    objects = gather_objects(pixels, regions)
    assert objects.shape == (1, 2, 2, 1)
    torch.testing.assert_close(objects[0, :, :, 0], torch.tensor([[2.0, 2.5], [20.0, 25.0]]))


def test_each_image_of_a_batch_has_its_own_objects():
    pixels = torch.tensor([[[[1.0]]], [[[5.0]]]])
    assert gather_objects(pixels, torch.zeros(2, 1, 1, 1)).flatten().tolist() == [1.0, 5.0]


def reference_context(attention, pixels, objects):
    """Return the context by loops over pixels: the definition, without einsum."""
    query, key, value = attention.query(pixels), attention.key(objects), attention.value(objects)
    context = torch.zeros_like(query)
    for row in range(query.shape[2]):
        for column in range(query.shape[3]):
            fit = torch.stack([query[0, :, row, column] @ key[0, :, k, 0] for k in range(key.shape[2])])
            weights = (fit / query.shape[1] ** 0.5).softmax(0)
            context[0, :, row, column] = sum(weights[k] * value[0, :, k, 0] for k in range(key.shape[2]))
    return attention.out(context)


def test_object_attention_equals_its_definition_written_as_loops():
    attention = ObjectAttention(6, 4).eval()
    pixels, objects = torch.randn(1, 6, 2, 3), torch.randn(1, 6, 5, 1)
    with torch.no_grad():
        torch.testing.assert_close(attention(pixels, objects), reference_context(attention, pixels, objects))


def test_the_published_block_has_512_and_256_channels():
    with torch.device("meta"):
        block = OCRBlock(720)
    shapes = [tuple(layer.weight.shape) for layer in block.modules() if isinstance(layer, nn.Conv2d)]
    assert shapes == [
        (512, 720, 3, 3),
        *[(256, 512, 1, 1), (256, 256, 1, 1)] * 2,
        (256, 512, 1, 1),
        (512, 256, 1, 1),
        (512, 1024, 1, 1),
    ]
