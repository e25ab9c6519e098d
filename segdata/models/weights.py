"""Published weights into our modules: strictly, with every key accounted for.

A file is read as data only (safetensors, or torch's format with ``weights_only=True``): nothing in it is run.
"""

import importlib
import pickle
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from segdata.errors import SegdataError, SettingsError

WRAPPERS = ("state_dict", "model")
"""Keys under which training codes keep the weights in their checkpoints."""

PREFIXES = ("module.", "backbone.")
"""Prefixes that published keys carry: DataParallel's, and that of a whole segmentation model."""

COUNTER = "num_batches_tracked"
"""Batch norm's counter of batches; files from before torch 0.4.1 do not have it, and nothing here reads it."""


@dataclass(frozen=True)
class WeightReport:
    """What became of each key of a weight file, and of each key of the module."""

    loaded: tuple[str, ...]
    """Keys of the module that were filled from the file."""
    unused: tuple[str, ...]
    """Keys of the file that the module has no use for, as its class declares or `skip` says."""
    kept: tuple[str, ...]
    """Keys of the module that keep their value: the `skip` ones, and batch counters that old files lack."""

    def __str__(self) -> str:
        """Return the report as one line: the unused keys by their first part."""
        parts = sorted({key.split(".")[0] for key in self.unused})
        unused = f", {len(self.unused)} unused ({', '.join(parts)})" if parts else ""
        kept = f", {len(self.kept)} kept as they were" if self.kept else ""
        return f"{len(self.loaded)} tensors loaded{unused}{kept}"


@dataclass
class _Match:
    """A file's keys laid against a module's."""

    tensors: dict[str, Tensor] = field(default_factory=dict)
    unused: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    misshapen: dict[str, str] = field(default_factory=dict)
    kept: list[str] = field(default_factory=list)


def load_weights(module: nn.Module, source: str | Path, *, skip: Sequence[str] = ()) -> WeightReport:
    """Fill `module` from a weight file, all of it or nothing.

    Parameters
    ----------
    module : nn.Module
        A backbone, whose ``unused_weights`` and ``renamed_weights`` say how published keys map to its own, or a
        whole model.
    source : str or Path
        A path; ``hf:OWNER/REPO/FILE`` for a file of the Hugging Face hub, ``hf:OWNER/REPO`` for its
        ``model.safetensors``, either with ``@REVISION``; or ``pypi:PACKAGE`` for the one weight file that an
        installed Python package brings.
    skip : sequence of str
        Prefixes of keys to leave out on purpose, such as ``head.classifier.`` for another number of classes.

    Returns
    -------
    WeightReport

    Raises
    ------
    SegdataError
        If the file cannot be read; if any key is missing, unexpected or of another shape, which are all listed; or if
        a value is not finite. The module is then as before.
    """
    match = _match(module, read_weights(source), tuple(skip))
    faults = [
        f"{len(keys)} {kind} ({', '.join(keys)})"
        for kind, keys in (
            ("missing", match.missing),
            ("unexpected", match.unexpected),
            ("of another shape", match.misshapen.values()),
        )
        if keys
    ]
    if faults:
        raise SegdataError(
            f"{source}: its keys do not fit {type(module).__name__}: {'; '.join(faults)}. Name the file of this very "
            "backbone, or leave keys out on purpose with `skip`."
        )
    broken = [key for key, value in match.tensors.items() if not value.float().isfinite().all()]
    if broken:
        raise SegdataError(
            f"{source}: {len(broken)} tensors hold NaN or infinity ({', '.join(broken)}). Fetch it again."
        )
    module.load_state_dict(match.tensors, strict=False)
    return WeightReport(tuple(match.tensors), tuple(match.unused), tuple(match.kept))


def read_weights(source: str | Path) -> dict[str, Tensor]:
    """Read a weight file into a flat dict of tensors on the CPU, running nothing that stands in it.

    Parameters
    ----------
    source : str or Path
        As for `load_weights`. The format is told from the file's first bytes, not from its name.

    Returns
    -------
    dict of str to Tensor

    Raises
    ------
    SegdataError
        If the file is not there, damaged, or holds more than tensors.
    """
    path = resolve(str(source))
    return _flat(_read(path), path)


def resolve(source: str) -> Path:
    """Return the path of a weight file: of ``pypi:PACKAGE``, or fetched for ``hf:OWNER/REPO[/FILE][@REVISION]``."""
    if source.startswith("pypi:"):
        return _installed(source.removeprefix("pypi:"))
    if not source.startswith("hf:"):
        return Path(source)
    name, _, revision = source.removeprefix("hf:").partition("@")
    owner, _, rest = name.partition("/")
    repo, _, file = rest.partition("/")
    if not owner or not repo:
        raise SettingsError(f"weights: '{source}' names no file. Write hf:OWNER/REPO/FILE or hf:OWNER/REPO.")
    try:
        hub = importlib.import_module("huggingface_hub")
    except ImportError as error:
        raise SettingsError(
            f"weights: '{source}' needs huggingface_hub. Install it with: pip install 'segdata[hub]'."
        ) from error
    download: Callable[..., str] = hub.hf_hub_download
    return Path(_fetch(download, f"{owner}/{repo}", file or "model.safetensors", revision or None))


