"""`segdata sample`: what an epoch will draw, as tables, JSON and images."""

import json

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from segdata.codecs.png import encode_label
from segdata.commands import group
from segdata.errors import SegdataError


@pytest.fixture
def index(tmp_path):
    """Return the index of three labels with images; train is in none of them."""
    for kind in ("labels", "images"):
        (tmp_path / kind).mkdir()
    for number, classes in enumerate(([0, 1], [0, 13], [0, 2])):
        ids = np.kron(np.array([classes], np.uint8), np.ones((32, 32), np.uint8))
        (tmp_path / "labels" / f"{number}.png").write_bytes(encode_label(ids))
        Image.new("RGB", (64, 32), (10, 20, 30)).save(tmp_path / "images" / f"{number}.png")
    words = [tmp_path / "labels", "-o", tmp_path / "x.npz", "--images", tmp_path / "images", "--tile", "32"]
    assert CliRunner().invoke(group, ["index", *map(str, words)]).exit_code == 0
    return tmp_path / "x.npz"


def invoke(*words):
    return CliRunner().invoke(group, ["sample", *map(str, words)])


def test_tables_of_sources_and_classes(index):
    result = invoke("--source", f"fine={index}:0.6", "--source", f"coarse={index}:0.4:1", "--epoch-size", 10)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert [line.split() for line in lines[1:3]] == [["fine", "3", "3/5", "6"], ["coarse", "3", "2/5", "4"]]
    rows = {line.split()[0]: line.split() for line in lines[7:]}
    assert rows["road"][1:3] == ["50.000%", "1"]
    assert rows["car"][1:3] == ["16.667%", "1"]
    assert rows["train"][1:] == ["0.000%", "0", "0.000%", "-"]


def test_a_class_that_no_source_has_is_named_once(index, caplog):
    invoke("--source", f"a={index}:1:1")
    assert len([message for message in caplog.messages if "train (16)" in message]) == 1


def test_json_is_the_epoch_in_plain_values(index):
    told = json.loads(invoke("--source", f"a={index}:1:1", "--epoch-size", 8, "--json").stdout)
    (row,) = told["sources"]
    assert (row["name"], row["share"], row["share_given"], row["draws"], row["images"]) == ("a", "1", "1", 8, 3)
    assert {row["class"]: row["draws"] for row in told["classes"] if row["draws"]} == {
        "road": 2, "sidewalk": 2, "building": 2, "car": 2
    }  # fmt: skip
    assert "train" in told["absent"]


def test_a_recipe_gives_sources_size_and_seed(index):
    recipe = index.with_name("recipe.yaml")
    recipe.write_text("sources: {a: {index: x.npz, share: 1, class_uniform: 1/2}}\nepoch_size: 20\nseed: 4\n")
    told = json.loads(invoke("--config", recipe, "--json").stdout)
    assert sum(row["draws"] for row in told["classes"]) == 10
    assert told["sources"][0]["draws"] == 20


@pytest.fixture
def camvid(tmp_path):
    """Return the folder of three CamVid images of sky and cars, labeled with the data set's own ids."""
    for key, car in (("a", 4), ("b", 8), ("c", 0)):
        ids = np.zeros((32, 48), np.uint8)
        ids[20:, 10 : 10 + car] = 8
        for kind in ("images", "labels"):
            (tmp_path / "train" / kind).mkdir(parents=True, exist_ok=True)
        (tmp_path / "train" / "labels" / f"{key}.png").write_bytes(encode_label(ids))
        Image.new("RGB", (48, 32), (10, 20, 30)).save(tmp_path / "train" / "images" / f"{key}.png")
    return tmp_path


TRAINING = ("data.sources.train.class_uniform=0.5", "data.epoch_size=16", "schedule.batch_size=2", "seed=3")


def of_training(camvid, *words, settings=TRAINING):
    sets = [word for setting in (*settings, f"data.root={camvid}") for word in ("--set", setting)]
    return invoke("--config", "camvid-fcn-ce", *sets, "--indexes", camvid / "kept", *words)


