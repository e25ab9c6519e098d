"""The Vistas layouts: what is found, how the version is told, what a wrong folder or class list says."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segdata.errors import LabelError, LayoutError
from segdata.labels.classes import IGNORE_ID
from segdata.labels.mapping import LabelMapping
from segdata.layouts.vistas import VistasRoot, find
from segdata.layouts.vistas_version import (
    class_table_of,
    read_config,
    read_palette,
    refuse_other_version,
    version_of_highest_id,
    version_of_palette,
)


def touch(root: Path, *paths: str) -> Path:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).touch()
    return root


def config_of(version: str) -> dict[str, object]:
    """Return a config.json as the data set would write it."""
    rows = class_table_of(version).classes  # type: ignore[arg-type]
    labels = [
        {"name": r.name, "readable": r.readable, "color": list(r.color), "evaluate": r.train_id != IGNORE_ID}
        for r in rows
    ]
    return {"labels": labels}


def write_config(path: Path, config: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(config), encoding="utf-8")
    return path


def palette_of(version: str) -> bytes:
    return np.array([row.color for row in class_table_of(version).classes], np.uint8).tobytes()  # type: ignore[arg-type]


def write_label(path: Path, palette: bytes | None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    label = Image.fromarray(np.zeros((2, 3), np.uint8), "L" if palette is None else None)
    if palette is not None:
        label = label.convert("P")
        label.putpalette(palette)
    label.save(path)


@pytest.fixture
def flat(tmp_path: Path) -> Path:
    """Return a v1.2 download: one pair in training, one in validation, one image in testing."""
    write_config(tmp_path / "config.json", config_of("v1.2"))
    return touch(
        tmp_path,
        "training/images/a.jpg",
        "training/labels/a.png",
        "validation/images/b.jpg",
        "validation/labels/b.png",
        "testing/images/c.jpg",
    )


@pytest.fixture
def nested(tmp_path: Path) -> Path:
    """Return a v2.0 download with the labels of both versions."""
    for version in ("v1.2", "v2.0"):
        write_config(tmp_path / f"config_{version}.json", config_of(version))
        touch(tmp_path, f"training/{version}/labels/a.png", f"training/{version}/instances/a.png")
    return touch(tmp_path, "training/images/a.jpg")


def test_flat_layout(flat: Path) -> None:
    root = VistasRoot.open(flat)
    assert (root.version, root.evidence, root.class_table.name) == (
        "v1.2",
        "the class names in config.json",
        "vistas-v1.2",
    )
    assert [(item.split, item.key, str(item.relative)) for item in root.samples()] == [
        ("training", "a", "training/labels/a.png"),
        ("validation", "b", "validation/labels/b.png"),
    ]
    assert root.samples("training")[0].image == flat / "training/images/a.jpg"
    assert root.samples("training")[0].label == flat / "training/labels/a.png"
    assert find(flat) == root.samples()


def test_testing_has_images_only(flat: Path) -> None:
    root = VistasRoot.open(flat)
    assert [(item.split, item.key, str(item.relative)) for item in root.without_label()] == [
        ("testing", "c", "testing/images/c.jpg")
    ]
    assert root.samples("testing") == []


def test_the_real_sample(vistas_sample: Path) -> None:
    root = VistasRoot.open(vistas_sample)
    assert root.version == "v1.2"
    assert (len(root.samples("training")), len(root.samples("validation"))) == (4, 2)
    assert root.without_label() == root.without_image() == []


def test_v2_layout_prefers_the_labels_that_table_4_is_written_for(nested: Path) -> None:
    root = VistasRoot.open(nested)
    assert (root.version, root.evidence) == ("v1.2", "the folder v1.2/labels")
    assert [str(item.relative) for item in root.samples()] == ["training/v1.2/labels/a.png"]


def test_v2_layout_with_the_labels_asked_for(nested: Path) -> None:
    root = VistasRoot.open(nested, "v2.0")
    assert (root.version, root.class_table.name) == ("v2.0", "vistas-v2.0")
    assert [str(item.relative) for item in root.samples()] == ["training/v2.0/labels/a.png"]
    assert root.samples()[0].image == nested / "training/images/a.jpg"


def test_pairs_go_by_key(flat: Path) -> None:
    keys = ["-dash", "_under", "with space", "Straße", "a.b"]
    touch(flat, *(f"training/labels/{key}.png" for key in keys), *(f"training/images/{key}.JPEG" for key in keys))
    items = VistasRoot.open(flat).samples("training")
    assert [item.key for item in items] == sorted([*keys, "a"])
    assert all(item.image is not None and item.image.stem == item.key for item in items)


def test_missing_halves_are_told(flat: Path) -> None:
    touch(flat, "training/images/no-label.png", "training/labels/no-image.png", "training/labels/.hidden.png")
    root = VistasRoot.open(flat)
    assert [item.key for item in root.without_label("training")] == ["no-label"]
    assert [item.key for item in root.without_image()] == ["no-image"]
    assert [item.key for item in root.samples("training")] == ["a", "no-image"]


def test_links_in_a_circle_and_folders_named_png_are_survived(flat: Path) -> None:
    (flat / "training/labels/loop.png").symlink_to("loop.png")
    (flat / "training/labels/up").symlink_to(flat / "training")
    (flat / "training/labels/folder.png").mkdir()
    (flat / "testing/testing").symlink_to(flat / "testing")
    assert [item.key for item in VistasRoot.open(flat).samples("training")] == ["a", "folder", "loop"]


def test_split_that_is_a_circle(flat: Path) -> None:
    (flat / "testing/images/c.jpg").unlink()
    (flat / "testing/images").rmdir()
    (flat / "testing").rmdir()
    (flat / "testing").symlink_to("testing")
    assert VistasRoot.open(flat).without_label() == []


def test_two_images_of_one_key(flat: Path) -> None:
    touch(flat, "training/images/a.png")
    with pytest.raises(
        LayoutError, match=r"training/images/a\.png: has the same key as a\.jpg\. Keep one of the two\."
    ):
        VistasRoot.open(flat)


def test_images_that_is_a_file(flat: Path) -> None:
    (flat / "testing/images/c.jpg").unlink()
    (flat / "testing/images").rmdir()
    touch(flat, "testing/images")
    with pytest.raises(LayoutError, match=r"testing/images: cannot be listed \(Not a directory\)"):
        VistasRoot.open(flat)


def test_version_by_class_list(flat: Path) -> None:
    write_config(flat / "config.json", config_of("v2.0"))
    assert VistasRoot.open(flat).version == "v2.0"
    with pytest.raises(LayoutError, match=r"its labels are v2\.0 \(by the class names in config\.json\), not v1\.2"):
        VistasRoot.open(flat, "v1.2")


@pytest.mark.parametrize("labels", ["auto", "v1.2", "v2.0"])
def test_class_list_and_palette_that_contradict_each_other(flat: Path, labels: str) -> None:
    write_config(flat / "config.json", config_of("v2.0"))
    write_label(flat / "training/labels/b.png", palette_of("v1.2"))
    message = (
        r"config\.json: lists the classes of v2\.0, but the labels are v1\.2 \(by the palette of "
        r"training/labels/b\.png\)\. Replace it by the class list that came with these labels, or give the labels "
    )
    with pytest.raises(LayoutError, match=message):
        VistasRoot.open(flat, labels)  # type: ignore[arg-type]


def test_trusted_class_list_is_not_held_against_the_palettes(flat: Path) -> None:
    write_config(flat / "config.json", config_of("v2.0"))
    write_label(flat / "training/labels/b.png", palette_of("v1.2"))
    assert VistasRoot.open(flat, trust_config=True).version == "v2.0"


def test_class_list_of_own_is_not_taken_for_a_version(flat: Path) -> None:
    write_config(flat / "config.json", {"labels": [{"name": "road", "color": [1, 2, 3]}]})
    write_label(flat / "training/labels/b.png", palette_of("v2.0"))
    with pytest.raises(LayoutError, match=r"class 0 is 'road', but .* or pass --trust-config to convert-mapillary"):
        VistasRoot.open(flat)


@pytest.mark.parametrize("version", ["v1.2", "v2.0"])
def test_version_by_palette_where_there_is_no_class_list(tmp_path: Path, version: str) -> None:
    write_label(tmp_path / "training/labels/a.png", None)
    write_label(tmp_path / "training/labels/b.png", palette_of(version))
    root = VistasRoot.open(tmp_path)
    assert (root.version, root.evidence) == (version, "the palette of training/labels/b.png")


def test_version_that_nothing_tells(tmp_path: Path) -> None:
    write_label(tmp_path / "training/labels/a.png", None)
    with pytest.raises(LayoutError, match=r"nothing tells whether its labels are v1\.2 or v2\.0"):
        VistasRoot.open(tmp_path)
    root = VistasRoot.open(tmp_path, "v2.0")
    assert (root.version, root.evidence) == ("v2.0", "--labels v2.0")


def test_labels_that_are_not_there(nested: Path) -> None:
    for folder in ("labels", "instances"):
        (nested / "training/v2.0" / folder / "a.png").unlink()
        (nested / "training/v2.0" / folder).rmdir()
    with pytest.raises(LayoutError, match=r"its labels are v1\.2 \(by the folder v1\.2/labels\), not v2\.0"):
        VistasRoot.open(nested, "v2.0")


def test_no_vistas_at_all(tmp_path: Path) -> None:
    with pytest.raises(LayoutError, match=r"none: is not a folder"):
        VistasRoot.open(tmp_path / "none")
    with pytest.raises(LayoutError, match=r"holds no Vistas labels.*Give the folder of the download\.$"):
        VistasRoot.open(tmp_path)


def test_the_folder_above_is_helped(tmp_path: Path) -> None:
    touch(tmp_path, "papers/b.pdf", "vistas/training/labels/a.png")
    with pytest.raises(LayoutError, match=rf"Did you mean '{tmp_path}/vistas'\?"):
        VistasRoot.open(tmp_path)


def test_words_that_are_not_known(flat: Path) -> None:
    with pytest.raises(LayoutError, match=r"labels: 'v3' is not known\. Use auto, v1\.2 or v2\.0"):
        VistasRoot.open(flat, "v3")  # type: ignore[arg-type]
    with pytest.raises(LayoutError, match="'train' is not a split of Vistas"):
        VistasRoot.open(flat).samples("train")


def test_renamed_class_is_shown(flat: Path) -> None:
    config = config_of("v1.2")
    config["labels"][12]["name"] = "construction--flat--tram"  # type: ignore[index]
    write_config(flat / "config.json", config)
    message = (
        r"config\.json: class 12 is 'construction--flat--tram', but 'construction--flat--rail-track' in the "
        r"bundled table 'vistas-v1\.2'\. Fix the file, or pass --trust-config to convert-mapillary\.$"
    )
    with pytest.raises(LayoutError, match=message):
        VistasRoot.open(flat)


def test_shorter_class_list(flat: Path) -> None:
    config = config_of("v1.2")
    config["labels"].pop()  # type: ignore[attr-defined]
    write_config(flat / "config.json", config)
    with pytest.raises(LayoutError, match=r"holds 65 classes, the bundled table 'vistas-v1\.2' 66"):
        VistasRoot.open(flat)


def test_trusted_class_list_decides_the_ids(flat: Path) -> None:
    config = config_of("v1.2")
    labels = config["labels"]
    labels[13], labels[15] = labels[15], labels[13]  # type: ignore[index]
    write_config(flat / "config.json", config)
    root = VistasRoot.open(flat, trust_config=True)
    mapping = LabelMapping.load("vistas-v1.2-to-cityscapes", source=root.class_table)
    assert root.class_table.name == "config.json"
    assert mapping.lookup()[[13, 15, 17]].tolist() == [1, 0, 2]


def test_training_ids_count_the_evaluated_classes(tmp_path: Path) -> None:
    table = read_config(write_config(tmp_path / "config.json", config_of("v2.0")))
    assert [row.train_id for row in table.classes] == [row.train_id for row in class_table_of("v2.0").classes]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", r"config.json: is not valid JSON"),
        ("[" * 200_000, r"config.json: is not valid JSON"),
        ("\x00\xff", r"config.json: is not valid JSON"),
        ("[]", r"config.json: holds no list 'labels' of 1 to 256 classes"),
        ('{"labels": {}}', r"config.json: holds no list 'labels'"),
        ('{"labels": [' + ", ".join(["1"] * 257) + "]}", r"config.json: holds no list 'labels'"),
        ('{"labels": [7]}', r"config.json, labels\[0\]: is not a class"),
        ('{"labels": [{"name": 7}]}', r"config.json, labels\[0\]: has no text 'name'"),
        ('{"labels": [{"name": "a\\nb"}]}', r"config.json, labels\[0\]: has no text 'name'"),
        ('{"labels": [{"name": "a", "color": [1, 2, 256]}]}', r"labels\[0\], color: \[1, 2, 256\] is not \[red"),
        (
            '{"labels": [{"name": "a", "color": [1, 2, 3]}, {"name": "a", "color": [1, 2, 3]}]}',
            r"config.json: 'config.json': name 'a' is given to 'a' and to 'a'",
        ),
        (" " * (1 << 20) + "{}", r"config.json: is larger than 1048576 bytes"),
    ],
)
def test_hostile_class_list(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "config.json").write_text(text, encoding="latin-1")
    with pytest.raises(LayoutError, match=message) as caught:
        read_config(tmp_path / "config.json")
    assert "\n" not in str(caught.value)


def test_class_list_that_is_a_folder(tmp_path: Path) -> None:
    with pytest.raises(LayoutError, match=r"cannot be read \(Is a directory\)"):
        read_config(tmp_path)


@pytest.mark.parametrize("version", ["v1.2", "v2.0"])
def test_palettes_tell_versions_apart(version: str) -> None:
    palette = palette_of(version)
    assert version_of_palette(palette) == version
    assert version_of_palette(palette + bytes(3 * 256 - len(palette))) == version
    assert version_of_palette(palette[: 3 * 12]) == version


@pytest.mark.parametrize("palette", [None, b"", bytes(range(9)), palette_of("v1.2")[:-1], bytes(range(256)) * 3])
def test_palettes_that_tell_nothing(palette: bytes | None) -> None:
    assert version_of_palette(palette) is None


def test_real_palettes(vistas_sample: Path) -> None:
    assert {version_of_palette(read_palette(item.label)) for item in find(vistas_sample) if item.label} == {"v1.2"}


@pytest.mark.parametrize(("highest", "version"), [(65, None), (66, "v2.0"), (123, "v2.0"), (124, None)])
def test_highest_id(highest: int, version: str | None) -> None:
    assert version_of_highest_id(highest) == version


def test_palette_is_read_without_decoding(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    write_label(path, palette_of("v1.2"))
    path.write_bytes(path.read_bytes()[: -12 - 4])  # the pixels are damaged
    assert (read_palette(path) or b"").startswith(palette_of("v1.2"))


@pytest.mark.parametrize("data", [b"", b"no PNG", b"\x89PNG\r\n\x1a\n", b"\x89PNG\r\n\x1a\n\xff\xff\xff\xffIHDR"])
def test_no_palette_in_what_is_no_png(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.png").write_bytes(data)
    assert read_palette(tmp_path / "a.png") is None
    assert read_palette(tmp_path / "none.png") is None


def test_v2_label_in_a_v1_run_is_refused() -> None:
    with pytest.raises(
        LabelError, match=r"^a\.png: is a v2\.0 label \(its palette\), and this run reads v1\.2 labels\."
    ):
        refuse_other_version("v1.2", where="a.png", palette=palette_of("v2.0"), highest_id=3)
    with pytest.raises(
        LabelError, match=r"is a v2\.0 label \(it holds id 66\).* Pass --labels v2\.0, or take the file out"
    ):
        refuse_other_version("v1.2", where="a.png", palette=None, highest_id=66)


def test_v1_label_in_a_v2_run_is_refused() -> None:
    with pytest.raises(LabelError, match=r"is a v1\.2 label \(its palette\)"):
        refuse_other_version("v2.0", where="a.png", palette=palette_of("v1.2"), highest_id=3)


def test_label_without_evidence_is_taken_at_its_word() -> None:
    refuse_other_version("v1.2", where="a.png", palette=None, highest_id=65)
    refuse_other_version("v2.0", where="a.png", palette=palette_of("v2.0"), highest_id=123)
