"""The sampler: a window on the stream, distributed across ranks. It keeps a position and nothing else."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from itertools import islice
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segdata.errors import SettingsError
from segdata.sampling.stream import Draw, Source, Stream, log_changed_shares
from segdata.sampling.uniforms import RANKS, named_key, rank_slots

STATE_VERSION = 1
_log = logging.getLogger(__name__)
_DAMAGED = "Resume from another checkpoint, or start over."
_CHUNK = 1024  # draws computed ahead, about a millisecond; costs nothing when thrown away


class MixedClassUniformSampler:
    """Draws of a mixture of sources with exact shares, in an order that does not depend on the number of ranks.

    The stream has no end. Epoch e is the window from ``e * epoch_size`` to ``(e + 1) * epoch_size``, ended early at the
    last whole step of all ranks: what remains opens the next window, so nothing is dropped or repeated, and in every
    epoch all ranks have the same number of draws. In step g the ranks share the next ``num_ranks`` positions of the
    stream, in a random order of their own, so that no rank sees a biased part.

    Parameters
    ----------
    sources : sequence of Source
        The mixture; shares sum to 1.
    epoch_size : int
        Draws of all ranks together in an epoch, on average.
    seed : int
        With the sources, determines the stream.
    rank, num_ranks : int
        This process, and how many there are.
    batch_size : int
        Draws of a rank per batch. Epochs end at whole batches of all ranks, so that no batch is short.

    Raises
    ------
    SettingsError
        If a setting is out of range, or an epoch is shorter than one batch of all ranks; see also `Stream`.

    Notes
    -----
    Valid as ``sampler=`` of torch's DataLoader and of StatefulDataLoader, in Lightning (with
    ``use_distributed_sampler=False``), Accelerate and mmengine; see docs/pipelines.md. Iterating again without
    `set_epoch` continues with the next epoch; after a ``break`` out of one, `set_epoch` is needed. A run that may have
    been resumed goes over ``range(sampler.epoch, num_epochs)``.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        *,
        epoch_size: int,
        seed: int = 0,
        rank: int = 0,
        num_ranks: int = 1,
        batch_size: int = 1,
    ) -> None:
        if num_ranks < 1 or not 0 <= rank < num_ranks:
            raise SettingsError(f"rank {rank} of {num_ranks}: expected a rank from 0 to num_ranks - 1.")
        if batch_size < 1 or epoch_size < batch_size * num_ranks:
            raise SettingsError(
                f"epoch_size {epoch_size}: shorter than one batch of all ranks ({batch_size} x {num_ranks}). "
                "Expected at least that many draws."
            )
        self.stream = Stream(sources, seed)
        self.epoch_size, self.rank, self.num_ranks, self.batch_size = epoch_size, rank, num_ranks, batch_size
        if rank == 0:
            _name_absent_classes(self.stream)
            log_changed_shares(self.stream)
        self._rank_key = named_key(seed, RANKS)
        self._origin = 0  # where the steps of all ranks are counted from
        self._epoch, self._start = 0, 0  # what the next iteration yields
        self._began_epoch, self._began, self._yielded = 0, 0, 0  # the newest iteration, and its draws on this rank

    @property
    def epoch(self) -> int:
        """The epoch that the next iteration yields; of a loaded state, the epoch to continue with."""
        return self._epoch

    @property
    def shares(self) -> tuple[Fraction, ...]:
        """The promised share of each source."""
        return self.stream.shares

    @property
    def position(self) -> int:
        """Positions of the stream used up by all ranks, if each yielded as many draws as this one."""
        return self._began + self._yielded * self.num_ranks

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the next iteration.

        The epoch that is next anyway is kept as it is, also where it was resumed in its midst. That of the newest
        iteration begins again where the iteration began, and the one after it where that would have ended, however far
        a loader ran ahead. Any other starts at its beginning.
        """
        if epoch < 0:
            raise SettingsError(f"epoch {epoch}: expected a number from 0.")
        if epoch == self._epoch:
            return
        if epoch == self._began_epoch:  # a loader that ran ahead may still serve this iteration: its counts stay
            self._epoch, self._start = epoch, self._began
            return
        if epoch != self._began_epoch + 1:
            self._origin = 0
        self._go_to(epoch, self._boundary(epoch))

    def __len__(self) -> int:
        """Return how many draws this rank has left in the epoch."""
        return (self._boundary(self._epoch + 1) - self._start) // self.num_ranks

    def __iter__(self) -> Iterator[Draw]:
        """Yield this rank's draws of the epoch, then turn to the next."""
        start, length, epoch = self._start, len(self), self._epoch
        self._began_epoch, self._began, self._yielded = epoch, start, 0
        for first in range(0, length, _CHUNK):
            positions = self._positions(start, first, min(first + _CHUNK, length))
            for draw in self.stream.at(positions).to_draws():
                self._yielded += 1
                if self._yielded == length:
                    self._turn_to(epoch + 1)
                yield draw
        if length == 0:
            self._turn_to(epoch + 1)

    def state_dict(self, consumed: int | None = None) -> dict[str, Any]:
        """Return where the stream is, as a few integers and digests.

        Parameters
        ----------
        consumed : int, optional
            How many draws of this rank the training used in the newest iteration. Give it where a DataLoader with
            workers runs ahead of the training; by default all that were yielded count. (StatefulDataLoader keeps
            count itself.)
        """
        yielded = self._yielded if consumed is None else consumed
        if not 0 <= yielded <= self._yielded:
            raise SettingsError(f"consumed {consumed}: expected from 0 to the {self._yielded} draws that were yielded.")
        position = self._began + yielded * self.num_ranks
        return {
            "version": STATE_VERSION,
            "position": position,
            "origin": self._origin,
            "epoch": self._began_epoch + (self._boundary(self._began_epoch + 1) <= position),
            "epoch_size": self.epoch_size,
            **self.stream.identity(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue where a state was taken, with any number of ranks and any batch size.

        Raises
        ------
        SettingsError
            If the state is of another seed, epoch size, index or share, or has a number that cannot be; names the first
            such key.
        """
        if state.get("version") != STATE_VERSION:
            raise SettingsError(
                f"sampler state: version {state.get('version')!r}, expected {STATE_VERSION}. "
                "Resume with the segdata that wrote it, or start over."
            )
        _refuse_other_stream(state, {"epoch_size": self.epoch_size, **self.stream.identity()})
        position, origin, epoch = _read_place(state, self.epoch_size)
        step = self.num_ranks * self.batch_size
        self._origin = origin if (position - origin) % step == 0 else position
        self._go_to(epoch, position)

    def _go_to(self, epoch: int, start: int) -> None:
        self._epoch, self._start = epoch, start
        self._began_epoch, self._began, self._yielded = epoch, start, 0

    def _turn_to(self, epoch: int) -> None:
        """Make another epoch the next, leaving the newest iteration as it is."""
        self._epoch, self._start = epoch, self._boundary(epoch)

    def _boundary(self, epoch: int) -> int:
        """Return where the window of an epoch begins: at its last whole batch of all ranks."""
        step = self.num_ranks * self.batch_size
        return self._origin + max(0, (epoch * self.epoch_size - self._origin) // step) * step

    def _positions(self, start: int, first: int, last: int) -> NDArray[np.int64]:
        """Return the stream positions of this rank's draws ``first .. last - 1`` after `start`."""
        rounds = (start - self._origin) // self.num_ranks + np.arange(first, last)
        slots = rank_slots(rounds, self.rank, self.num_ranks, self._rank_key)
        return self._origin + rounds * self.num_ranks + slots


class MixedClassUniformBatchSampler:
    """The draws of a `MixedClassUniformSampler` in lists: valid as ``batch_sampler=`` of a DataLoader.

    Parameters
    ----------
    sampler : MixedClassUniformSampler
        Its ``batch_size`` is the length of every list.
    """

    def __init__(self, sampler: MixedClassUniformSampler) -> None:
        self.sampler = sampler
        self.batch_size = sampler.batch_size
        self.drop_last = False

    def __len__(self) -> int:
        """Return how many batches are left in the epoch."""
        return len(self.sampler) // self.batch_size

    def __iter__(self) -> Iterator[list[Draw]]:
        """Yield the epoch's batches, all of one length."""
        draws = iter(self.sampler)
        while batch := list(islice(draws, self.batch_size)):
            yield batch

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the next iteration; see `MixedClassUniformSampler.set_epoch`."""
        self.sampler.set_epoch(epoch)

    def state_dict(self) -> dict[str, Any]:
        """Return where the stream is; see `MixedClassUniformSampler.state_dict`."""
        return self.sampler.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue where a state was taken; see `MixedClassUniformSampler.load_state_dict`."""
        self.sampler.load_state_dict(state)


def _name_absent_classes(stream: Stream) -> None:
    absent = stream.absent_classes
    if absent:
        listed = ", ".join(f"{stream.class_names[class_id]} ({class_id})" for class_id in absent)
        present = len(stream.class_names) - len(absent)
        _log.warning(
            "classes with no pixel in any class-uniform source: %s. Their share of the class-uniform draws goes to the "
            "other %d.",
            listed,
            present,
        )


def _refuse_other_stream(state: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Raise if a state is of another stream, naming the first thing that differs."""
    how_to_fix = "Resume with what the run began with, or start over."
    for name in ("seed", "epoch_size"):
        if state.get(name) != now[name]:
            raise SettingsError(f"sampler state: {name} was {state.get(name)}, is now {now[name]}. {how_to_fix}")
    before, after = state.get("sources"), now["sources"]
    if not isinstance(before, Sequence) or not all(isinstance(source, Mapping) for source in before):
        raise SettingsError(f"sampler state: {_shown(state, 'sources')}, expected a list of mappings. {_DAMAGED}")
    if len(before) != len(after):
        raise SettingsError(f"sampler state: {len(before)} sources then, {len(after)} now. {how_to_fix}")
    for place, (old, new) in enumerate(zip(before, after, strict=True)):
        for name in new:
            if old.get(name) != new[name]:
                raise SettingsError(
                    f"sampler state: source {place}: {name} was {old.get(name)}, is now {new[name]}. {how_to_fix}"
                )


def _read_place(state: Mapping[str, Any], epoch_size: int) -> tuple[int, int, int]:
    """Return position, origin and epoch of a state; raise if they cannot be those of a sampler."""
    position, origin, epoch = (_read_number(state, name) for name in ("position", "origin", "epoch"))
    if origin > position:
        raise SettingsError(f"sampler state: origin is {origin}, expected 0 to the position, {position}. {_DAMAGED}")
    window = position // epoch_size  # an epoch ends early, but by less than its length
    if epoch not in (window, window + 1):
        raise SettingsError(
            f"sampler state: epoch is {epoch}, expected {window} or {window + 1} at position {position} with epochs of "
            f"{epoch_size} draws. {_DAMAGED}"
        )
    return position, origin, epoch


def _read_number(state: Mapping[str, Any], name: str) -> int:
    value = state.get(name)
    if not isinstance(value, Integral) or value < 0:
        raise SettingsError(f"sampler state: {_shown(state, name)}, expected a whole number from 0. {_DAMAGED}")
    return int(value)


def _shown(state: Mapping[str, Any], name: str) -> str:
    return f"{name} is {state[name]!r}" if name in state else f"{name} is missing"
