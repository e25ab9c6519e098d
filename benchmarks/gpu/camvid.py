"""Part: a real result. CamVid, PSPNet on pre-trained EfficientNet-Lite0, without and with CPP pooling, three seeds.

CAMVID names the folder of the data set (train and val); without it the part says so. What the budget cuts off is
missing, and the table says how many runs there are.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.gpu.measure import Report, arguments

ROOT = Path(__file__).parents[2]
GRID = """about: PSPNet on EfficientNet-Lite0, CamVid, on a GPU
config: camvid-pspnet-lite0-cpp
set:
  data.root: {camvid}
  data.workers: 4
  schedule.iterations: {steps}
  schedule.batch_size: 16
  schedule.images_per_rank: null
  schedule.warmup_iterations: {warmup}
  optimizer.lr: 0.05
  run.device: {device}
  run.precision: {precision}
  run.channels_last: true
  run.sync_batch_norm: false
  run.evaluate_every: {evaluate}
  run.checkpoint_every: {evaluate}
  run.keep_last: 1
  run.tensorboard: false
arms:
  ce: {{set: {{model.aux_stages: []}}}}
  ce-nearest: {{set: {{loss.auxiliary: ce-nearest}}}}
  cpp:
seeds: [0, 1, 2]
"""


def main() -> int:
    """Run the experiment as far as the time goes."""
    chosen = arguments()
    report = Report(chosen.out)
    camvid = os.environ.get("CAMVID")
    if not camvid:
        report.note("Not measured: CAMVID names no folder.")
        return 0
    steps = 4 if chosen.tiny else 2000
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        text = GRID.format(
            camvid=Path(camvid).absolute(), steps=steps, warmup=min(steps - 1, 50), evaluate=max(2, steps // 4),
            device=chosen.device, precision="bfloat16" if chosen.device == "cuda" else "float32",
        )  # fmt: skip
        (folder / "grid.yaml").write_text(text)
        command = [sys.executable, "-m", "segdata", "experiment"]
        grid = [*command, "run", str(folder / "grid.yaml"), "-o", str(folder / "out"), "-j", "3"]
        process = subprocess.Popen(grid, cwd=ROOT)
        end = time.monotonic() + chosen.seconds - 10
        while process.poll() is None and time.monotonic() < end:
            time.sleep(0.5)
        if process.poll() is None:
            process.terminate()
            process.wait(60)
        shown = subprocess.run(
            [*command, "show", str(folder / "out"), "--classes"], cwd=ROOT, capture_output=True, text=True, check=False
        )
        report.note(f"```\n{shown.stdout or shown.stderr}```")
    return 0


if __name__ == "__main__":
    sys.exit(main())
