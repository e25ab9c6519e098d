"""`segdata doctor`: what this machine offers, and what of it will be in the way."""

import importlib.util
import json
import os
import platform
import resource
import shutil
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

import click

from segdata import __version__

_MIB = 2**20
_OPTIONAL = {
    "torch": "train, evaluate, predict and autolabel",
    "timm": "backbones of timm",
    "tensorboard": "run.tensorboard",
    "scipy": "labels of SBD, and intervals of experiments",
    "distributed": "--dask",
    "onnx": "export",
}


class Finding(NamedTuple):
    """One thing that was looked at.

    Attributes
    ----------
    name, value : str
    advice : str
        What to do about it; empty where it is as it should be.
    """

    name: str
    value: str
    advice: str = ""


@click.command("doctor", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("folder", type=click.Path(path_type=Path), default=Path())
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(folder: Path, as_json: bool) -> None:
    """Say what this machine offers: cores, memory, shared memory, packages, GPUs, and room in FOLDER.

    Nothing is written. The exit code is 0 whatever is found; lines that begin with ! have advice.

    \b
    Example:
      segdata doctor /data
    """
    findings = [*_machine(), *_limits(folder), *_packages(), *_devices()]
    if as_json:
        click.echo(json.dumps([finding._asdict() for finding in findings], indent=2))
        return
    wide = max(len(finding.name) for finding in findings)
    for finding in findings:
        click.echo(f"{'!' if finding.advice else ' '} {finding.name:<{wide}}  {finding.value}")
        if finding.advice:
            click.echo(f"  {'':<{wide}}  {finding.advice}")


def _machine() -> Iterator[Finding]:
    from joblib import cpu_count

    yield Finding("segdata", f"{__version__}, Python {platform.python_version()}, {platform.platform()}")
    allowed, there = int(cpu_count()), os.cpu_count() or 1
    shared = "" if allowed == there else f" of {there}, by affinity or CPU quota"
    yield Finding("cores", f"{allowed}{shared}")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / _MIB
    yield Finding("memory", f"{memory:,.0f} MiB")


def _limits(folder: Path) -> Iterator[Finding]:
    shared = Path("/dev/shm")
    if shared.is_dir():
        size = shutil.disk_usage(shared).total / _MIB
        advice = (
            "The loader's processes fall back to pipes. Enlarge it: docker run --shm-size=8g." if size < 1024 else ""
        )
        yield Finding("shared memory", f"{size:,.0f} MiB in {shared}", advice)
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    few = "Many processes need more: ulimit -n 4096." if 0 <= files < 1024 else ""
    yield Finding("open files", "no limit" if files == resource.RLIM_INFINITY else f"{files:,}", few)
    place = folder if folder.exists() else folder.absolute().parent
    free = shutil.disk_usage(place).free / _MIB
    advice = "" if os.access(place, os.W_OK) else "It cannot be written to: choose another DST."
    yield Finding("disk", f"{free:,.0f} MiB free in {place.absolute()}", advice)
    from segdata import compiled

    advice = "" if compiled.is_cached() else "Every process compiles for some ten seconds. Set NUMBA_CACHE_DIR."
    yield Finding("compiled code", "is kept" if compiled.is_cached() else "is not kept", advice)


def _packages() -> Iterator[Finding]:
    for name, purpose in _OPTIONAL.items():
        if importlib.util.find_spec(name) is None:
            yield Finding(name, f"not installed: needed for {purpose}")
            continue
        try:
            yield Finding(name, version(name))
        except PackageNotFoundError:
            yield Finding(name, "installed, of unknown version")


def _devices() -> Iterator[Finding]:
    if importlib.util.find_spec("torch") is None:
        yield Finding("device", "cpu", "Install torch to train: pip install 'segdata[train]'.")
        return
    import torch

    if not torch.cuda.is_available():
        why = "torch sees no GPU" if torch.version.cuda else "this torch is built for CPUs alone"
        yield Finding("device", f"cpu, {torch.get_num_threads()} threads: {why}")
    for number in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        found = torch.cuda.get_device_properties(number)
        yield Finding(
            f"cuda:{number}", f"{found.name}, {found.total_memory / _MIB:,.0f} MiB, CUDA {torch.version.cuda}"
        )
