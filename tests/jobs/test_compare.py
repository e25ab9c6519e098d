"""Predicted label images against labels, and against Cityscapes' own evaluation."""

import shutil

import numpy as np
import pytest

from segdata.codecs.png import encode_label, read_label
from segdata.errors import LabelError, LayoutError
from segdata.jobs.compare import compare, find_pairs
from segdata.labels.classes import ClassTable
from segdata.metrics.scores import Scores
from segdata.synthetic import write_cityscapes

TABLE = ClassTable.load("cityscapes")
IDS_ON_DISK = [row.id for row in TABLE.classes if row.id >= 0]


@pytest.fixture(scope="module")
def city(tmp_path_factory):
    """Return a Cityscapes root of five synthetic scenes, four of them for validation."""
    root = tmp_path_factory.mktemp("city")
    write_cityscapes(root, (96, 192), train=1, val=4)
    return root


@pytest.fixture(scope="module")
def predictions(city, tmp_path_factory):
    """Return label ids as a poor model might give them: shifted, with specks of every class, void ones among them."""
    folder = tmp_path_factory.mktemp("predictions")
    rng = np.random.default_rng(9802)
    for label in sorted(city.glob("gtFine/val/*/*_labelIds.png")):
        ids = np.roll(read_label(label), 5, axis=1)
        specks = rng.random(ids.shape) < 0.1
        ids[specks] = rng.choice(IDS_ON_DISK, specks.sum())
        (folder / label.name.replace("_gtFine_labelIds", "_pred")).write_bytes(encode_label(ids))
    return folder


def total(pairs, **settings):
    return sum(compare(pairs, TABLE, **settings), Scores.empty(TABLE.train_names, boundary="boundary" in settings))


def write(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode_label(np.array(values, np.uint8)))


@pytest.mark.optional
def test_scores_are_those_of_cityscapes_own_evaluation_to_the_last_digit(city, predictions):
    official = pytest.importorskip("cityscapesscripts.evaluation.evalPixelLevelSemanticLabeling")
    labels = sorted(map(str, city.glob("gtFine/val/*/*_labelIds.png")))
    official.args.evalInstLevelScore, official.args.JSONOutput, official.args.quiet = False, False, True
    expected = official.evaluateImgLists(sorted(map(str, predictions.glob("*.png"))), labels, official.args)
    for path in predictions.glob("*_pred.png"):
        path.rename(path.with_name(path.name.replace("_pred", "")))

    pairs = find_pairs(predictions, city, split="val", encoding="labelIds", prediction_encoding="labelIds")
    scores = total(pairs)

    trained = [row for row in TABLE.classes if row.train_id != 255]
    by_official = [expected["classScores"][row.name] for row in sorted(trained, key=lambda row: row.train_id)]
    np.testing.assert_array_equal(scores.iou, by_official)
    assert scores.miou == expected["averageScoreClasses"]
    ids = [row.id for row in sorted(trained, key=lambda row: row.train_id)]
    np.testing.assert_array_equal(scores.confusion, np.array(expected["confMatrix"])[np.ix_(ids, ids)])


def test_a_copy_of_the_labels_scores_full_marks(city):
    pairs = find_pairs(city / "gtFine" / "val" / "nordheim", city / "gtFine" / "val")
    scores = total(pairs, boundary=True)
    assert (scores.miou, scores.pixel_accuracy, scores.mean_boundary_iou, scores.num_images) == (1.0, 1.0, 1.0, 4)


def test_train_ids_and_label_ids_of_one_prediction_score_alike(tmp_path, city):
    by_encoding = {}
    for encoding in ("labelIds", "labelTrainIds"):
        for path in city.glob(f"gtFine/val/*/*_{encoding}.png"):
            write(tmp_path / encoding / path.name, np.roll(read_label(path), 3, axis=0))
        pairs = find_pairs(tmp_path / encoding, city, split="val")
        assert {pair.prediction.encoding for pair in pairs} == {encoding.replace("labelT", "t")}
        by_encoding[encoding] = total(pairs).as_dict()
    assert by_encoding["labelIds"] == by_encoding["labelTrainIds"]


def test_of_two_predictions_of_a_name_the_one_in_the_same_folders_is_taken(tmp_path):
    for folder, value in (("a", 0), ("b", 1)):
        write(tmp_path / "labels" / folder / "1.png", [[value]])
        write(tmp_path / "predicted" / "x" / folder / "1.png", [[value]])
    pairs = find_pairs(tmp_path / "predicted", tmp_path / "labels")
    assert [pair.prediction.path.parent.name for pair in pairs] == ["a", "b"]


