"""Criteria by name, as recipes name them."""

from collections.abc import Callable, Mapping
from inspect import signature
from typing import Any

from segdata.errors import SettingsError
from segdata.labels.names import did_you_mean
from segdata.losses.cpp import CPPLoss, Ignore
from segdata.losses.criterion import Rule, SegmentationCriterion
from segdata.losses.cross_entropy import CrossEntropyLoss, Normalize, Resize
from segdata.losses.ohem import OHEMCrossEntropyLoss
from segdata.losses.rmi import BinaryCrossEntropyLoss, RMILoss
from segdata.losses.terms import SegmentationLoss

AUXILIARY_WEIGHTS = {"cpp": 0.6, "ce": 0.4, "ce-nearest": 0.4}
"""Default weight of auxiliary heads: Table 1 of the paper for CPP, the usual 0.4 for the baselines."""

_Make = Callable[..., SegmentationLoss]

MAIN_LOSSES: dict[str, _Make] = {
    "ce": CrossEntropyLoss,
    "ohem": OHEMCrossEntropyLoss,
    "rmi": RMILoss,
    "bce": BinaryCrossEntropyLoss,
    "cpp": CPPLoss,
}
"""Losses of the final map, by name."""

_SIDE_LOSSES = {"rmi": "bce", "ohem": "ce"}
"""What trains the object regions and the single image scales where it is not the main loss: the plain part of it."""


def build_criterion(
    *,
    main: str = "ce",
    main_settings: Mapping[str, Any] | None = None,
    auxiliary: str = "cpp",
    auxiliary_weight: float | Mapping[str, float] | None = None,
    ignore: Ignore = "mask",
    regions_weight: float = 0.4,
    scales_weight: float = 0.05,
    ignore_id: int = 255,
    align_corners: bool = False,
    normalize: Normalize = "valid",
) -> SegmentationCriterion:
    """Return the criterion of a recipe.

    Parameters
    ----------
    main : str
        Loss of the final map: ``ce``, ``ohem``, ``rmi``, ``bce``, or ``cpp`` at the stride of the map.
    main_settings : mapping, optional
        Further settings of that loss, such as ``min_kept``.
    auxiliary : str
        Loss of the auxiliary heads: ``cpp``; ``ce`` on enlarged scores; ``ce-nearest`` on thinned-out labels.
    auxiliary_weight : float or mapping of str to float, optional
        Factor of each auxiliary head, or by pattern of their names, the first that fits: ``{"stage4": 0.4, "*": 0.6}``.
        If not given, 0.6 for CPP (Table 1 of the paper) and 0.4 for cross entropy.
    ignore : {"mask", "channel"}
        What CPP does with the ignored mass; see `CPPLoss`.
    regions_weight : float
        Factor of the loss on OCR's object regions. They get the main loss, without mutual information or mining.
    scales_weight : float
        Factor of the loss on the map of each image scale; the same loss as the regions.
    ignore_id : int
        Id of the pixels that do not count.
    align_corners : bool
        How scores are enlarged; as in the model.
    normalize : {"valid", "all"}
        Which pixels cross entropy, mined or not, is a mean over; see `CrossEntropyLoss`. Other losses have their own.

    Returns
    -------
    SegmentationCriterion

    Raises
    ------
    SettingsError
        If a name is not known.

    Notes
    -----
    The defaults for regions and scales are those of hierarchical multi-scale attention: ``L = main + 0.4 regions + 0.05
    (main of each scale)``, with binary cross entropy on regions and scales where the main loss is RMI.

    Examples
    --------
    >>> criterion = build_criterion(main="rmi", auxiliary_weight={"stage4": 0.4, "*": 0.6})
    >>> [(rule.pattern, type(rule.loss).__name__, rule.weight) for rule in criterion.rules]
    [('regions', 'BinaryCrossEntropyLoss', 0.4), ('stage4', 'CPPLoss', 0.4), ('*', 'CPPLoss', 0.6)]
    """
    _check_name("main loss", main, MAIN_LOSSES)
    _check_name("auxiliary loss", auxiliary, AUXILIARY_WEIGHTS)
    side_name = _SIDE_LOSSES.get(main, main)
    shared = {"ignore_id": ignore_id, "align_corners": align_corners, "normalize": normalize}
    final = _loss(main, shared, main_settings)
    side = final if side_name == main else _loss(side_name, shared)
    heads = _auxiliary_loss(auxiliary, ignore, shared)
    rules = [Rule("regions", side, regions_weight)]
    rules += [Rule(pattern, heads, weight) for pattern, weight in _weights(auxiliary, auxiliary_weight).items()]
    return SegmentationCriterion(final, rules=rules, scales=side, scales_weight=scales_weight)


def _loss(name: str, shared: Mapping[str, Any], settings: Mapping[str, Any] | None = None) -> SegmentationLoss:
    """Return a loss by name, with those of the shared settings that it has, and its own."""
    known = signature(MAIN_LOSSES[name]).parameters
    for key in settings or {}:
        _check_name(f"setting of loss '{name}'", key, known)
    return MAIN_LOSSES[name](**{**{key: shared[key] for key in shared.keys() & known.keys()}, **(settings or {})})


def _auxiliary_loss(name: str, ignore: Ignore, shared: Mapping[str, Any]) -> SegmentationLoss:
    if name == "cpp":
        return CPPLoss(ignore=ignore, ignore_id=shared["ignore_id"])
    resize: Resize = "labels" if name == "ce-nearest" else "logits"
    return CrossEntropyLoss(resize=resize, **shared)


def _weights(auxiliary: str, given: float | Mapping[str, float] | None) -> Mapping[str, float]:
    """Return the weights by pattern."""
    if isinstance(given, Mapping):
        return given
    return {"*": AUXILIARY_WEIGHTS[auxiliary] if given is None else given}


def _check_name(what: str, name: str, known: Mapping[str, object]) -> None:
    if name not in known:
        raise SettingsError(
            f"{what} '{name}' is not known. It is one of {', '.join(known)}.{did_you_mean(name, known)}"
        )
