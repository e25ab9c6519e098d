"""Facts of the published weight files: parameters with classifier, and a digest of the keys and shapes used here.

Taken from timm 1.0.31 (resnet50, resnet101, resnet50c, resnet101c, hrnet_w18, hrnet_w32, hrnet_w48), whose names are
those of torchvision and of the HRNet authors.
"""

import hashlib
from collections.abc import Mapping

from torch import Tensor

KEY_DIGESTS = {
    "resnet50": "1e375f1394f2e3a3",
    "resnet101": "8ff2920d3481d0ba",
    "resnet50_v1c": "903f02c4cecd098c",
    "resnet101_v1c": "c8971fe23b41a9be",
    "hrnet_w18": "ca98bb751db63322",
    "hrnet_w32": "4dd7f340b8080a2c",
    "hrnet_w48": "7d8c85b051dfaf44",
}

PARAMETERS_WITH_CLASSIFIER = {
    "resnet50": 25_557_032,
    "resnet101": 44_549_160,
    "resnet50_v1c": 25_576_264,
    "resnet101_v1c": 44_568_392,
}
"""The classifier is 2048 x 1000 weights and 1000 biases."""

HRNET_PARAMETERS = {"hrnet_w18": 9_562_260, "hrnet_w32": 29_305_536, "hrnet_w48": 65_325_120}
"""Without the parts that only classification uses."""


def key_digest(state: Mapping[str, Tensor]) -> str:
    """Return a digest of the keys and shapes of a state dict."""
    lines = sorted(f"{key} {tuple(value.shape)}" for key, value in state.items())
    return hashlib.blake2b("\n".join(lines).encode(), digest_size=8).hexdigest()
