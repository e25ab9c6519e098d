"""The loss of a whole model: its final map, its auxiliary maps, and the maps of its image scales, weighted."""

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import NamedTuple

from torch import Tensor, nn

from segdata.cpp.tensors import cpp_counts
from segdata.errors import SettingsError
from segdata.losses.rmi import RMILoss
from segdata.losses.terms import WHOLE_STEP, PassShare, SegmentationLoss, Term, normalizers
from segdata.models.output import ModelOutput


class Targets:
    """What a batch is trained towards: labels, and CPP counts that are stored, or pooled when first asked for.

    Parameters
    ----------
    labels : Tensor of an integer dtype, shape (N, H, W)
        Class ids on the device of the model.
    counts : mapping of int to Tensor, optional
        Stored counts by cell, each of shape (N, K + 1, h, w); others are pooled from the labels.
    num_classes : int
        Classes K, the ignored one not among them.
    ignore_id : int
        Id of the pixels that do not count.

    Attributes
    ----------
    labels : Tensor
    pooled : set of int
        The cells that were not given, and pooled on the device.
    """

    def __init__(
        self,
        labels: Tensor,
        counts: Mapping[int, Tensor] | None = None,
        *,
        num_classes: int = 19,
        ignore_id: int = 255,
    ) -> None:
        self.labels = labels
        self.num_classes = num_classes
        self.ignore_id = ignore_id
        self.pooled: set[int] = set()
        self._counts = dict(counts or {})

    def counts(self, cell: int) -> Tensor:
        """Return the counts of cells of side `cell`, shape (N, K + 1, h, w)."""
        if cell not in self._counts:
            self._counts[cell] = cpp_counts(self.labels, cell, num_classes=self.num_classes, ignore_id=self.ignore_id)
            self.pooled.add(cell)
        return self._counts[cell]

    def tensors(self) -> list[Tensor]:
        """Return labels and counts, by cell."""
        return [self.labels, *(self._counts[cell] for cell in sorted(self._counts))]

    def clone(self) -> "Targets":
        """Return a copy with tensors of its own."""
        counts = {cell: each.clone() for cell, each in self._counts.items()}
        return Targets(self.labels.clone(), counts, num_classes=self.num_classes, ignore_id=self.ignore_id)


class Rule(NamedTuple):
    """How auxiliary maps of certain names are trained.

    Attributes
    ----------
    pattern : str
        Shell pattern of names: ``regions``, ``stage*``, ``coarse[12]``, ``*@0.5``, ``*``.
    loss : SegmentationLoss
        Given counts at the map's stride if it takes counts, else labels.
    weight : float
        Factor of the loss; 0 leaves the map out.
    """

    pattern: str
    loss: SegmentationLoss
    weight: float


class LossReport(NamedTuple):
    """The loss of a batch and what it consists of.

    Every number is this rank's sum divided by the mass of all ranks, times their number and the share of the pass:
    averaged over ranks and added up over passes it is the figure of the whole batch.

    Attributes
    ----------
    loss : Tensor, scalar
        What to call ``backward`` on.
    parts : dict of str to Tensor
        The loss of each map by name (``main``, those of the auxiliary maps, ``scale0.5``), before its weight; detached.
    entropy_floors : dict of str to Tensor
        For maps trained on CPP targets the entropy of the targets: ``parts[name] + entropy_floors[name]`` is the cross
        entropy, which cannot fall below the floor. The parts themselves are divergences and can reach 0.
    """

    loss: Tensor
    parts: dict[str, Tensor]
    entropy_floors: dict[str, Tensor]


class _Part(NamedTuple):
    """One map's share in the loss."""

    name: str
    weight: float
    terms: tuple[Term, ...]


