"""Files are written whole or not at all; what cannot be done is said with the file and how to fix it."""

import errno
import os
import stat
from pathlib import Path

import pytest

from segdata.errors import SettingsError, StoreError
from segdata.files import (
    explain_os_error,
    files_at,
    files_below,
    link_atomic,
    only_run_in,
    place_atomic,
    read_regular,
    refuse_same_folder,
    refuse_shared_targets,
    sweep_temporaries,
    write_atomic,
)


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("durable", [False, True])
def test_a_file_is_written_and_its_folders_are_made(tmp_path: Path, durable: bool) -> None:
    path = tmp_path / "a" / "b" / "x.png"
    write_atomic(path, b"abc", durable=durable)
    assert path.read_bytes() == b"abc"
    assert names(path.parent) == ["x.png"]


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "x"
    write_atomic(path, b"a longer text")
    write_atomic(path, b"short")
    assert path.read_bytes() == b"short"


def test_the_mode_follows_the_umask_as_of_any_new_file(tmp_path: Path) -> None:
    write_atomic(tmp_path / "ours", b"")
    (tmp_path / "plain").touch()
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_an_error_on_the_way_leaves_the_old_file_and_no_temporary(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"old")

    def fill(temporary: Path) -> None:
        temporary.write_bytes(b"ne")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(StoreError, match=r"x: cannot be written: No space left on device\. Free some space"):
        place_atomic(path, fill)
    assert names(tmp_path) == ["x"]
    assert path.read_bytes() == b"old"


def test_an_exception_of_any_kind_leaves_no_temporary(tmp_path: Path) -> None:
    def fill(temporary: Path) -> None:
        temporary.touch()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        place_atomic(tmp_path / "x", fill)
    assert names(tmp_path) == []


def test_a_folder_in_the_place_of_the_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.png").mkdir()
    with pytest.raises(StoreError, match=r"x\.png: cannot be written: Is a directory\. Expected a file"):
        write_atomic(tmp_path / "x.png", b"abc")
    assert names(tmp_path) == ["x.png"]


def test_a_file_in_the_place_of_a_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    with pytest.raises(StoreError, match=r"x: cannot be written: .* Expected a directory, found a file"):
        write_atomic(tmp_path / "a" / "x", b"abc")


@pytest.mark.parametrize("name", ["-x.png", " two  words .png", "Straße 北京 é.png", "x" * 251 + ".png", "\udcff.png"])
def test_any_name_that_a_file_can_have_is_written(tmp_path: Path, name: str) -> None:
    write_atomic(tmp_path / name, b"abc")
    assert names(tmp_path) == [name]


@pytest.mark.parametrize("name", ["x.png", "y" * 251 + ".png"])
def test_temporaries_of_exactly_the_targets_are_swept(tmp_path: Path, name: str) -> None:
    kept = [".x.png", "x.png", f".other-{name[:9]}.0a1b2c3d.segdata-tmp", ".a.x.png.0a1b2c3d.segdata-tmp"]
    for other in kept:
        (tmp_path / other).touch()
    with pytest.raises(KeyboardInterrupt):
        place_atomic(tmp_path / name, _die_leaving_a_temporary)
    assert len(names(tmp_path)) == len(kept) + 1
    assert sweep_temporaries([tmp_path / name, tmp_path / "no folder" / "x"]) == 1
    assert names(tmp_path) == sorted(kept)


def _die_leaving_a_temporary(temporary: Path) -> None:
    """Write what a killed process would leave: a hard link keeps it when the exception removes the name."""
    temporary.touch()
    name = temporary.name
    head, _, rest = name.rpartition(".segdata-tmp")[0].rpartition(".")
    temporary.with_name(f"{head}.{rest[::-1]}.segdata-tmp").hardlink_to(temporary)
    raise KeyboardInterrupt


@pytest.mark.parametrize("how", ["symlink", "hardlink", "copy"])
def test_a_file_is_put_at_a_second_place_and_again_over_itself(tmp_path: Path, how: str) -> None:
    source, target = tmp_path / "image.jpg", tmp_path / "out" / "image.jpg"
    source.write_bytes(b"pixels")
    for _ in range(2):
        link_atomic(source, target, how)
        assert target.read_bytes() == b"pixels"
        assert names(target.parent) == ["image.jpg"]
    assert target.is_symlink() == (how == "symlink")
    assert (target.stat().st_ino == source.stat().st_ino) == (how != "copy")


@pytest.mark.parametrize("how", ["symlink", "hardlink", "copy"])
def test_a_file_that_is_a_link_itself_is_reached_from_the_second_place(tmp_path: Path, how: str) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "image.jpg").write_bytes(b"pixels")
    (tmp_path / "image.jpg").symlink_to("store/image.jpg")
    link_atomic(tmp_path / "image.jpg", tmp_path / "out" / "deep" / "image.jpg", how)
    assert (tmp_path / "out" / "deep" / "image.jpg").read_bytes() == b"pixels"


