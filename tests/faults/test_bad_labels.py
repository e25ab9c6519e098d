"""One bad label among good ones: one line with the file and how to fix it, and all the others are done."""

import io
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from commands import BatchCommand, Segdata, make_label, make_labels, tree
from PIL import Image

WHOLE = make_label(0)


def png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "png")
    return buffer.getvalue()


def bomb() -> bytes:
    """Return a PNG whose header says 100,000 x 100,000 pixels, its checksum right."""
    header = b"IHDR" + struct.pack(">IIBBBBB", 100_000, 100_000, 8, 0, 0, 0, 0)
    return WHOLE[:8] + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header)) + WHOLE[33:]


def flipped() -> bytes:
    """Return a label with one bit of its pixels the wrong way round."""
    middle = WHOLE.index(b"IDAT") + 40
    return WHOLE[:middle] + bytes([WHOLE[middle] ^ 4]) + WHOLE[middle + 1 :]


def unknown_id() -> bytes:
    ids = np.zeros((4, 4), np.uint8)
    ids[2, 3] = 200
    return png(Image.fromarray(ids))


BAD_LABELS: dict[str, tuple[Callable[[], bytes], str]] = {
    "truncated": (lambda: WHOLE[: len(WHOLE) // 2], "it is truncated. Copy it again"),
    "one bit flipped": (flipped, "is damaged (checksum"),
    "empty": (lambda: b"", "is not a PNG file (it is empty)"),
    "text": (lambda: b"not found\n", "is not a PNG file (it begins with"),
    "bomb": (bomb, "100000 x 100000 pixels"),
    "RGB": (lambda: png(Image.new("RGB", (8, 8))), "is a 8-bit RGB image. Expected one id per pixel"),
    "16 bit": (lambda: png(Image.new("I;16", (8, 8))), "is a 16-bit gray image. Expected one id per pixel"),
    "unknown id": (unknown_id, "id 200 is"),
}


def check_one_error(
    segdata: Segdata, command: BatchCommand, source: Path, destination: Path, message: str, no_root: bool = False
) -> None:
    """Run over three good labels and one bad; check the one line, and that the good ones are done."""
    finished = segdata.run(command.args(source, destination), no_root=no_root)
    assert finished.code == 1
    assert len(finished.errors) == 1
    assert str(command.label(source, "bad")) in finished.errors[0]
    assert message in finished.errors[0]
    assert "Traceback" not in finished.err
    assert not command.output(destination, "bad").exists()
    assert all(command.output(destination, name).exists() for name in make_labels(3))


@pytest.mark.parametrize("kind", BAD_LABELS)
def test_a_bad_label(segdata: Segdata, command: BatchCommand, source: Path, destination: Path, kind: str) -> None:
    make, message = BAD_LABELS[kind]
    command.write_source(source, {**make_labels(3), "bad": make()})
    check_one_error(segdata, command, source, destination, message)


def test_once_it_is_mended_only_it_is_done(
    segdata: Segdata, command: BatchCommand, source: Path, destination: Path, tmp_path: Path
) -> None:
    command.write_source(source, {**make_labels(3), "bad": WHOLE[:50]})
    assert segdata.run(command.args(source, destination)).code == 1
    command.label(source, "bad").write_bytes(WHOLE)
    finished = segdata.run(command.args(source, destination))
    assert finished.code == 0
    assert finished.out.endswith("4 files: 1 done, 3 already there\n")
    assert segdata.run(command.args(source, tmp_path / "straight")).code == 0
    assert tree(destination) == tree(tmp_path / "straight")


def test_a_folder_named_like_a_label(segdata: Segdata, command: BatchCommand, source: Path, destination: Path) -> None:
    command.write_source(source, make_labels(3))
    command.label(source, "bad").mkdir()
    check_one_error(segdata, command, source, destination, "irectory")


def test_a_pipe_named_like_a_label(segdata: Segdata, command: BatchCommand, source: Path, destination: Path) -> None:
    command.write_source(source, make_labels(3))
    os.mkfifo(command.label(source, "bad"))  # nobody ever writes to it
    check_one_error(segdata, command, source, destination, "Not a regular file")


def test_a_label_without_the_right_to_read_it(
    segdata: Segdata, command: BatchCommand, source: Path, destination: Path
) -> None:
    command.write_source(source, {**make_labels(3), "bad": WHOLE})
    command.label(source, "bad").chmod(0)
    check_one_error(segdata, command, source, destination, "ermission denied", no_root=True)


@pytest.mark.parametrize("target", ["bad.png", "gone.png"], ids=["itself", "nothing"])
def test_a_link_to(segdata: Segdata, command: BatchCommand, source: Path, destination: Path, target: str) -> None:
    command.write_source(source, make_labels(3))
    command.label(source, "bad").symlink_to(target)
    check_one_error(segdata, command, source, destination, "")


def test_links_that_lead_back_to_their_folder_are_walked_once(
    segdata: Segdata, command: BatchCommand, source: Path, destination: Path
) -> None:
    command.write_source(source, make_labels(3))
    folder = command.label(source, "x").parent
    (folder / "round").symlink_to(folder)
    (folder / "round-and-round").symlink_to(source)
    finished = segdata.run(command.args(source, destination))
    assert finished.code == 0
    assert finished.out.endswith("3 files: 3 done\n")


@pytest.mark.parametrize(
    "name",
    [
        "-x",
        "--overwrite",
        " two  words ",
        "Straße 北京 é",
        "new\nline",
        "%s {0} $HOME",
        os.fsdecode(b"caf\xe9"),
        "x" * 180,
    ],
)
def test_any_name_a_file_can_have(
    segdata: Segdata, command: BatchCommand, source: Path, destination: Path, name: str
) -> None:
    command.write_source(source, {name: WHOLE, "label-00": make_label(0)})
    assert segdata.run(command.args(source, destination)).code == 0
    assert command.output(destination, name).stat().st_size > 0
    again = segdata.run(command.args(source, destination))
    assert again.out.endswith("2 files: 2 already there\n")


def test_a_name_that_is_no_text_is_printed_readably_in_an_error(
    segdata: Segdata, command: BatchCommand, source: Path, destination: Path
) -> None:
    command.write_source(source, {os.fsdecode(b"caf\xe9"): b""})
    finished = segdata.run(command.args(source, destination))
    assert finished.code == 1
    assert "caf\\udce9" in finished.errors[0]


def test_folders_whose_names_begin_with_a_dash(segdata: Segdata, command: BatchCommand, tmp_path: Path) -> None:
    command.write_source(tmp_path / "-in", make_labels(2))
    finished = segdata.run(command.args(Path("-in"), Path("-out")), cwd=tmp_path)
    assert finished.code == 0
    assert command.output(tmp_path / "-out", "label-00").exists()


def test_fail_fast_stops_at_the_bad_label_and_a_later_run_does_the_rest(
    segdata: Segdata, command: BatchCommand, source: Path, destination: Path
) -> None:
    command.write_source(source, {"a": WHOLE, "b": b"", "c": WHOLE})
    assert segdata.run(command.args(source, destination, "--fail-fast")).code == 1
    assert command.output(destination, "a").exists()
    assert not command.output(destination, "c").exists()
    assert segdata.run(command.args(source, destination)).code == 1
    assert command.output(destination, "c").exists()
