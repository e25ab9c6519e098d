"""What randomness and arithmetic depend on; docs/training.md says what is promised."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from segdata.sampling.uniforms import named_key

# What a seed of torch is for: beside the first integers of `segdata.sampling.uniforms`.
WEIGHTS, DROPOUT = 101, 102


def seed_from(*names: int) -> None:
    """Make what torch draws next, on every device, a function of these integers.

    Done before every forward pass, with the position in the stream among the names, it leaves no state of a generator
    to save: a run that is resumed, also on other ranks, draws what it would have drawn.
    """
    torch.manual_seed(int(named_key(*names)))


@contextmanager
def arithmetic(*, deterministic: bool) -> Iterator[None]:
    """Choose between the same bits in every run and the fastest algorithms, while the block runs.

    Parameters
    ----------
    deterministic : bool
        Only algorithms whose result does not depend on the order in which threads end; torch warns of an operation
        that has none.
    """
    before = (torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled())
    benchmark = torch.backends.cudnn.benchmark
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when CUDA starts
    torch.use_deterministic_algorithms(deterministic, warn_only=True)
    torch.backends.cudnn.benchmark = not deterministic
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        torch.backends.cudnn.benchmark = benchmark


@contextmanager
def untuned_convolutions() -> Iterator[None]:
    """Let cuDNN choose algorithms by its rules: it would tune for every size of the images that are evaluated."""
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = False
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before


@contextmanager
def limited_threads(number: int | None) -> Iterator[None]:
    """Let arithmetic on the CPU use so many threads, while the block runs; None leaves them as they are."""
    before = torch.get_num_threads()
    if number is not None:
        torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)