def test_the_recipe_of_a_training_run_is_shown_as_it_will_train(camvid):
    result = of_training(camvid, "--json")
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    (source,) = told["sources"]
    assert (source["name"], source["share"], source["draws"], source["images"]) == ("train", "1", 16, 3)
    rows = {row["class"]: row for row in told["classes"]}
    assert rows["sky"]["draws"] + rows["car"]["draws"] == 8
    assert (told["measured"]["by"], told["measured"]["crops"]) == ("crops", 16)
    assert min(rows[name][f"pixels_{when}"] for name in ("sky", "car") for when in ("before", "after")) > 0
    assert len(list((camvid / "kept").glob("train-*.index.npz"))) == 1


def test_a_source_that_draws_nothing_by_class_has_its_pixels_counted_too(camvid):
    told = json.loads(of_training(camvid, "--json", settings=("data.sources.train.class_uniform=0",)).stdout)
    assert {row["class"]: row["pixels_before"] for row in told["classes"]}["car"] > 0
    assert sum(row["draws"] for row in told["classes"]) == 0


def test_the_measured_labels_of_a_training_recipe_are_those_of_its_crops(camvid, tmp_path):
    from segdata.config.recipe import load_recipe
    from segdata.data.loader import TrainingDataset
    from segdata.data.sources import open_sources
    from segdata.sampling.sampler import MixedClassUniformSampler

    settings = (*TRAINING, "augmentation.crop=[16, 24]", "augmentation.scale=[0.5, 2]")
    recipe = load_recipe("camvid-fcn-ce", [*settings, f"data.root={camvid}"])
    sources = tuple(open_sources(recipe.data, tmp_path, scan_all=True))
    sampler = MixedClassUniformSampler([source.source for source in sources], epoch_size=16, seed=3)
    cut = TrainingDataset(sources, recipe.augmentation, seed=3).reader.read
    pixels = np.bincount(np.concatenate([cut(draw).label.reshape(-1) for draw in sampler]), minlength=256)[:11]
    told = json.loads(of_training(camvid, "--json", settings=settings).stdout)
    assert [row["pixels_after"] for row in told["classes"]] == pytest.approx(pixels / pixels.sum())


def test_the_tiles_are_counted_where_no_crop_is_to_be_measured(camvid):
    told = json.loads(of_training(camvid, "--json", "--measure", 0).stdout)
    assert (told["measured"]["by"], told["measured"]["tiles"], told["measured"]["why"]) == ("tiles", [1024], "")
    rows = {row["class"]: row for row in told["classes"]}
    assert rows["car"]["pixels_before"] == pytest.approx(12 * 12 / (3 * 32 * 48))


def test_table_and_json_say_how_the_pixels_were_counted(index):
    words = ("--source", f"a={index}:1:1", "--epoch-size", 8)
    cropped, tiled = invoke(*words, "--crop-size", 8, 8).stdout, invoke(*words).stdout
    assert "pixels in 8 crops of 8x8: before, drawn image by image; after, as the epoch draws" in cropped
    assert "pixels by tiles of 32: before, whole images; after, the tiles drawn. Smaller crops change more" in tiled
    assert "not by crops: no crop size is given" in tiled
    told = json.loads(invoke(*words, "--crop-size", 8, 8, "--json").stdout)["measured"]
    assert (told["by"], told["crops"], told["crop_size"]) == ("crops", 8, [8, 8])
    assert told["text"] in cropped


def test_stored_targets_have_no_pixels_to_crop(index):
    stored = index.with_name("stored")
    for words in (
        ["precompute-cpp", index.parent / "labels", stored],
        ["index", stored, "-o", index.with_name("t.npz")],
    ):
        assert CliRunner().invoke(group, [*map(str, words)]).exit_code == 0
    words = ("--source", f"a={index.with_name('t.npz')}:1:1", "--crop-size", 8, 8, "--json")
    told = json.loads(invoke(*words).stdout)["measured"]
    assert told["by"] == "tiles"
    assert "made from pooled targets" in told["why"]