def _installed(package: str) -> Path:
    """Return the weight file of an installed package, found by its list of files: nothing of it is imported."""
    try:
        listed = metadata.files(package)
    except (metadata.PackageNotFoundError, ValueError) as error:
        raise SettingsError(
            f"weights: 'pypi:{package}' is not installed. Install it with: pip install {package}."
        ) from error
    found = [file for file in listed or [] if file.suffix in (".pth", ".pt", ".safetensors")]
    if len(found) != 1:
        raise SettingsError(
            f"weights: 'pypi:{package}' brings {len(found)} weight files, expected is 1. Give the path of the file."
        )
    return Path(str(found[0].locate()))


def _fetch(download: Callable[..., str], repo: str, file: str, revision: str | None) -> str:
    try:
        return download(repo, file, revision=revision)
    except Exception as error:  # the hub's client raises its own, httpx's and the system's errors
        reason = " ".join(str(error).split())
        raise SegdataError(
            f"hf:{repo}/{file}: cannot be fetched: {reason} Check the name and the network, or download the file and "
            "give its path."
        ) from error


def _read(path: Path) -> Any:
    """Return what a weight file holds; any fault of the file becomes one line."""
    try:
        with path.open("rb") as file:
            start = file.read(9)
        if start[8:9] == b"{":
            return importlib.import_module("safetensors.torch").load_file(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the storage classes of old files
            return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise SegdataError(f"{path}: no such weight file. Check `weights`.") from error
    except pickle.UnpicklingError as error:
        raise SegdataError(
            f"{path}: is damaged, or holds more than tensors, which could run code when read; it was not read. "
            "Name a file of tensors alone, best .safetensors."
        ) from error
    except Exception as error:  # a damaged file can make a reader raise nearly anything
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise SegdataError(f"{path}: is not a readable weight file ({reason}). Fetch it again.") from error


def _flat(content: Any, path: Path) -> dict[str, Tensor]:
    """Return the tensors of a file's content, out of a checkpoint's wrapper if it has one."""
    if isinstance(content, Mapping):
        wrapper = next((key for key in WRAPPERS if isinstance(content.get(key), Mapping)), None)
        tensors = content if wrapper is None else content[wrapper]
        if tensors and all(isinstance(key, str) and _is_dense(value) for key, value in tensors.items()):
            return dict(tensors)
    raise SegdataError(
        f"{path}: holds no weights: a dict of tensors is expected, at the top or under one of {', '.join(WRAPPERS)}."
    )


def _is_dense(value: Any) -> bool:
    return isinstance(value, Tensor) and value.layout == torch.strided and value.device.type == "cpu"


def _strip(tensors: dict[str, Tensor], expected: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """Remove the `PREFIXES` that the module's own keys do not carry.

    Returns the tensors that go into the module, and the keys of a segmentation model's other parts.
    """
    others: list[str] = []
    for prefix in PREFIXES:
        if any(key.startswith(prefix) for key in expected) or not any(key.startswith(prefix) for key in tensors):
            continue
        others += [key for key in tensors if not key.startswith(prefix)]
        tensors = {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
    return tensors, others


def _match(module: nn.Module, tensors: dict[str, Tensor], skip: tuple[str, ...]) -> _Match:
    """Lay the tensors of a file against the keys of a module."""
    expected = module.state_dict()
    unused_prefixes: tuple[str, ...] = (*getattr(module, "unused_weights", ()), *skip)
    own, others = _strip(tensors, expected)
    match = _Match(unused=others)
    for published, tensor in own.items():
        key = _rename(published, expected, getattr(module, "renamed_weights", ()))
        if key not in expected or key.startswith(skip):
            kind = match.unused if published.startswith(unused_prefixes) else match.unexpected
            kind.append(published)
        elif tensor.shape != expected[key].shape:
            shapes = f"{tuple(tensor.shape)}, expected {tuple(expected[key].shape)}"
            match.misshapen[key] = f"{published} {shapes}"
        else:
            match.tensors[key] = tensor
    for key in sorted(expected.keys() - match.tensors.keys() - match.misshapen.keys()):
        (match.kept if key.endswith(COUNTER) or key.startswith(skip) else match.missing).append(key)
    return match


def _rename(published: str, expected: Mapping[str, Tensor], renames: Sequence[tuple[str, str]]) -> str:
    """Return the module's key for a published one: itself, or the first rename that gives a key of the module."""
    candidates = (re.sub(f"^{pattern}", replacement, published, count=1) for pattern, replacement in renames)
    return next((key for key in (published, *candidates) if key in expected), published)
