"""A trained model as an ONNX file that takes pixels and gives probabilities, checked against the model itself.

The contract, in full in docs/evaluation.md: input ``images``, uint8 (N, 3, H, W), red, green, blue, 0-255, any N, fixed
H and W; outputs ``probabilities``, float32 (N, K, H, W), and ``class_ids``, uint8 (N, H, W). All that `predict` does
but the window is in the graph: resizing there and back, normalizing, scales, mirroring.
"""

import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from segdata.data.normalization import normalize
from segdata.errors import SegdataError, SettingsError
from segdata.files import digest_of_bytes, write_atomic
from segdata.inference.loading import TrainedModel
from segdata.inference.predictor import fitted_size, resize_maps
from segdata.models import predict

NEEDED = ("onnx", "onnxscript", "onnxruntime")
TOLERANCE = 1e-2
"""Largest difference of a probability; float32 in another order gives about 1e-6, large scores more."""
LARGEST_BATCH = 1024
METADATA_KEY = "segdata"


class DeployedModel(nn.Module):
    """A model with all that stands between pixels of a size and class ids around it."""

    def __init__(self, trained: TrainedModel, size: tuple[int, int]) -> None:
        super().__init__()
        self.size, self.fitted = size, fitted_size(size, trained.evaluation.resize)
        self.model = trained.model.float().eval()
        self.evaluation, self.augmentation = trained.evaluation, trained.recipe.augmentation

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return probabilities (N, K, H, W) and class ids (N, H, W) of pixels (N, 3, H, W)."""
        chosen, resized = self.evaluation, self.fitted != self.size
        if resized:
            images = resize_maps(images.float(), self.fitted).round()
        probabilities = predict(
            self.model,
            normalize(images, self.augmentation.mean, self.augmentation.std),
            scales=chosen.scales,
            flip=chosen.flip,
            average=chosen.average,
        )
        if resized:
            probabilities = resize_maps(probabilities, self.size)
        return probabilities, probabilities.argmax(dim=1).to(torch.uint8)


def export_onnx(trained: TrainedModel, path: Path, size: tuple[int, int]) -> dict[str, Any]:
    """Write a model as ONNX, after onnxruntime has given the same result as the model.

    Parameters
    ----------
    trained : TrainedModel
        Its resizing, scales, flip and average become part of the graph; its window does not.
    path : Path
        The file.
    size : (int, int)
        Height and width of the images.

    Returns
    -------
    dict
        JSON-able: what the file says of itself under the metadata key ``segdata``, and ``largest_difference``, of any
        probability in the check.

    Raises
    ------
    SettingsError
        If a library is missing, or a size is below 1.
    SegdataError
        If the file would give other results than the model; nothing is written then.
    StoreError
        If it cannot be written.
    """
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise SettingsError(f"export: needs {', '.join(missing)}. Install them: pip install 'segdata[export]'.")
    if min(size) < 1:
        raise SettingsError(f"size {size}: expected a height and a width of at least 1.")
    deployed = DeployedModel(trained, size)
    about = _describe(trained, size)
    data = _encode(deployed, size, about)
    difference = refuse_other_results(deployed, data, size, str(path))
    write_atomic(path, data, durable=True)
    return about | {"largest_difference": difference}


def refuse_other_results(deployed: DeployedModel, data: bytes, size: tuple[int, int], where: str) -> float:
    """Return how far the probabilities of an ONNX file are from those of the model.

    Raises
    ------
    SegdataError
        If it is too far.
    """
    difference = _largest_difference(deployed, data, size)
    if difference <= TOLERANCE:
        return difference
    raise SegdataError(
        f"{where}: onnxruntime's probabilities differ from the model's by up to {difference:.2g}. Expected is at most "
        f"{TOLERANCE:g}. Nothing was written; please report it with the recipe."
    )


def _describe(trained: TrainedModel, size: tuple[int, int]) -> dict[str, Any]:
    """Return what the file says of itself."""
    return {
        "recipe": trained.recipe.name,
        "model_digest": digest_of_bytes(trained.path.read_bytes()),
        "classes": list(trained.table.train_names),
        "size": list(size),
        **trained.evaluation.model_dump(mode="json", include={"resize", "scales", "flip", "average"}),
    }


def _encode(deployed: DeployedModel, size: tuple[int, int], about: dict[str, Any]) -> bytes:
    """Return the ONNX file."""
    example = torch.zeros(2, 3, *size, dtype=torch.uint8)
    num_images = torch.export.Dim("num_images", min=1, max=LARGEST_BATCH)
    with _quiet():
        program = torch.onnx.export(
            deployed,
            (example,),
            dynamo=True,
            input_names=["images"],
            output_names=["probabilities", "class_ids"],
            dynamic_shapes={"images": {0: num_images}},
            verbose=False,
        )
        assert program is not None
        model = program.model_proto
    entry = model.metadata_props.add()
    entry.key, entry.value = METADATA_KEY, json.dumps(about, sort_keys=True)
    data: bytes = model.SerializeToString()
    return data


def _largest_difference(deployed: DeployedModel, data: bytes, size: tuple[int, int]) -> float:
    """Run file and model on noise, one image and three, and return how far probabilities are apart.

    Where the class ids of the file are not those of its own probabilities, it is infinite.
    """
    import onnxruntime

    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    rng = np.random.Generator(np.random.Philox(0))
    found = 0.0
    for num_images in (1, 3):
        images: NDArray[np.uint8] = rng.integers(0, 256, (num_images, 3, *size), dtype=np.uint8)
        probabilities, class_ids = session.run(["probabilities", "class_ids"], {"images": images})
        with torch.no_grad():
            expected = deployed(torch.from_numpy(images))[0].numpy()
        if not (probabilities.argmax(axis=1) == class_ids).all():
            return float("inf")
        found = max(found, float(np.abs(probabilities - expected).max()))
    return found


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep back what torch's exporter says of libraries that are not needed, and of its own future."""
    logger = logging.getLogger("torch.onnx")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)