def test_two_predictions_for_one_label_are_refused(tmp_path):
    write(tmp_path / "labels" / "1.png", [[0]])
    for folder in "ab":
        write(tmp_path / "predicted" / folder / "1.png", [[0]])
    with pytest.raises(LayoutError, match=r"labels/1\.png: two predictions for it, .*a/1\.png and .*b/1\.png"):
        find_pairs(tmp_path / "predicted", tmp_path / "labels")


def test_one_prediction_is_not_held_against_two_labels(tmp_path):
    for folder in ("seq1", "seq2"):
        write(tmp_path / "labels" / folder / "1.png", [[0]])
    write(tmp_path / "predicted" / "seq1" / "1.png", [[0]])
    with pytest.raises(LayoutError, match=r"seq1/1\.png: is the one prediction named as .*seq1/1\.png and as .*seq2"):
        find_pairs(tmp_path / "predicted", tmp_path / "labels")


def test_of_two_predictions_in_other_folders_none_is_taken(tmp_path):
    write(tmp_path / "labels/x" / "1.png", [[0]])
    for folder in "ab":
        write(tmp_path / "predicted" / folder / "1.png", [[0]])
    with pytest.raises(LayoutError, match=r"labels/x/1\.png: two predictions for it, .*a/1\.png and .*b/1\.png"):
        find_pairs(tmp_path / "predicted", tmp_path / "labels")


def test_of_what_predict_wrote_the_labels_are_taken(tmp_path):
    write(tmp_path / "labels" / "x" / "1.png", [[0]])
    write(tmp_path / "predicted" / "overlay" / "1.png", [[0]])
    (tmp_path / "predicted" / "predict.json").write_text("{}")
    with pytest.raises(LayoutError, match=r"predicted: holds no labels\. Predict with --write labels"):
        find_pairs(tmp_path / "predicted", tmp_path / "labels")
    label = tmp_path / "predicted" / "labels" / "1.png"
    write(label, [[0]])
    (pair,) = find_pairs(tmp_path / "predicted", tmp_path / "labels")
    assert pair.prediction.path == label


def test_labels_and_predictions_are_not_measured_in_part(tmp_path):
    for folder in ("labels", "predictions"):
        for name in "ab":
            write(tmp_path / folder / f"{name}.png", [[0, 1]])
    labels, predictions = tmp_path / "labels", tmp_path / "predictions"
    write(predictions / "c_labelIds.png", [[0, 1]])
    for told in (labels, predictions), (predictions, labels):
        with pytest.raises(
            LayoutError, match=r"predictions: holds 1 label .* 2 PNG files of other names, first a\.png"
        ):
            find_pairs(*told)


def test_a_label_without_prediction_is_named(tmp_path, city, predictions):
    shutil.copytree(predictions, tmp_path, dirs_exist_ok=True)
    with pytest.raises(LayoutError, match=r"no prediction for 1 of 1 labels, first .*_000000_000019_gtFine_label"):
        find_pairs(tmp_path, city, split="train")


def test_a_split_without_labels_is_refused_with_those_there_are(city, predictions):
    with pytest.raises(LayoutError, match=r"no label of split 'test'\. There are labels of train, val"):
        find_pairs(predictions, city, split="test")


def test_a_prediction_of_another_size_is_refused_naming_both(tmp_path):
    write(tmp_path / "labels" / "1.png", [[0, 0]])
    write(tmp_path / "predicted" / "1.png", [[0]])
    with pytest.raises(LabelError, match=r"predicted/1\.png: has 1x1 pixels, its label .*labels/1\.png 1x2"):
        total(find_pairs(tmp_path / "predicted", tmp_path / "labels"))


@pytest.mark.parametrize("folder", ["labels", "predicted"])
def test_a_value_of_no_class_is_named_with_its_place(tmp_path, folder):
    for each in ("labels", "predicted"):
        write(tmp_path / each / "1.png", [[0, 0], [0, 26 if each == folder else 0]])
    message = rf"{folder}/1\.png: id 26 is none of the trainIds of 'cityscapes' \(1 pixels, first at row 1, column 1\)"
    with pytest.raises(LabelError, match=message):
        total(find_pairs(tmp_path / "predicted", tmp_path / "labels"))


def test_what_a_prediction_says_of_its_encoding_is_believed(tmp_path):
    write(tmp_path / "labels" / "1_gtFine_labelIds.png", [[7]])
    text = {"segdata": '{"settings": {"encoding": "labelIds"}}'}
    (tmp_path / "predicted").mkdir()
    (tmp_path / "predicted" / "1.png").write_bytes(encode_label(np.array([[7]], np.uint8), text=text))
    (pair,) = find_pairs(tmp_path / "predicted", tmp_path / "labels")
    assert (pair.label.encoding, pair.prediction.encoding) == ("labelIds", "labelIds")
    assert total([pair]).iou[0] == 1.0
