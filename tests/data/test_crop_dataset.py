"""The data set: a draw becomes a crop that shows its class, and the same one wherever it is read."""

import numpy as np
import pytest
from PIL import Image

from segdata.batch.work import BatchSettings
from segdata.cpp.pooling import cpp_counts
from segdata.data.crop_dataset import CropDataset
from segdata.errors import LabelError, SettingsError
from segdata.jobs.index import plan_index
from segdata.sampling.class_index import ClassIndex
from segdata.sampling.index_builder import run_index
from segdata.sampling.stream import Draw, Source, Stream


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder of three images and labels, the label being the image's red; class 2 is one pixel."""
    root = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(5)
    for number in range(3):
        ids = np.kron(rng.integers(0, 2, (6, 8), np.uint8), np.ones((8, 8), np.uint8))
        ids[tuple(rng.integers(0, side) for side in ids.shape)] = 2
        for kind, ending, image in (("labels", "png", ids), ("images", "png", np.stack([ids * 100] * 3, -1))):
            path = root / kind / f"{number}.{ending}"
            path.parent.mkdir(exist_ok=True)
            Image.fromarray(image).save(path)
    return root


@pytest.fixture(scope="module")
def source(folder):
    """Return the folder as a source that is drawn class-uniformly."""
    plan = plan_index(folder / "labels", folder / "x.npz", tile=16, images=folder / "images", classes="cityscapes")
    _, index = run_index(plan, BatchSettings())
    return Source(index, class_uniform=1.0)


def test_the_drawn_class_is_in_every_crop_at_every_scale(source):
    dataset = CropDataset([source], (9, 11), scales=(0.2, 3.0), flip=True)
    for draw in Stream([source]).draws(0, 200).to_draws():
        assert (dataset.crop(draw).label == draw.class_id).any()


def test_a_crop_depends_on_seed_and_position_alone(source):
    draws = Stream([source]).draws(0, 20).to_draws()
    first, again, other = (CropDataset([source], (16, 16), seed=seed, scales=(0.5, 2.0)) for seed in (1, 1, 2))
    for draw in reversed(draws):
        again.crop(draw)
    assert all((first.crop(draw).image == again.crop(draw).image).all() for draw in draws)
    assert any((first.crop(draw).box != other.crop(draw).box) for draw in draws)


def test_image_and_label_are_cropped_alike(source):
    dataset = CropDataset([source], (24, 24), flip=True)
    for draw in Stream([source]).draws(0, 20).to_draws():
        crop = dataset.crop(draw)
        assert (crop.image[..., 0] == np.minimum(crop.label.astype(int) * 100, 200)).all()


def test_half_of_the_crops_are_mirrored(source):
    dataset = CropDataset([source], (8, 8), flip=True)
    flipped = [dataset.crop(draw).flipped for draw in Stream([source]).draws(0, 400).to_draws()]
    assert sum(flipped) == pytest.approx(200, abs=50)


def test_an_item_holds_targets_pooled_from_its_own_label(source):
    item = CropDataset([source], (16, 32), cells=(4, 8))[Draw(3, 0, 1, None, None)]
    assert item["image"].shape == (3, 16, 32)
    assert {cell: counts.shape for cell, counts in item["counts"].items()} == {4: (20, 4, 8), 8: (20, 2, 4)}
    assert (item["counts"][4] == cpp_counts(item["label"], 4)).all()
    assert (item["position"], item["source"], item["class_id"]) == (3, 0, -1)


def test_a_crop_larger_than_the_image_is_padded_as_ignored(source):
    crop = CropDataset([source], (60, 80)).crop(Draw(0, 0, 0, None, None))
    assert (crop.label == 255).sum() == 60 * 80 - 48 * 64
    assert (crop.image[crop.label == 255] == 0).all()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.unlink(), "cannot be read \\(No such file or directory\\)"),
        (lambda path: path.write_bytes(path.read_bytes()[:60]), "is not a valid image"),
        (lambda path: path.write_bytes(b"GIF?"), "is not a valid image"),
        (lambda path: Image.new("RGB", (5, 4)).save(path), "has 4x5 pixels, its label 48x64"),
    ],
)
def test_a_image_that_cannot_be_read_is_one_line(source, folder, damage, message):
    path = folder / "images" / "2.png"
    whole = path.read_bytes()
    damage(path)
    try:
        with pytest.raises(LabelError, match=rf"images/2\.png: {message}"):
            CropDataset([source], (8, 8))[Draw(0, 0, 2, None, None)]
    finally:
        path.write_bytes(whole)


def test_a_label_that_changed_its_size_is_one_line(source, folder):
    path = folder / "labels" / "2.png"
    whole = path.read_bytes()
    Image.new("L", (4, 4)).save(path)
    try:
        with pytest.raises(LabelError, match=r"2\.png: has 4x4 pixels, 48x64 when it was indexed"):
            CropDataset([source], (8, 8))[Draw(0, 0, 2, None, None)]
    finally:
        path.write_bytes(whole)


