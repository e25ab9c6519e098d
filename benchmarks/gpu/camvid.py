"""Part: real results. CamVid on pre-trained EfficientNet-Lite0, several runs at a time on one GPU.

CAMVID names the folder of the data set (train and val); without it the part says so. LITE0 may name the file of
weights, where the package that the recipes name is not installed. OUT/camvid-STUDY keeps grid and
results, as `segdata experiment show` reads them; what the time cuts off is missing there, and the next call with the
same OUT goes on.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import yaml

from benchmarks.gpu.measure import Report, arguments

ROOT = Path(__file__).parents[2]
RUNS_AT_A_TIME = 6
SETTINGS: dict[str, Any] = {
    "data.workers": 1,
    "data.sources.train.class_uniform": 0.5,
    "augmentation.crop": [160, 224],
    "schedule.batch_size": 8,
    "schedule.images_per_rank": None,
    "schedule.iterations": 1500,
    "schedule.warmup_iterations": 20,
    "optimizer.name": "adamw",
    "optimizer.lr": 0.001,
    "optimizer.weight_decay": 0.01,
    "run.threads": 1,
    "run.channels_last": True,
    "run.sync_batch_norm": False,
    "run.evaluate_every": 250,
    "run.checkpoint_every": 250,
    "run.keep_last": 1,
    "run.tensorboard": False,
    "evaluation.boundary": True,
}
"""Those of docs/results/camvid-pspnet, chosen for two CPU cores, so that results can be laid side by side."""
LOSSES: dict[str, Any] = {
    "ce": {"set": {"model.aux_stages": []}},
    "ce-nearest": {"set": {"loss.auxiliary": "ce-nearest"}},
    "cpp": {},
}
STUDIES: dict[str, dict[str, Any]] = {
    "weights": {
        "about": "auxiliary weight, PSPNet on EfficientNet-Lite0 with CPP targets, CamVid",
        "config": "camvid-pspnet-lite0-cpp",
        "set": SETTINGS | {"schedule.iterations": 750},
        "arms": {f"{n / 10:g}": {"set": {"loss.auxiliary_weight": n / 10}} for n in range(1, 11)},
        "seeds": [0, 1],
    },
    "scales": {
        "about": "scales from a range or a list, targets pooled or stored; PSPNet on EfficientNet-Lite0, CamVid",
        "config": "camvid-pspnet-lite0-cpp",
        "set": SETTINGS,
        "arms": {
            "continuous": {},
            "discrete": {"set": {"augmentation.scale": [0.5, 1, 2]}},
            "stored": {"config": "camvid-pspnet-lite0-cpp-stored"},
        },
        "seeds": [0, 1, 2, 3, 4, 5],
    },
    "deeplabv3plus": {
        "about": "DeepLabV3+ on EfficientNet-Lite0, CamVid; the arms differ in the auxiliary loss alone",
        "config": "camvid-deeplabv3plus-lite0-cpp",
        "set": SETTINGS,
        "arms": LOSSES,
        "seeds": [0, 1, 2],
    },
    "pspnet": {
        "about": "PSPNet on EfficientNet-Lite0, CamVid; the arms differ in the auxiliary loss alone",
        "config": "camvid-pspnet-lite0-cpp",
        "set": SETTINGS,
        "arms": LOSSES,
        "seeds": [0, 1, 2],
    },
}
"""In the order of their worth."""


def main() -> int:
    """Run a study as far as the time goes."""
    chosen = arguments("study")
    report = Report(chosen.out)
    end = time.monotonic() + chosen.seconds - 40
    camvid = os.environ.get("CAMVID")
    if not camvid:
        report.note("Not measured: CAMVID names no folder.")
        return 0
    segdata = [sys.executable, "-m", "segdata"]
    experiment = [*segdata, "experiment"]
    grid = STUDIES[chosen.study]
    root, kept = Path(camvid).absolute(), chosen.out.absolute().parent / f"camvid-{chosen.study}"
    settings = grid["set"] | {"data.root": str(root), "run.device": chosen.device}
    if weights := os.environ.get("LITE0"):
        settings["model.weights"] = str(Path(weights).absolute())
    if chosen.tiny:
        settings |= {"schedule.iterations": 4, "schedule.warmup_iterations": 0, "run.evaluate_every": 4}
    if "stored" in grid["arms"]:
        store = kept.with_name("camvid-cpp")
        grid["arms"]["stored"]["set"] = {"data.sources.train.cpp": str(store)}
        which = ["--scales", "2", "4", "8", "16", "32", "--classes", "camvid", "--encoding", "labelIds"]
        subprocess.run([*segdata, "precompute-cpp", *which, str(root), str(store)], cwd=ROOT, check=True)
    file = kept.with_suffix(".yaml")
    file.write_text(yaml.safe_dump(grid | {"set": settings}, sort_keys=False))
    process = subprocess.Popen([*experiment, "run", str(file), "-o", str(kept), "-j", str(RUNS_AT_A_TIME)], cwd=ROOT)
    while process.poll() is None and time.monotonic() < end:
        time.sleep(0.5)
    failed = process.poll()
    process.send_signal(signal.SIGTERM)
    process.wait(30)
    shown = subprocess.run([*experiment, "show", str(kept)], cwd=ROOT, capture_output=True, text=True, check=False)
    report.note(f"```\n{shown.stdout or shown.stderr}```")
    return failed or 0


if __name__ == "__main__":
    sys.exit(main())
