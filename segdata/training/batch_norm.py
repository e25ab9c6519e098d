"""Batch norm over the batch of all ranks: torch's own on GPUs, one in plain operations on the CPU."""

from typing import Any

import torch
from torch import Tensor, distributed, nn

from segdata.errors import SettingsError


class GatheredBatchNorm2d(nn.BatchNorm2d):
    """Batch norm whose mean and variance are those of the batches of all ranks together, on any device.

    Two all-reduces per layer and direction; made for the CPU, where `torch.nn.SyncBatchNorm` does not run. Every rank
    must have a batch of the same shape. In evaluation, and without other ranks, it is `torch.nn.BatchNorm2d`.

    Notes
    -----
    The mean is reduced first, then the mean square of the distances from it: the difference of two large sums would
    lose digits. Gradients flow through both, as in `torch.nn.SyncBatchNorm`.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Return the normalized batch, shape (N, C, H, W)."""
        if not (self.training and distributed.is_initialized() and distributed.get_world_size() > 1):
            return super().forward(input)
        values = input.to(torch.promote_types(input.dtype, torch.float32))
        mean = _mean_of_ranks(values.mean((0, 2, 3)))
        centered = values - mean[:, None, None]
        variance = _mean_of_ranks(centered.square().mean((0, 2, 3)))
        self._track(mean.detach(), variance.detach(), values.numel() // values.shape[1] * distributed.get_world_size())
        normalized = centered * torch.rsqrt(variance + self.eps)[:, None, None]
        if self.affine:
            normalized = normalized * self.weight[:, None, None] + self.bias[:, None, None]
        return normalized.to(input.dtype)

    def _track(self, mean: Tensor, variance: Tensor, num_values: int) -> None:
        """Move the running statistics towards those of the batch, the variance freed of its bias."""
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked.add_(1)
        share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), share)
        unbiased = variance * (num_values / max(1, num_values - 1))
        self.running_var.lerp_(unbiased.to(self.running_var.dtype), share)


def synchronized(model: nn.Module, device: torch.device) -> nn.Module:
    """Return the model with every batch norm over the batch of all ranks; parameters, buffers and keys stay.

    Parameters
    ----------
    model : nn.Module
        Changed in place.
    device : torch.device
        Of the model: decides between `torch.nn.SyncBatchNorm` and `GatheredBatchNorm2d`.

    Raises
    ------
    SettingsError
        If a layer is a batch norm of another kind, which may do more than normalize.
    """
    for name, layer in model.named_modules():
        if isinstance(layer, nn.BatchNorm2d) and type(layer) not in (nn.BatchNorm2d, GatheredBatchNorm2d):
            raise SettingsError(
                f"run.sync_batch_norm: layer '{name}' is a {type(layer).__name__}, which cannot be replaced without "
                "changing the model. Set run.sync_batch_norm to false."
            )
    if device.type == "cuda":
        converted: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
        return converted
    for layer in model.modules():
        if type(layer) is nn.BatchNorm2d:
            layer.__class__ = GatheredBatchNorm2d  # the same state, another forward
    return model


class _SumOverRanks(torch.autograd.Function):
    """The sum over ranks; its gradient is the sum of their gradients."""

    @staticmethod
    def forward(_context: Any, values: Tensor) -> Tensor:
        summed = values.contiguous().clone()
        distributed.all_reduce(summed)
        return summed

    @staticmethod
    def backward(_context: Any, *gradients: Tensor) -> Tensor:
        summed = gradients[0].contiguous().clone()
        distributed.all_reduce(summed)
        return summed


def _mean_of_ranks(values: Tensor) -> Tensor:
    summed: Tensor = _SumOverRanks.apply(values)  # type: ignore[no-untyped-call]
    return summed / distributed.get_world_size()