def test_unsure_pixels_are_ignored_in_the_crop(tmp_path):
    for name in ("a", "b"):
        Image.new("L", (16, 16), 0).save(tmp_path / f"{name}.png")
        Image.new("RGB", (16, 16)).save(tmp_path / f"{name}.jpg")
    sure = np.full((16, 16), 255, np.uint8)
    sure[:, 5:] = 100
    Image.fromarray(sure).save(tmp_path / "a_prob.png")
    run_index(plan_index(tmp_path, tmp_path / "i.npz", images=tmp_path), BatchSettings())
    index = ClassIndex.load(tmp_path / "i.npz")
    assert index.arrays["image_ignored"].tolist() == [16 * 11, 0]
    label = CropDataset([Source(index)], (16, 16)).crop(Draw(0, 0, 0, None, None)).label
    assert (label[:, :5] == 0).all()
    assert (label[:, 5:] == 255).all()


def test_labels_without_images_are_refused(folder):
    _, index = run_index(plan_index(folder / "labels", folder / "without.npz"), BatchSettings())
    with pytest.raises(SettingsError, match=r"source 0: 3 of 3 labels have no image in the index, first .*0\.png"):
        CropDataset([Source(index)], (8, 8))


@pytest.mark.parametrize(
    ("settings", "message"), [({"scales": (2.0, 1.0)}, r"scales \(2\.0, 1\.0\)"), ({"crop_size": (0, 4)}, "crop_size")]
)
def test_settings_that_cannot_be_are_refused(source, settings, message):
    with pytest.raises(SettingsError, match=message):
        CropDataset([source], **({"crop_size": (4, 4)} | settings))


def share_of_the_first(label):
    """Return the largest part that a class has of the labeled pixels."""
    counts = np.bincount(label[label != 255], minlength=2)
    return counts.max() / counts.sum()


def test_crops_of_mostly_one_class_are_placed_anew_and_keep_the_drawn_pixel(tmp_path):
    ids = np.zeros((96, 96), np.uint8)
    ids[:, 40:56] = 1  # crops of 16 x 16 rarely lie across an edge of it
    source = source_of(tmp_path, ids)
    plain, mixed = (CropDataset([source], (16, 16), cat_max_ratio=ratio) for ratio in (1.0, 0.75))
    by_image = Stream([Source(source.index)]).draws(0, 300).to_draws()
    shares = [[share_of_the_first(data.crop(draw).label) for draw in by_image] for data in (plain, mixed)]
    assert [np.mean(np.array(one) >= 0.75) for one in shares] == pytest.approx([0.86, 0.2], abs=0.1)
    for draw, before in zip(by_image, shares[0], strict=True):
        if before < 0.75:  # what pleases at once is left where it was
            assert mixed.crop(draw).box == plain.crop(draw).box
    for draw in Stream([source]).draws(0, 100).to_draws():
        assert (mixed.crop(draw).label == draw.class_id).any()


def test_a_crop_without_a_label_or_of_one_class_alone_is_taken_after_ten_places(tmp_path):
    for value in (0, 255):
        ids = np.full((40, 40), value, np.uint8)
        ids[0, 0] = 0
        folder = tmp_path / str(value)
        dataset = CropDataset([source_of(folder, ids)], (8, 8), cat_max_ratio=0.75)
        draws = Stream(dataset.sources).draws(0, 4).to_draws()
        assert all(dataset.crop(draw).label.shape == (8, 8) for draw in draws)


def test_an_image_is_fitted_into_the_sides_before_it_is_scaled(source):
    dataset = CropDataset([source], (9, 11), scales=(0.5, 2.0), resize=(128, 48))  # of images of 48 x 64
    plain = CropDataset([source], (9, 11), scales=(0.5, 2.0))
    twice = CropDataset([source], (9, 11), scales=(0.5, 2.0), resize=(128, 96))
    for draw in Stream([source]).draws(0, 20).to_draws():
        assert dataset.crop(draw).box == plain.crop(draw).box
        assert twice.crop(draw).box.scale == 2 * plain.crop(draw).box.scale
        assert (twice.crop(draw).label == draw.class_id).any()


def test_bilinear_crops_differ_where_they_are_scaled_alone(source):
    draws = Stream([source]).draws(0, 10).to_draws()
    for scales, same in (((1.0, 1.0), True), ((0.6, 0.6), False)):
        bicubic, bilinear = (
            CropDataset([source], (24, 24), scales=scales, interpolation=kind) for kind in ("bicubic", "bilinear")
        )
        assert all((bicubic.crop(draw).image == bilinear.crop(draw).image).all() for draw in draws) == same


def source_of(folder, ids):
    """Return one label, its red image beside it, as a source that is drawn class-uniformly."""
    for kind, pixels in (("labels", ids), ("images", np.stack([ids] * 3, -1))):
        (folder / kind).mkdir(parents=True)
        Image.fromarray(pixels).save(folder / kind / "0.png")
    _, index = run_index(
        plan_index(folder / "labels", folder / "x.npz", tile=16, images=folder / "images"), BatchSettings()
    )
    return Source(index, class_uniform=1.0)
