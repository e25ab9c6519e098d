"""Whole folders converted: places, images, resuming, refusing, reporting."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segdata.batch.work import BatchSettings
from segdata.codecs.png import encode_label, read_label
from segdata.errors import LayoutError, MappingError, SettingsError
from segdata.jobs.convert import plan_folder, plan_vistas, run_convert
from segdata.jobs.convert_label import ConvertSettings
from segdata.labels.mapping import LabelMapping
from segdata.layouts.vistas import VistasRoot

TABLE_4 = ConvertSettings(mapping=LabelMapping.load("vistas-v1.2-to-cityscapes"))
ROAD_AND_CAR = np.array([[13, 13, 55], [13, 65, 55]], np.uint8)
CONVERTED = [[0, 0, 13], [0, 255, 13]]
CONVERT_CAMVID = ConvertSettings(mapping=LabelMapping.load("camvid-to-cityscapes"))


@pytest.fixture
def vistas(tmp_path):
    """A flat v1.2 download: two labels, one of them without an image, an image without a label, a testing image."""
    root = tmp_path / "vistas"
    for folder in ("training/images", "training/labels", "validation/images", "validation/labels", "testing/images"):
        (root / folder).mkdir(parents=True)
    for name in ("training/labels/-a b.png", "validation/labels/ümlaut.png"):
        (root / name).write_bytes(encode_label(ROAD_AND_CAR))
    for name in ("training/images/-a b.jpg", "training/images/lone.jpg", "testing/images/t.jpg"):
        Image.new("RGB", (3, 2)).save(root / name)
    return root


def convert(root, destination, *, images="symlink", settings=TABLE_4, **batch):
    plan = plan_vistas(VistasRoot.open(root, "v1.2"), destination, settings, images=images)
    result = run_convert(plan, BatchSettings(**batch))
    return result.outcomes, result.report


def statuses(outcomes):
    return [outcome.status for outcome in outcomes]


def tree(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_labels_and_images_take_their_places(vistas, tmp_path):
    outcomes, _ = convert(vistas, tmp_path / "out")
    assert statuses(outcomes) == ["done", "done"]
    assert read_label(tmp_path / "out/gtFine/train/mapillary/-a b_gtFine_labelTrainIds.png").tolist() == CONVERTED
    assert read_label(tmp_path / "out/gtFine/val/mapillary/ümlaut_gtFine_labelTrainIds.png").tolist() == CONVERTED
    image = tmp_path / "out/leftImg8bit/train/mapillary/-a b_leftImg8bit.jpg"
    assert image.resolve() == (vistas / "training/images/-a b.jpg").resolve()


def test_label_ids_have_their_own_name(vistas, tmp_path):
    convert(vistas, tmp_path / "out", settings=ConvertSettings(mapping=TABLE_4.mapping, encoding="labelIds"))
    written = read_label(tmp_path / "out/gtFine/train/mapillary/-a b_gtFine_labelIds.png")
    assert written.tolist() == [[7, 7, 26], [7, 0, 26]]


def test_the_report_counts_classes_and_what_is_missing(vistas, tmp_path):
    _, report = convert(vistas, tmp_path / "out")
    assert json.loads((tmp_path / "out/convert-mapillary.json").read_text()) == report
    totals = report["totals"]
    assert totals["pixels"] == 12
    assert totals["ignored"]["share"] == pytest.approx(1 / 6)
    assert {row["name"]: row["pixels"] for row in totals["target_classes"] if row["pixels"]} == {"road": 6, "car": 4}
    assert totals["without_label"] == {"testing": ["t"], "training": ["lone"]}
    assert totals["without_image"] == ["validation/ümlaut"]
    assert report["settings"]["labels"] == "v1.2"


@pytest.mark.parametrize("images", ["symlink", "hardlink", "copy", "skip"])
def test_a_second_run_keeps_everything(vistas, tmp_path, images):
    convert(vistas, tmp_path / "out", images=images)
    before = tree(tmp_path / "out")
    outcomes, _ = convert(vistas, tmp_path / "out", images=images)
    assert statuses(outcomes) == ["kept", "kept"]
    assert tree(tmp_path / "out") == before


@pytest.mark.parametrize(
    ("images", "is_link", "links"), [("symlink", True, 1), ("hardlink", False, 2), ("copy", False, 1)]
)
def test_images_are_placed_as_asked(vistas, tmp_path, images, is_link, links):
    convert(vistas, tmp_path / "out", images=images)
    placed = tmp_path / "out/leftImg8bit/train/mapillary/-a b_leftImg8bit.jpg"
    assert placed.is_symlink() == is_link
    assert placed.stat(follow_symlinks=False).st_nlink == links
    assert placed.read_bytes() == (vistas / "training/images/-a b.jpg").read_bytes()


@pytest.mark.parametrize("damage", [b"", bytes(500), None])
def test_a_damaged_output_is_made_anew(vistas, tmp_path, damage):
    convert(vistas, tmp_path / "out")
    before = tree(tmp_path / "out")
    output = next((tmp_path / "out/gtFine/train").rglob("*.png"))
    whole = output.read_bytes()
    output.write_bytes(whole[:-7] if damage is None else damage)
    outcomes, _ = convert(vistas, tmp_path / "out")
    assert sorted(statuses(outcomes)) == ["done", "kept"]
    assert tree(tmp_path / "out") == before


def test_every_flipped_byte_of_an_output_is_mended(vistas, tmp_path):
    convert(vistas, tmp_path / "out")
    output = next((tmp_path / "out/gtFine/train").rglob("*.png"))
    whole = output.read_bytes()
    for position in range(0, len(whole), 37):
        output.write_bytes(whole[:position] + bytes([whole[position] ^ 64]) + whole[position + 1 :])
        convert(vistas, tmp_path / "out")
        assert output.read_bytes() == whole


def test_a_torn_copy_is_made_anew(vistas, tmp_path):
    convert(vistas, tmp_path / "out", images="copy")
    image = next((tmp_path / "out/leftImg8bit").rglob("*.jpg"))
    whole = (vistas / "training/images/-a b.jpg").read_bytes()
    for torn in (b"", whole[:-1]):
        image.write_bytes(torn)
        convert(vistas, tmp_path / "out", images="copy")
        assert image.read_bytes() == whole


def test_a_smaller_image_in_the_place_of_a_copy_is_kept(vistas, tmp_path):
    """As one in which faces were blurred."""
    convert(vistas, tmp_path / "out", images="copy")
    image = next((tmp_path / "out/leftImg8bit").rglob("*.jpg"))
    image.write_bytes(b"blurred")
    outcomes, _ = convert(vistas, tmp_path / "out", images="copy")
    assert "is something else than a copy of" in next(one.message for one in outcomes if one.status == "error")
    assert image.read_bytes() == b"blurred"


def test_other_settings_are_refused_by_name(vistas, tmp_path):
    convert(vistas, tmp_path / "out")
    other = ConvertSettings(mapping=TABLE_4.mapping, compression="small")
    with pytest.raises(SettingsError, match="compression was 'fast', is now 'small'"):
        convert(vistas, tmp_path / "out", settings=other)
    outcomes, _ = convert(vistas, tmp_path / "out", settings=other, overwrite=True)
    assert statuses(outcomes) == ["done", "done"]


@pytest.mark.parametrize("overwrite", [False, True])
def test_the_other_encoding_needs_another_destination(vistas, tmp_path, overwrite):
    convert(vistas, tmp_path / "out")
    before = tree(tmp_path / "out")
    other = ConvertSettings(mapping=TABLE_4.mapping, encoding="labelIds")
    with pytest.raises(SettingsError, match=r"out: holds labels of encoding 'trainIds'.*\. Choose another DST\.$"):
        convert(vistas, tmp_path / "out", settings=other, overwrite=overwrite)
    assert tree(tmp_path / "out") == before


def test_a_damaged_report_does_not_stop_an_overwrite(vistas, tmp_path):
    convert(vistas, tmp_path / "out")
    (tmp_path / "out/convert-mapillary.json").write_text("{")
    outcomes, _ = convert(vistas, tmp_path / "out", overwrite=True)
    assert statuses(outcomes) == ["done", "done"]


def test_a_folder_converted_by_overwrite_holds_one_encoding(tmp_path):
    (tmp_path / "cam").mkdir()
    (tmp_path / "cam/a.png").write_bytes(encode_label(np.array([[3, 11]], np.uint8)))
    for encoding, written in (("trainIds", [[0, 255]]), ("labelIds", [[7, 0]])):
        settings = ConvertSettings(mapping=CONVERT_CAMVID.mapping, encoding=encoding)
        plan = plan_folder(tmp_path / "cam", tmp_path / "out", settings)
        run_convert(plan, BatchSettings(overwrite=True))
        assert read_label(tmp_path / "out/a.png").tolist() == written


def test_other_settings_are_told_from_the_outputs_alone(vistas, tmp_path):
    convert(vistas, tmp_path / "out")
    (tmp_path / "out/convert-mapillary.json").unlink()
    outcomes, _ = convert(
        vistas, tmp_path / "out", settings=ConvertSettings(mapping=TABLE_4.mapping, unmapped="ignore")
    )
    assert statuses(outcomes) == ["error", "error"]
    assert "unmapped was 'error', is now 'ignore'. Choose another DST" in outcomes[0].message


def test_a_changed_source_is_refused(vistas, tmp_path):
    convert(vistas, tmp_path / "out")
    (vistas / "training/labels/-a b.png").write_bytes(encode_label(ROAD_AND_CAR[::-1]))
    outcomes, _ = convert(vistas, tmp_path / "out")
    assert statuses(outcomes) == ["error", "kept"]
    assert "was made from other bytes of its source" in outcomes[0].message
    assert outcomes[0].message.endswith("Pass --update to recompute it, or choose another DST.")
    assert statuses(convert(vistas, tmp_path / "out", update=True)[0]) == ["done", "kept"]
    assert statuses(convert(vistas, tmp_path / "out")[0]) == ["kept", "kept"]


def test_a_foreign_file_is_not_replaced(vistas, tmp_path):
    mine = tmp_path / "out/gtFine/train/mapillary/-a b_gtFine_labelTrainIds.png"
    mine.parent.mkdir(parents=True)
    Image.new("RGB", (3, 2)).save(mine)
    before = mine.read_bytes()
    outcomes, _ = convert(vistas, tmp_path / "out")
    assert "was not written by this version of segdata convert" in outcomes[0].message
    assert mine.read_bytes() == before


def test_a_bad_label_stops_no_other(vistas, tmp_path):
    (vistas / "training/labels/-a b.png").write_bytes(b"")
    (vistas / "training/labels/folder.png").mkdir()
    outcomes, report = convert(vistas, tmp_path / "out")
    assert statuses(outcomes) == ["error", "error", "done"]
    assert "-a b.png: is not a PNG file (it is empty)" in outcomes[0].message
    how_to_fix = "Expected a file, found a directory. Move it away."
    assert f"folder.png: cannot be read (Is a directory). {how_to_fix}" in outcomes[1].message
    assert report["state"] == "faulty"
    assert report["files"]["training/-a b"]["status"] == "error"


def test_shards_then_a_whole_run_give_the_tree_of_one_run(vistas, tmp_path):
    convert(vistas, tmp_path / "whole")
    for part in (1, 2):
        convert(vistas, tmp_path / "sharded", shard=(part, 2))
    outcomes, _ = convert(vistas, tmp_path / "sharded")
    assert statuses(outcomes) == ["kept", "kept"]
    assert tree(tmp_path / "sharded") == tree(tmp_path / "whole")


def test_no_report_is_made_of_labels_that_have_changed(tmp_path):
    (tmp_path / "cam").mkdir()
    settings = ConvertSettings(mapping=CONVERT_CAMVID.mapping)
    for number in range(8):
        (tmp_path / f"cam/{number}.png").write_bytes(encode_label(np.array([[3, 11, number]], np.uint8)))

    def run(destination, shard, **batch):
        run_convert(
            plan_folder(tmp_path / "cam", tmp_path / destination, settings), BatchSettings(shard=shard, **batch)
        )

    run("out", (2, 2))
    for number in range(8):
        (tmp_path / f"cam/{number}.png").write_bytes(encode_label(np.array([[3, 3]], np.uint8)))
    run("out", (1, 2), update=True)
    assert not (tmp_path / "out/convert.json").exists()
    run("out", (2, 2), update=True)
    run("straight", (1, 1))
    assert tree(tmp_path / "out") == tree(tmp_path / "straight")


def test_a_file_in_the_place_of_an_image_is_kept_by_an_update(vistas, tmp_path):
    convert(vistas, tmp_path / "out")
    image = next((tmp_path / "out/leftImg8bit").rglob("*.jpg"))
    image.unlink()
    image.write_bytes(b"of another program")
    (vistas / "training/labels/-a b.png").write_bytes(encode_label(ROAD_AND_CAR[::-1]))
    before = tree(tmp_path / "out/gtFine")
    outcomes, _ = convert(vistas, tmp_path / "out", update=True)
    assert "is something else than a symlink of" in next(one.message for one in outcomes if one.status == "error")
    assert image.read_bytes() == b"of another program"
    assert tree(tmp_path / "out/gtFine") == before
    assert statuses(convert(vistas, tmp_path / "out", overwrite=True)[0]) == ["done", "done"]
    assert image.is_symlink()


def test_two_processes_give_the_tree_of_one(vistas, tmp_path):
    convert(vistas, tmp_path / "one")
    convert(vistas, tmp_path / "two", jobs=2)
    assert tree(tmp_path / "two") == tree(tmp_path / "one")


def test_a_dry_run_writes_nothing(vistas, tmp_path):
    outcomes, _ = convert(vistas, tmp_path / "out", dry_run=True)
    assert statuses(outcomes) == ["todo", "todo"]
    assert not (tmp_path / "out").exists()


def test_source_as_destination_is_refused(vistas):
    with pytest.raises(SettingsError, match="SRC and DST are the same folder"):
        convert(vistas, vistas)


def test_a_destination_among_the_labels_is_refused(vistas):
    with pytest.raises(SettingsError, match="DST lies in a folder of labels"):
        convert(vistas, vistas / "training/labels/out")


def test_a_mapping_of_the_other_version_is_refused(vistas, tmp_path):
    other = ConvertSettings(mapping=LabelMapping.load("vistas-v2.0-to-cityscapes"))
    with pytest.raises(MappingError, match=r"reads 'vistas-v2\.0'.*Pass --mapping vistas-v1\.2-to-cityscapes"):
        convert(vistas, tmp_path / "out", settings=other)


def test_hard_links_to_another_disk_are_refused_once(vistas):
    with_other_disk = Path("/dev/shm/segdata-test-disk")
    if not with_other_disk.parent.is_dir() or with_other_disk.parent.stat().st_dev == vistas.stat().st_dev:
        pytest.skip("no second file system at /dev/shm")
    with pytest.raises(SettingsError, match="another file system than the images"):
        convert(vistas, with_other_disk, images="hardlink")
    assert not with_other_disk.exists()


def test_a_folder_keeps_its_relative_paths(tmp_path):
    (tmp_path / "labels/sub").mkdir(parents=True)
    (tmp_path / "labels/sub/a.png").write_bytes(encode_label(np.array([[3, 11]], np.uint8)))
    plan = plan_folder(tmp_path / "labels", tmp_path / "out", CONVERT_CAMVID)
    result = run_convert(plan, BatchSettings())
    outcomes, report = result.outcomes, result.report
    assert statuses(outcomes) == ["done"]
    assert read_label(tmp_path / "out/sub/a.png").tolist() == [[0, 255]]
    assert report["files"]["sub/a.png"]["target"] == "sub/a.png"


@pytest.mark.parametrize(
    ("other", "message"),
    [("b.png", r"1 PNG file of other names, first b\.png"), ("b_labelTrainIds.png", "1 of 2 labels have no file")],
)
def test_no_label_of_a_folder_is_left_out(tmp_path, other, message):
    for name in ("a_labelIds.png", other):
        (tmp_path / "source").mkdir(exist_ok=True)
        (tmp_path / "source" / name).write_bytes(encode_label(np.zeros((2, 2), np.uint8)))
    with pytest.raises(LayoutError, match=message):
        plan_folder(tmp_path / "source", tmp_path / "out", TABLE_4)


def test_a_destination_below_the_source_is_no_source_of_the_next_run(tmp_path):
    (tmp_path / "cam/val").mkdir(parents=True)
    (tmp_path / "cam/val/a.png").write_bytes(encode_label(np.array([[3, 11]], np.uint8)))
    for status in ("done", "kept"):
        plan = plan_folder(tmp_path / "cam", tmp_path / "cam/out", CONVERT_CAMVID)
        assert [item.source for item in plan.items] == ["val/a.png"]
        assert statuses(run_convert(plan, BatchSettings()).outcomes) == [status]


def test_a_destination_below_the_source_is_known_through_a_link(tmp_path):
    (tmp_path / "cam/val").mkdir(parents=True)
    (tmp_path / "cam/val/a.png").write_bytes(encode_label(np.array([[3, 11]], np.uint8)))
    run_convert(plan_folder(tmp_path / "cam", tmp_path / "cam/out", CONVERT_CAMVID), BatchSettings())
    (tmp_path / "link").symlink_to(tmp_path / "cam/out")
    assert len(plan_folder(tmp_path / "cam", tmp_path / "link", CONVERT_CAMVID).items) == 1


def test_a_destination_that_holds_sources_is_refused(tmp_path):
    (tmp_path / "cam/val/x").mkdir(parents=True)
    (tmp_path / "cam/val/x/a.png").write_bytes(encode_label(np.array([[3, 11]], np.uint8)))
    with pytest.raises(SettingsError, match=r"cam/val: DST holds labels of SRC, first .*a\.png\. Choose another DST"):
        plan_folder(tmp_path / "cam", tmp_path / "cam/val", CONVERT_CAMVID)


def test_a_destination_around_the_source_is_allowed(tmp_path):
    (tmp_path / "cam/labels").mkdir(parents=True)
    (tmp_path / "cam/labels/a.png").write_bytes(encode_label(np.array([[3, 11]], np.uint8)))
    for status in ("done", "kept"):
        plan = plan_folder(tmp_path / "cam/labels", tmp_path / "cam", CONVERT_CAMVID)
        assert statuses(run_convert(plan, BatchSettings()).outcomes) == [status]


def test_a_folder_is_not_converted_onto_itself(tmp_path):
    (tmp_path / "a.png").write_bytes(encode_label(np.array([[3, 11]], np.uint8)))
    with pytest.raises(SettingsError, match="SRC and DST are the same folder"):
        plan_folder(tmp_path, tmp_path, CONVERT_CAMVID)


def test_a_folder_without_labels_is_told(tmp_path):
    with pytest.raises(LayoutError, match="no label image found"):
        plan_folder(tmp_path, tmp_path / "out", CONVERT_CAMVID)


def test_a_label_that_cannot_be_read_is_named(vistas, tmp_path):
    label = vistas / "training/labels/-a b.png"
    label.unlink()
    label.symlink_to(label)
    outcomes, _ = convert(vistas, tmp_path / "out")
    assert statuses(outcomes) == ["error", "done"]
    assert "-a b.png: cannot be read (Too many levels of symbolic links)" in outcomes[0].message


def test_a_destination_that_cannot_be_written_is_one_fault(vistas, tmp_path):
    (tmp_path / "out").write_text("a file")
    with pytest.raises(Exception, match="Expected a directory, found a file"):
        convert(vistas, tmp_path / "out")


def test_real_labels_become_what_pillow_and_numpy_make_of_them(vistas_sample, tmp_path):
    plan = plan_vistas(VistasRoot.open(vistas_sample), tmp_path / "out", TABLE_4, images="skip")
    run_convert(plan, BatchSettings())
    lookup = TABLE_4.mapping.lookup().astype(np.uint8)
    for item in plan.items:
        assert np.array_equal(np.asarray(Image.open(item.output)), lookup[np.asarray(Image.open(item.label))])


def test_no_temporary_stays(vistas, tmp_path):
    convert(vistas, tmp_path / "out")
    output = next((tmp_path / "out/gtFine/train").rglob("*.png"))
    shutil.copyfile(output, output.with_name(f".{output.name}.0a1b2c3d.segdata-tmp"))
    convert(vistas, tmp_path / "out")
    assert not [name for _, _, files in os.walk(tmp_path / "out") for name in files if name.endswith("-tmp")]