def test_crops_need_images(tmp_path):
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "0.png").write_bytes(encode_label(np.zeros((8, 8), np.uint8)))
    CliRunner().invoke(group, ["index", str(tmp_path / "labels"), "-o", str(tmp_path / "x.npz")])
    result = invoke("--source", f"a={tmp_path / 'x.npz'}:1:1", "--crops", tmp_path / "c.png")
    assert isinstance(result.exception, SegdataError)
    assert "index with --images FOLDER" in str(result.exception)


def test_a_share_that_is_used_as_another_is_shown(index):
    output = invoke("--source", f"a={index}:0.00001", "--source", f"b={index}:0.99999").stdout
    assert "source 'a': share 0.00001 is used as 1/10000 (10 times)" in output.splitlines()


def test_two_sources_of_one_name_are_one_line(index):
    result = invoke("--source", f"a={index}:0.5", "--source", f"a={index}:0.5")
    assert (result.exit_code, "both are called 'a'" in str(result.exception)) == (1, True)


def test_the_crops_of_a_training_recipe_have_its_size_and_outline_its_classes(camvid, tmp_path):
    words = ("--set", "augmentation.crop=[16, 24]", "--set", "augmentation.scale=[1, 1]")
    result = of_training(camvid, *words, "--crops", tmp_path / "c.png")
    assert result.exit_code == 0, result.output
    with Image.open(tmp_path / "c.png") as image:
        assert image.width == 12 + 5 * (300 + 12)
        assert (np.asarray(image.convert("RGB")) == (255, 64, 64)).all(axis=-1).any()


def test_training_and_showing_draw_the_same(camvid, tmp_path):
    from segdata.config.recipe import load_recipe
    from segdata.data.sources import open_sources
    from segdata.sampling.sampler import MixedClassUniformSampler

    recipe = load_recipe("camvid-fcn-ce", [*TRAINING, f"data.root={camvid}"])
    for scan_all in (False, True):
        sources = open_sources(recipe.data, tmp_path / f"{scan_all}", scan_all=scan_all)
        sampler = MixedClassUniformSampler([source.source for source in sources], epoch_size=16, seed=recipe.seed)
        told = json.loads(of_training(camvid, "--json").stdout)
        drawn = sampler.stream.draws(0, 16).classes
        names = recipe.table.train_names
        assert {row["class"]: row["draws"] for row in told["classes"]} == {
            name: int((drawn == number).sum()) for number, name in enumerate(names)
        }


def test_images_are_written(index, tmp_path):
    result = invoke(
        "--source", f"a={index}:1:1", "--plot", tmp_path / "p.png", "--crops", tmp_path / "c.png", "--crop-size", 16, 24
    )
    assert result.exit_code == 0, result.output
    for name in ("p.png", "c.png"):
        with Image.open(tmp_path / name) as image:
            assert min(image.size) > 300
            assert len(image.convert("RGB").getcolors(2**20)) > 10


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ([], 2, "Give either --config or one or more --source"),
        (["--source", "a={index}:0.5"], 1, "shares: 0.5 = 0.5. Expected shares that sum to 1"),
        (["--source", "a=none.npz:1"], 1, "none.npz: no such file"),
        (["--source", "a"], 1, "expected NAME=INDEX:SHARE"),
        (["--config", "camvid-fcn-cee"], 1, "camvid-fcn-ce"),
        (["--config", "camvid-fcn-ce", "--set", "data.root={index}.none"], 1, "none"),
        (["--source", "a={index}:1", "--set", "seed=1"], 2, "are for the recipe of a training run"),
        (["--source", "a={index}:1", "--plot", "p.bmp"], 1, "'.bmp' names no form of figure"),
    ],
)
def test_bad_input_is_one_line(index, words, code, message):
    result = invoke(*(word.format(index=index) for word in words))
    assert result.exit_code == code
    said = result.output or str(result.exception)
    assert message in said
    assert code == 2 or (isinstance(result.exception, SegdataError) and "\n" not in said)
