"""Backbones, heads and segmentation models in plain torch.

`build_model` makes a model by name; `ModelOutput` is what every model returns; `load_weights` fills one from a file;
`predict` runs one over images at several scales and flipped.
"""

from segdata.models.backbone import Backbone
from segdata.models.backbones import build_backbone
from segdata.models.build import MODELS, build_model
from segdata.models.hierarchical import HierarchicalSegmenter
from segdata.models.layers import resize
from segdata.models.multi_scale import predict
from segdata.models.output import AuxiliaryOutput, ModelOutput, ScaleOutput
from segdata.models.segmenter import Segmenter
from segdata.models.settings import HierarchicalSettings, ModelSettings, SeeThroughSettings
from segdata.models.weights import WeightReport, load_weights, read_weights

__all__ = [
    "MODELS",
    "AuxiliaryOutput",
    "Backbone",
    "HierarchicalSegmenter",
    "HierarchicalSettings",
    "ModelOutput",
    "ModelSettings",
    "ScaleOutput",
    "SeeThroughSettings",
    "Segmenter",
    "WeightReport",
    "build_backbone",
    "build_model",
    "load_weights",
    "predict",
    "read_weights",
    "resize",
]
