"""Counts where a computation makes the host wait for the device: on the CPU too, where nothing is waited for."""

import traceback
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

_WAITING = ("aten::_local_scalar_dense", "aten::nonzero", "aten::masked_select", "aten::equal", "aten::unique")


class HostWaits(TorchDispatchMode):
    """While it is entered, notes every operation whose result the host must have, with the functions that led to it.

    Attributes
    ----------
    places : list of str
        ``function: operation``, in order; the function is the innermost one of segdata.
    """

    def __init__(self) -> None:
        super().__init__()
        self.places: list[str] = []

    def __enter__(self) -> "HostWaits":
        self._copied = {name: getattr(torch.Tensor, name) for name in ("tolist", "cpu", "numpy")}
        for name in self._copied:
            setattr(torch.Tensor, name, self._noted(name))
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        for name, method in self._copied.items():
            setattr(torch.Tensor, name, method)

    def _noted(self, name: str) -> Any:
        method = self._copied[name]

        def call(tensor: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
            self._note(name)
            return method(tensor, *args, **kwargs)

        return call

    def _note(self, what: str) -> None:
        stack = [frame for frame in traceback.extract_stack() if "/segdata/" in frame.filename]
        self.places.append(f"{stack[-1].name if stack else '?'}: {what}")

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func._schema.name
        by_truth = name.startswith("aten::index") and any(
            isinstance(each, torch.Tensor) and each.dtype in (torch.bool, torch.uint8)
            for each in (args[1] if len(args) > 1 and isinstance(args[1], list | tuple) else ())
        )
        if name.startswith(_WAITING) or by_truth:
            self._note(name)
        return func(*args, **(kwargs or {}))
