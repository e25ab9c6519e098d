"""The labels of SBD as they are distributed: MATLAB files, which need scipy."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from segdata.errors import LabelError


def read_sbd_label(path: Path) -> NDArray[np.uint8]:
    """Read the class labels of one .mat file of SBD's folder ``cls``: ids 0-20, shape (H, W).

    Raises
    ------
    LabelError
        If scipy is missing, the file cannot be read, or holds no ``GTcls.Segmentation``.
    """
    try:
        from scipy.io import loadmat
    except ImportError:
        raise LabelError(f"{path}: is a MATLAB file, which needs scipy. Install it with: pip install scipy.") from None
    if not path.exists():  # scipy would say that the path is none
        raise LabelError(f"{path}: is missing. Copy it again from the download.")
    try:
        content = loadmat(path, variable_names=["GTcls"])
        ids = np.asarray(content["GTcls"]["Segmentation"][0, 0])
    except Exception as error:  # scipy raises what its parser stumbles over
        raise LabelError(
            f"{path}: is not a label of SBD ({type(error).__name__}). Copy it again from the download."
        ) from None
    if ids.ndim != 2 or ids.dtype != np.uint8:
        raise LabelError(f"{path}: GTcls.Segmentation is {ids.dtype} of shape {ids.shape}. Expected is uint8 (H, W).")
    return ids
