"""What the batch commands write and print, pinned: on synthetic scenes, and on the real sample where it is at hand.

The golden file holds what a reader of the files sees: pixels, texts, arrays and reports. SEGDATA_WRITE_GOLDEN=1 writes
it again; every change in it is a change to users and is named in CHANGELOG.md.
"""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from golden import check, describe_tree, golden_value, keys_of
from PIL import Image
from toy_model import write_toy_checkpoint

from segdata.commands import group
from segdata.synthetic import write_cityscapes, write_vistas

BOTH = ("--split", "train", "--split", "val")
GOLDEN = Path(__file__).parent / "outputs.json"


def segdata(*words: object, exit_code: int = 0) -> str:
    found = CliRunner().invoke(group, [str(word) for word in words], catch_exceptions=False)
    assert found.exit_code == exit_code, found.output
    return found.stdout


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    """Return a folder with ``v1.2`` and ``v2.0`` in the Vistas layout and ``city`` in that of Cityscapes."""
    root = tmp_path_factory.mktemp("scenes")
    write_vistas(root / "v1.2", 3, (64, 96), validation=1)
    write_vistas(root / "v2.0", 2, (64, 96), version="v2.0", validation=1)
    write_cityscapes(root / "city", (64, 128), train=2, val=1)
    return root


@pytest.fixture
def pin(tmp_path, scenes, request):
    """Return a function that compares a folder with the golden file, without the paths of this machine."""

    def compare(name: str, folder: Path, **hide: str) -> None:
        hidden = {str(tmp_path): "<tmp>", str(scenes): "<scenes>", **hide}
        check(GOLDEN, name, describe_tree(folder, hidden))

    return compare


@pytest.mark.parametrize(("version", "encoding"), [("v1.2", "trainIds"), ("v2.0", "labelIds")])
def test_convert_mapillary(scenes, tmp_path, pin, version, encoding):
    segdata("convert-mapillary", scenes / version, tmp_path / "out", "--labels", version, "--encoding", encoding)
    pin(f"convert-mapillary {version} {encoding}", tmp_path / "out")


def test_convert(scenes, tmp_path, pin):
    mapping = "vistas-v1.2-to-cityscapes"
    segdata("convert", scenes / "v1.2/training/labels", tmp_path / "out", "--mapping", mapping)
    pin("convert", tmp_path / "out")


def test_precompute_cpp(scenes, tmp_path, pin):
    segdata("precompute-cpp", scenes / "city", tmp_path / "out", "--scales", 2, 4, 8)
    pin("precompute-cpp", tmp_path / "out")


def test_index(scenes, tmp_path, pin):
    (tmp_path / "out").mkdir()
    segdata("index", scenes / "city", "-o", tmp_path / "out/index.npz", "--tile", 32, *BOTH)
    pin("index", tmp_path / "out")


def test_chain_of_the_converted(scenes, tmp_path, pin):
    segdata("convert-mapillary", scenes / "v1.2", tmp_path / "city")
    segdata("precompute-cpp", tmp_path / "city", tmp_path / "out/cpp", "--scales", 4)
    segdata("index", tmp_path / "city", "-o", tmp_path / "out/index.npz", *BOTH)
    pin("chain", tmp_path / "out")


@pytest.mark.parametrize("command", ["predict", "autolabel"])
def test_applied_models(scenes, tmp_path, command):
    pytest.importorskip("torch")
    run = write_toy_checkpoint(tmp_path / "run", scenes / "city")
    write = ["--write", "labels", "--write", "overlay"] if command == "predict" else []
    told = json.loads(segdata(command, run, scenes / "city", tmp_path / "out", *write, "--json"))
    tree = describe_tree(tmp_path / "out", {str(tmp_path): "<tmp>", str(scenes): "<scenes>"})
    for name, entry in tree.items():  # which class a pixel gets may depend on the processor
        if name.endswith(".png"):
            del entry["pixels"]
            entry["texts"] = {key: keys_of(json.loads(text)) for key, text in entry["texts"].items()}
        elif name.endswith(".json"):
            tree[name] = keys_of(entry)
    check(GOLDEN, command, without_classes(tree))
    check(GOLDEN, f"{command} --json", keys_of(without_classes(told)))
    labels = [path for path in sorted((tmp_path / "out").rglob("*leftImg8bit.png")) if "overlay" not in path.parts]
    counts = np.bincount(np.concatenate([np.asarray(Image.open(path)).ravel() for path in labels]), minlength=256)
    golden = np.array(golden_value(GOLDEN, f"{command} pixels of classes", counts.tolist()))
    assert np.abs(counts - golden).sum() <= 0.01 * counts.sum()


def without_classes(value):
    """Leave out which classes there are pixels of."""
    if not isinstance(value, dict):
        return value
    return {key: without_classes(one) for key, one in value.items() if not (key.isdecimal() and one != {})}


JSON_COMMANDS = {
    "convert-mapillary": ["convert-mapillary", "v1.2", "OUT"],
    "convert": ["convert", "v1.2/training/labels", "OUT", "--mapping", "vistas-v1.2-to-cityscapes"],
    "precompute-cpp": ["precompute-cpp", "city", "OUT", "--scales", 4],
    "index": ["index", "city", "-o", "OUT", *BOTH],
}


def words_of(name, root, out):
    places = {"OUT": out, **{place: root / place for place in ("v1.2", "v1.2/training/labels", "city")}}
    return [places.get(word, word) for word in JSON_COMMANDS[name]]


@pytest.mark.parametrize("name", JSON_COMMANDS)
def test_keys_of_json(scenes, tmp_path, name):
    words = words_of(name, scenes, tmp_path / "out.npz")
    check(GOLDEN, f"{name} --json", keys_of(json.loads(segdata(*words, "--json"))))


@pytest.mark.parametrize("fail_fast", [False, True])
@pytest.mark.parametrize("name", JSON_COMMANDS)
def test_exit_code_and_state_after_a_fault(tmp_path, name, fail_fast):
    write_vistas(tmp_path / "v1.2", 3, (32, 64), validation=1)  # two labels to train on: --fail-fast leaves one untried
    write_cityscapes(tmp_path / "city", (32, 64), train=2, val=1)
    for pattern in ("v1.2/training/labels/*.png", "city/gtFine/train/*/*TrainIds.png"):
        sorted(tmp_path.glob(pattern))[0].write_bytes(b"damaged")
    words = words_of(name, tmp_path, tmp_path / ("out.npz" if name == "index" else "out"))
    segdata(*words, *(["--fail-fast"] if fail_fast else []), exit_code=1)
    (report,) = tmp_path.glob("out*/**/*.json")
    state = json.loads(report.read_text())["state"]
    check(GOLDEN, f"{name} state after a fault{' with --fail-fast' * fail_fast}", state)


@pytest.mark.parametrize("command", ["convert-mapillary", "precompute-cpp", "index"])
def test_real_sample(vistas_sample, tmp_path, command):
    city = tmp_path / "city"
    segdata("convert-mapillary", vistas_sample, city)
    hide = {str(tmp_path): "<tmp>", str(vistas_sample): "<sample>"}
    if command == "precompute-cpp":
        segdata(command, city, tmp_path / "out", "--scales", 2, 4, 8)
    elif command == "index":
        (tmp_path / "out").mkdir()
        segdata(command, city, "-o", tmp_path / "out/index.npz", *BOTH)
    folder = city if command == "convert-mapillary" else tmp_path / "out"
    check(GOLDEN, f"real sample: {command}", describe_tree(folder, hide))
