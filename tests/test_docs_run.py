"""Every command, program and file on the pages runs as it stands, on synthetic scenes.

What stands for a large thing (a data set, a network, eight GPUs) is replaced by a small one of its kind: every
replacement is listed here. The quickstart and the Python sessions have tests of their own, and docs/reference.md is
made from the code.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parent.parent
OWN_TESTS = {"quickstart.md", "reference.md"}
PAGES = [ROOT / "README.md", *(page for page in sorted((ROOT / "docs").glob("*.md")) if page.name not in OWN_TESTS)]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
TOLD = {"text", "json"}
"""Languages of blocks that show what is printed or stored."""

TINY = "--set run.device=cpu --set run.threads=1 --set data.tile=64 --set schedule.iterations=2 --set run.log_every=1"
TINY += " --set schedule.batch_size=4 --set schedule.epochs=null --set schedule.images_per_rank=null"
TINY += " --set augmentation.crop=[64,64] --set data.workers=0 --set data.epoch_size=4 --set run.sync_batch_norm=false"
RESNET = f"{TINY} --set model.backbone=resnet_tiny --set model.weights=null"
HRNET = f"{TINY} --set model.backbone=hrnet_tiny --set model.weights=null"
RECIPES = {
    r"hmsa|seethroughnet|my-student": HRNET,
    r"lite0|docs/results|grid\.yaml": TINY,
    r"": RESNET,
}
"""What is added to a command that trains, by what it trains: two steps of a small network."""

REPLACED = {
    "/data/camvid": "camvid",
    "/data/cityscapes": "cityscapes",
    "/data": ".",
    "voc2012-": "camvid-",  # the scenes are in two layouts; a third would show the same
    "--nproc 8": "--nproc 2",
    "--nproc-per-node 8": "--nproc-per-node 2",
    "--nnodes 2": "--nnodes 1",
    "--runs 10": "--runs 1",
    "confidence: 0.9": "confidence: 0.0",  # of a teacher of two steps
    "--confidence 0.9": "--confidence 0 --tile 64",
    "-o weights -j 2": "-o weights --shard 1/20",
    "-o weights": "-o weights --weights 0.1 --weights 1",
    "-o long -j 2": "-o long --shard 1/18",
    "-o short -j 2": "-o short --shard 1/18",
    "-o scales -j 2": "-o scales --shard 1/9",
    "-o pspnet -j 2": "-o pspnet --shard 1/18",
    "segdata index": "segdata index --tile 64",
}
"""What a line of commands holds, and what is run in its place."""

IN_PROGRAMS = {
    "KEY_": "VISTAS_KEY_",
    '"hrnetv2_w48_imagenet_pretrained.pth"': "None",
    '"hf:timm/resnet101c.gluon_in1k"': "None",
    "(512, 1024)": "(64, 64)",
    "(1024, 2048)": "(64, 64)",
    ", 512, 1024)": ", 64, 64)",
    ", 1024, 2048)": ", 64, 64)",
    "(512, 1024, 512, 1024)": "(16, 32, 32, 64)",
    "(256, 512, 512, 1024)": "(16, 32, 32, 64)",
    "epoch_size=2975": "epoch_size=16",
    "range(sampler.epoch, 100)": "range(sampler.epoch, 2)",
    "(384, 512)": "(48, 64)",
    "(256, 512)": "(48, 64)",
}

SLURM = {
    "sbatch": 'while [ $# -gt 1 ]; do shift; done; export SLURM_ARRAY_TASK_ID=1; exec sh -c "$1"',
    "srun": 'exec "$@"',
}
"""Commands of Slurm, by the least that they do: one task, here."""


MADE = {
    "autolabels": ("cityscapes/autolabeled",),
    "README": ("city", "vistas.index.npz"),
    "experiments": ("seeds", "pspnet"),
    "pages": ("out",),
    "pipelines": ("fine.npz", "vistas.npz"),
}
"""What a page makes itself before it reads it; of the rest it is assumed that it is there."""


def blocks(page: Path) -> Iterator[tuple[int, str, str]]:
    """Yield the line, language and text of each block that is no Python session and shows no output."""
    text = page.read_text(encoding="utf-8")
    for found in BLOCK.finditer(text):
        language, block = found.groups()
        if language not in TOLD and not block.startswith(">>>"):
            yield text.count("\n", 0, found.start()) + 1, language, block


def words_for(replacements: dict[str, str], text: str) -> str:
    """Return a text with every replacement made, none within another."""
    return re.sub("|".join(re.escape(old) for old in replacements), lambda found: replacements[found[0]], text)


def commands_of(block: str, language: str) -> str:
    """Return a block as a script: of a console the lines behind the prompt, without what they print."""
    if language == "console":
        block = "".join(f"{line[2:]}\n" for line in block.splitlines() if line.startswith("$ "))
    lines = words_for(REPLACED, block).replace("\\\n", " ").splitlines()
    return "\n".join(made_small(line) for line in lines)


def made_small(line: str) -> str:
    """Add to a command that trains, draws or checks by a recipe what makes that recipe small."""
    needs = re.search(r"segdata (train|experiment run \S+|datasets check \S+|sample --config (?!mixture)\S+)", line)
    if not needs:
        return line
    small = next(words for pattern, words in RECIPES.items() if re.search(pattern, line))
    if needs[1].startswith("train") and "data.root" not in line and "my-student" not in line:
        small += " --set data.root=" + ("." if "seethroughnet" in line else "cityscapes")
    if needs[1].startswith("experiment") and "data.root" not in line:
        small += " --set data.root=" + ("camvid" if "camvid" in line or "grid" in line else "cityscapes")
    return f"{line[: needs.end()]} {small} {line[needs.end() :]}"


@pytest.fixture(scope="module")
def scenes(tmp_path_factory) -> Path:
    """Return a folder with small data sets and a trained run, as the pages assume them."""
    from segdata.synthetic import write_cityscapes, write_vistas

    folder = tmp_path_factory.mktemp("scenes")
    write_cityscapes(folder / "cityscapes", (64, 128), train=4, val=2, train_extra=2, auto_labels=True)
    write_vistas(folder / "vistas", 10, (64, 96), seed=1)
    for split in ("train", "val"):
        for number in range(2):
            rng = np.random.default_rng([number, len(split)])
            for kind, ending, pixels in (
                ("images", "jpg", rng.integers(0, 255, (72, 96, 3))),
                ("labels", "png", np.repeat(rng.integers(0, 12, (2, 1)), 96, 1).repeat(36, 0)),
            ):
                path = folder / "camvid" / split / kind / f"0001TP_{number:06d}.{ending}"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels.astype(np.uint8)).save(path)
    shutil.copytree(folder / "camvid" / "train" / "labels", folder / "camvid" / "labels")
    shutil.copy(next((folder / "cityscapes").glob("leftImg8bit/val/*/*.png")), folder / "street.png")
    Image.open(folder / "street.png").save(folder / "street.jpg")
    shutil.copy(next((folder / "vistas").glob("training/labels/*.png")), folder / "label.png")
    for name in ("vistas", "cityscapes"):
        (folder / name.upper()).symlink_to(name)
    (folder / "mapillary-vistas").symlink_to("vistas")
    (folder / "bin").mkdir()
    for name, script in SLURM.items():
        (folder / "bin" / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / "bin" / name).chmod(0o755)
    shutil.copytree(ROOT / "docs" / "results", folder / "docs" / "results")
    made = """
        segdata convert-mapillary vistas city
        segdata convert-mapillary vistas vistas-cityscapes
        segdata precompute-cpp --scales 2 4 8 city city-cpp
        segdata index cityscapes --annotation gtFine --split train --tile 64 -o fine.npz
        segdata index vistas-cityscapes --split train --tile 64 -o vistas.npz
        segdata index cityscapes/autolabeled --tile 64 -o coarse.npz
        for name in fine vistas coarse; do cp $name.npz $name.index.npz; done
        segdata train --config tiny-pspnet-scenes --set data.root=. --out runs/pspnet SMALL
        for name in ce cpp; do cp -r runs/pspnet runs/$name; done
        mkdir runs/hmsa && cp runs/pspnet/best.pt runs/hmsa
        segdata predict runs/pspnet cityscapes out --split val --encoding labelIds --write labels --write overlay
        segdata experiment run seeds --config camvid-pspnet-lite0-ce --runs 1 -o seeds --set data.root=camvid SMALL
        cp -r seeds pspnet
    """
    run(made.replace("SMALL", TINY), folder)
    return folder


def run(script: str, folder: Path) -> None:
    """Run a script in a folder; a command that fails ends it."""
    path = os.pathsep.join([str(folder / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path, "OMP_NUM_THREADS": "1", "FIRST_NODE": "localhost"}
    done = subprocess.run(
        ["bash", "-ec", script], cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=600
    )
    assert done.returncode == 0, f"{script}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"


def run_program(program: str, folder: Path) -> None:
    """Run a program of a page, with the names that it takes from the reader's own code."""
    key = next((folder / "city-cpp").rglob("*.cpp.npz")).name.split("_gtFine")[0]
    program = words_for(IN_PROGRAMS, program).replace("VISTAS_KEY", key)
    names = """
import segdata, torch
fine, vistas, coarse = (segdata.ClassIndex.load(f"{name}.npz") for name in ("fine", "vistas", "coarse"))
rank, num_ranks = 0, 1
dataset = [0] * 100
"""
    path = folder / "program.py"
    body = "".join(f"    {line}\n" for line in program.splitlines())
    path.write_text(f"{names}\nif __name__ == '__main__':\n{body}")
    run(f"python {path.name}", folder)


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_a_page_runs_from_top_to_bottom(page: Path, scenes: Path, tmp_path: Path) -> None:
    shown = list(blocks(page))
    if not shown:
        return
    shutil.copytree(scenes, tmp_path, dirs_exist_ok=True, symlinks=True)
    for name in MADE.get(page.stem, ()):
        made = tmp_path / name
        shutil.rmtree(made) if made.is_dir() else made.unlink()
    files = [block for _, language, block in shown if language == "yaml"]
    for text in files:
        name = re.match(r"# ([\w-]+\.yaml)\n", text)
        assert name, f"{page.name}: a file on a page begins with its name, as in `# my-recipe.yaml`"
        (tmp_path / name[1]).write_text(words_for(REPLACED, text))
    for line, language, block in shown:
        if language in ("sh", "console"):
            if "make " not in block and "pip install" not in block:
                run(commands_of(block, language), tmp_path)
        elif language == "python":
            run_program(block, tmp_path)
        else:
            assert language == "yaml", f"{page.name}:{line}: say what it is: ```sh, ```python, ```yaml or ```text"
