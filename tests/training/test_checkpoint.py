"""Checkpoints are whole or not there, and the newest whole one is found."""

import errno
import os
import resource
import signal

import pytest
import torch

from segdata.errors import StoreError
from segdata.models import checkpoint
from segdata.models.checkpoint import CheckpointFolder, find_checkpoint, load_model, read_checkpoint, write_checkpoint


def state(step: int, length: int = 4) -> dict:
    return {"progress": {"step": step}, "model": {"weight": torch.full((length,), float(step))}}


@pytest.fixture
def folder(tmp_path) -> CheckpointFolder:
    found = CheckpointFolder(tmp_path, keep_last=2)
    for step in (1, 2, 3):
        found.save(state(step), step, best=step == 1)
    return found


def test_what_is_written_is_read(tmp_path):
    write_checkpoint(tmp_path / "one.pt", state(7))
    assert read_checkpoint(tmp_path / "one.pt")["progress"] == {"step": 7}


def test_the_newest_and_the_best_are_kept(folder):
    assert [path.name for path in folder.paths()] == ["step-00000002.pt", "step-00000003.pt"]
    assert read_checkpoint(folder.out / "best.pt")["progress"] == {"step": 1}


def test_a_damaged_one_is_passed_over_and_told(folder):
    newest = folder.paths()[-1]
    data = bytearray(newest.read_bytes())
    data[data.index(torch.full((4,), 3.0).numpy().tobytes())] ^= 1  # torch alone would read the changed weight
    newest.write_bytes(data)
    told = []
    path, found = folder.latest(told.append)
    assert (path, found["progress"]) == (folder.paths()[0], {"step": 2})
    assert "step-00000003.pt: is damaged" in told[0]
    assert "Set aside as step-00000003.pt.damaged; continuing from the one before it." in told[0]
    for step in (1, 2):  # a run that had to go further back
        folder.save(state(step), step)
    assert [path.name for path in folder.paths()] == ["step-00000001.pt", "step-00000002.pt"]


def test_the_best_one_is_taken_where_all_others_are_damaged(folder):
    for path in folder.paths():
        path.write_bytes(b"")
    told = []
    path, found = folder.latest(told.append)
    assert (path, found["progress"], len(told)) == (folder.out / "best.pt", {"step": 1}, 2)
    folder.keep_as_best(1)
    path.write_bytes(b"")
    assert folder.latest(told.append) is None
    assert told[-1] == f"{folder.out}: no checkpoint is whole; the run begins anew."
    assert folder.latest(pytest.fail) is None


def test_one_that_cannot_be_read_now_is_not_taken_for_damaged(folder, monkeypatch):
    def fail(*_args, **_kwargs):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(checkpoint.zipfile, "ZipFile", fail)
    with pytest.raises(StoreError, match=r"step-00000003\.pt: cannot be read: Input/output error"):
        folder.latest(pytest.fail)
    assert len(folder.paths()) == 2


def test_one_of_another_version_is_not_passed_over(folder, monkeypatch):
    monkeypatch.setattr(checkpoint, "VERSION", 2)
    with pytest.raises(StoreError, match="has version 1, expected 2"):
        folder.latest(pytest.fail)


@pytest.mark.parametrize("content", [b"", b"no zip", None])
def test_what_is_no_checkpoint_is_refused_in_one_line(tmp_path, content):
    path = tmp_path / "some.pt"
    if content is None:
        torch.save({"weights": 1}, path)
    else:
        path.write_bytes(content)
    with pytest.raises(StoreError, match=r"some\.pt: (cannot be read as a checkpoint|does not say segdata-checkpoint)"):
        read_checkpoint(path)


def test_a_disk_that_fills_up_keeps_the_last_good_one(folder):
    before = {path: path.read_bytes() for path in folder.paths()}
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(StoreError, match=r"step-00000004\.pt: cannot be written: File too large"):
            folder.save(state(4, length=100_000), 4)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert {path: path.read_bytes() for path in folder.folder.iterdir()} == before


def test_leftovers_of_a_killed_run_are_swept(folder):
    leftover = folder.folder / ".step-00000004.pt.0123abcd.segdata-tmp"
    leftover.write_bytes(b"half")
    folder.save(state(4), 4)
    assert not leftover.exists()


def test_a_folder_means_its_best_checkpoint(folder, tmp_path):
    assert find_checkpoint(folder.out) == folder.out / "best.pt"
    (folder.out / "best.pt").unlink()
    assert find_checkpoint(folder.out).name == "step-00000003.pt"


def test_a_folder_without_one_is_named(tmp_path):
    with pytest.raises(StoreError, match="holds no checkpoint"):
        load_model(tmp_path)


def test_any_flipped_bit_is_passed_over_for_the_newest_whole_one(folder, rng):
    newest = folder.paths()[-1]
    whole = newest.read_bytes()
    passed_over = 0
    for place in [*range(0, 60), *range(len(whole) - 60, len(whole)), *rng.integers(0, len(whole), 200).tolist()]:
        data = bytearray(whole)
        data[place] ^= 1 << int(rng.integers(0, 8))
        newest.write_bytes(data)
        told = []
        _, found = folder.latest(told.append)
        step = found["progress"]["step"]
        assert step == (2 if told else 3)
        assert found["model"]["weight"].tolist() == 4 * [float(step)]  # whichever it is, its bits are its own
        passed_over += bool(told)
    assert passed_over > 100  # the others are of padding, and change nothing