def test_a_missing_source_of_a_copy_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="out: cannot be written: No such file"):
        link_atomic(tmp_path / "gone", tmp_path / "out", "copy")


def test_an_error_of_an_unknown_number_still_gets_a_way_out() -> None:
    message = explain_os_error(OSError(errno.EIO, "Input/output error", "x.png"), "cannot be read")
    assert message == (
        "x.png: cannot be read: Input/output error. Run the same command again; if it stays, check the disk."
    )


def test_two_sources_of_one_target_are_both_named() -> None:
    pairs = [(Path("a/x.png"), Path("out/x")), (Path("b/x.png"), Path("out/x"))]
    with pytest.raises(SettingsError, match=r"out/x: two sources would be written here, a/x\.png and b/x\.png"):
        refuse_shared_targets(pairs)
    refuse_shared_targets(pairs[:1] * 2)


def test_a_target_that_is_a_source_is_named() -> None:
    with pytest.raises(SettingsError, match=r"a/x\.png: its output a/y\.png is itself a source"):
        refuse_shared_targets([(Path("a/x.png"), Path("a/y.png")), (Path("a/y.png"), Path("a/z.png"))])


def test_source_and_destination_must_differ_also_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(SettingsError, match="SRC and DST are the same folder"):
        refuse_same_folder(tmp_path, tmp_path / "link")
    refuse_same_folder(tmp_path, tmp_path / "elsewhere")


def test_a_folder_is_held_by_one_run_or_shared_by_several(tmp_path: Path) -> None:
    taken = pytest.raises(SettingsError, match="another segdata command is writing here")
    with only_run_in(tmp_path), taken, only_run_in(tmp_path, shared=True):
        raise AssertionError("the folder is held")
    with only_run_in(tmp_path, shared=True), only_run_in(tmp_path, shared=True):
        assert names(tmp_path) == []
    with only_run_in(tmp_path):
        assert names(tmp_path) == []


def test_only_a_regular_file_is_read_from_a_folder(tmp_path):
    (tmp_path / "file").write_bytes(b"12345")
    (tmp_path / "link").symlink_to("file")
    os.mkfifo(tmp_path / "pipe")
    assert read_regular(tmp_path / "link") == b"12345"
    assert read_regular(tmp_path / "file", 2) == b"12"
    with pytest.raises(OSError, match="Not a regular file"):
        read_regular(tmp_path / "pipe")
    with pytest.raises(IsADirectoryError):
        read_regular(tmp_path)


def test_a_durable_file_is_on_the_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def noting_fsync(handle: int) -> None:
        done.append("folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else "file")
        fsync(handle)

    def noting_replace(self: Path, target: Path) -> Path:
        done.append("rename")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", noting_fsync)
    monkeypatch.setattr(Path, "replace", noting_replace)
    write_atomic(tmp_path / "a", b"abc", durable=True)
    assert done == ["file", "rename", "folder"]
    done.clear()
    write_atomic(tmp_path / "b", b"abc")
    assert done == ["rename"]


def found(root: Path, *arguments: tuple[str, ...], **settings: bool) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in files_below(root, *arguments, **settings))  # type: ignore[arg-type]


def test_files_below_a_folder_are_found_behind_links_too_and_hidden_ones_are_not(tmp_path: Path) -> None:
    root = touch(tmp_path, "elsewhere/1.png", "root/a/2.PNG", "root/a/notes.txt", "root/.hidden.png", "root/.b/3.png")
    root /= "root"
    (root / "linked").symlink_to(tmp_path / "elsewhere")
    assert found(root) == ["a/2.PNG", "a/notes.txt", "linked/1.png"]
    assert found(root, (".png",)) == ["a/2.PNG", "linked/1.png"]
    assert found(root, hidden=True, links=False) == [".b/3.png", ".hidden.png", "a/2.PNG", "a/notes.txt"]


def test_links_in_a_circle_and_second_names_of_a_folder_end_the_walk(tmp_path: Path) -> None:
    touch(tmp_path, "z/1.png")
    for link, target in {"z/back": tmp_path, "a": tmp_path / "z", "self": Path("self")}.items():
        (tmp_path / link).symlink_to(target)
    assert found(tmp_path, (".png",)) == ["z/1.png"]
    assert found(tmp_path) == ["self", "z/1.png"]


def test_below_what_is_not_a_folder_there_are_no_files(tmp_path: Path) -> None:
    assert found(tmp_path / "nowhere") == []


def test_files_at_a_depth_are_found_behind_links_too_and_hidden_ones_are_not(tmp_path: Path) -> None:
    touch(tmp_path, "root/a/1.png", "root/a/.2.png", "root/.b/3.png", "elsewhere/4.png")
    (tmp_path / "root/c").symlink_to(tmp_path / "elsewhere")
    assert sorted(path.name for path in files_at(tmp_path / "root", 1)) == ["1.png", "4.png"]