class SegmentationCriterion(nn.Module):
    """The weighted sum of the losses on all maps of a model, each normalized over all ranks, by one all-reduce.

    Parameters
    ----------
    main : SegmentationLoss
        For the final map.
    rules : sequence of Rule
        For the auxiliary maps; the first whose pattern fits a map's name applies. A map that none fits is an error.
    scales : SegmentationLoss, optional
        For the final maps of the single image scales; `main` if not given.
    scales_weight : float
        Factor of each of these; 0 leaves them out.

    Examples
    --------
    >>> import torch
    >>> from segdata.losses.cpp import CPPLoss
    >>> from segdata.losses.cross_entropy import CrossEntropyLoss
    >>> criterion = SegmentationCriterion(CrossEntropyLoss(), rules=[Rule("stage*", CPPLoss(), 0.6)])
    >>> from segdata.models.output import AuxiliaryOutput
    >>> stage = AuxiliaryOutput(torch.zeros(1, 2, 2, 2), stride=2, name="stage1")
    >>> output = ModelOutput(torch.zeros(1, 2, 4, 4), stride=1, auxiliary=(stage,))
    >>> report = criterion(output, Targets(torch.eye(4, dtype=torch.long)[None], num_classes=2))
    >>> {name: round(float(value), 4) for name, value in report.parts.items()}
    {'main': 0.6931, 'stage1': 0.3466}
    >>> round(float(report.entropy_floors["stage1"]), 4), round(float(report.loss), 4)
    (0.3466, 0.9011)
    """

    def __init__(
        self,
        main: SegmentationLoss,
        *,
        rules: Sequence[Rule] = (),
        scales: SegmentationLoss | None = None,
        scales_weight: float = 0.05,
    ) -> None:
        super().__init__()
        self.main = main
        self.rules = tuple(rules)
        self.scales = scales or main
        self.scales_weight = scales_weight
        self.rule_losses = nn.ModuleList(rule.loss for rule in self.rules)  # so that buffers move along

    def forward(self, output: ModelOutput, targets: Targets, share: PassShare = WHOLE_STEP) -> LossReport:
        """Return the loss of a batch, or of a pass over a part of it.

        Parameters
        ----------
        output : ModelOutput
            What a model returned in training mode.
        targets : Targets
            Labels and counts of the same crops.
        share : PassShare
            What part of the step this pass is; all of it if not given.

        Returns
        -------
        LossReport

        Raises
        ------
        SettingsError
            If no rule fits an auxiliary map.
        """
        parts = [_Part("main", 1.0, _terms(self.main, output.logits, targets, output.stride))]
        for auxiliary in output.auxiliary:
            rule = self.rule_of(auxiliary.name)
            if rule.weight:
                terms = _terms(rule.loss, auxiliary.logits, targets, auxiliary.stride)
                parts.append(_Part(auxiliary.name, rule.weight, terms))
        for scale in output.scales if self.scales_weight else ():
            stride = max(1, round(targets.labels.shape[1] / scale.logits.shape[2]))
            terms = _terms(self.scales, scale.logits, targets, stride)
            parts.append(_Part(f"scale{scale.scale:g}", self.scales_weight, terms))
        return _report(parts, share)

    def rule_of(self, name: str) -> Rule:
        """Return how the auxiliary map of a name is trained.

        Raises
        ------
        SettingsError
            If no pattern fits it.
        """
        for rule in self.rules:
            if fnmatchcase(name, rule.pattern):
                return rule
        raise SettingsError(
            f"criterion: no rule for the auxiliary map '{name}'. The patterns are "
            f"{[rule.pattern for rule in self.rules]}. Add one, with weight 0 to leave the map out."
        )

    def counters(self) -> dict[str, Tensor]:
        """Return what the losses have counted since the start: ``rmi_left_out``, if there is a mutual information."""
        found = {id(loss): loss.left_out for loss in self.modules() if isinstance(loss, RMILoss)}
        return {"rmi_left_out": sum(found.values(), start=0 * next(iter(found.values())))} if found else {}


def _terms(loss: SegmentationLoss, logits: Tensor, targets: Targets, cell: int) -> tuple[Term, ...]:
    """Return the terms of one map, its loss given counts if it takes them."""
    return loss.terms(logits, targets.counts(cell) if loss.takes_counts else targets.labels, cell)


def _report(parts: Sequence[_Part], share: PassShare) -> LossReport:
    """Normalize the terms of all parts at once, and put them together."""
    factors = iter(normalizers([term for part in parts for term in part.terms]))
    loss = parts[0].terms[0].total.new_zeros(())
    values, floors = {}, {}
    for part in parts:
        value = loss.new_zeros(())
        for term in part.terms:
            factor = next(factors) * share.of(term)
            value = value + factor * term.weight * term.total
            if term.floor is not None:
                floors[part.name] = factor * term.weight * term.floor
        values[part.name] = value.detach()
        loss = loss + part.weight * value
    return LossReport(loss, values, floors)
