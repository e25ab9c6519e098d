"""Listing folders, writing a file whole or not at all, and what to say when it cannot be done."""

import contextlib
import errno
import fcntl
import os
import secrets
import shutil
import stat
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import BinaryIO, Literal

from segdata.errors import SettingsError, StoreError

TEMPORARY_SUFFIX = ".segdata-tmp"
LONGEST_STEM = 200  # bytes of a target's name that fit a temporary's name of 255 with room to spare

HOW_TO_FIX = {
    errno.ENOSPC: "Free some space, then run the same command again: what is done is kept.",
    errno.EDQUOT: "The quota is used up. Free some space, then run the same command again: what is done is kept.",
    errno.EFBIG: "The limit on file sizes is reached. Raise it (ulimit -f), then run the same command again.",
    errno.EROFS: "Choose a DST that can be written.",
    errno.EACCES: "Check the permissions of the file and of the folders above it.",
    errno.EPERM: "Check the permissions of the file and of the folders above it.",
    errno.EISDIR: "Expected a file, found a directory. Move it away.",
    errno.ENOTDIR: "Expected a directory, found a file. Move it away.",
    errno.EEXIST: "Expected a directory, found a file. Move it away.",
    errno.ENOENT: "Was it moved while the command ran? Run the same command again.",
    errno.ELOOP: "Its symbolic links go round in a circle. Fix or remove them.",
    errno.ENAMETOOLONG: "Choose a shorter name or DST.",
    errno.EXDEV: "A hard link cannot reach another disk. Link symbolically, or copy.",
    errno.ENXIO: "Expected a regular file, found a pipe, socket or device. Move it away.",
    errno.EMFILE: "Raise the number of open files (ulimit -n), or use fewer --jobs.",
}


def explain_os_error(error: OSError, what: str, path: Path | str | None = None) -> str:
    """Say in one line which file an operating-system error met, and how to fix it.

    Parameters
    ----------
    error : OSError
        As raised by the system.
    what : str
        What was not possible, as "cannot be read".
    path : Path or str, optional
        The file; without it, the one named by `error`.
    """
    where = path if path is not None else error.filename
    reason = error.strerror or str(error) or type(error).__name__
    how_to_fix = HOW_TO_FIX.get(error.errno or 0, "Run the same command again; if it stays, check the disk.")
    return f"{where if where is not None else 'a file'}: {what}: {reason}. {how_to_fix}"


def open_regular(path: Path) -> BinaryIO:
    """Open a file to read its bytes, but only a regular one: a pipe in a data set's folder may never come to an end.

    Raises
    ------
    OSError
        If it cannot be opened or is something else than a regular file, links followed.
    """
    # A pipe that nobody writes to is waited for in opening it, unless that is not to block.
    file = open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK))  # noqa: SIM115
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(errno.ENXIO, "Not a regular file", str(path))
    return file


def read_regular(path: Path, limit: int = -1) -> bytes:
    """Return the bytes of a regular file, `limit` of them at most where it is not negative; see `open_regular`."""
    with open_regular(path) as file:
        return file.read(limit)


def files_at(folder: Path, depth: int) -> Iterator[Path]:
    """Yield what lies a number of folders down, in any order; nothing where there is no such folder.

    Hidden files and folders, whose names begin with a dot, are left out.

    Raises
    ------
    OSError
        If a folder on the way cannot be listed. Patterns of pathlib pass over it, and what is in it would be missing
        without a word.
    """
    if not folder.is_dir():
        return
    with os.scandir(folder) as entries:
        inner = [folder / entry.name for entry in entries if not entry.name.startswith(".")]
    if depth == 0:
        yield from inner
    else:
        for path in inner:
            yield from files_at(path, depth - 1)


def files_below(
    folder: Path,
    suffixes: tuple[str, ...] | None = None,
    *,
    hidden: bool = False,
    links: bool = True,
    skip: Callable[[str, set[str]], bool] | None = None,
    unlistable: list[Path] | None = None,
) -> Iterator[Path]:
    """Yield the files below a folder, in any order; nothing where there is no such folder.

    Each folder is entered once, so that a link back to one already listed ends there.

    Parameters
    ----------
    folder : Path
        Where to begin.
    suffixes : tuple of str, optional
        What names end with, in lower case; a name may have it in any case. Whatever is named so is yielded and not
        entered, also a folder or a broken link: reading it gives the error that names it. By default every file.
    hidden : bool
        Also yield files, and enter folders, whose names begin with a dot.
    links : bool
        Also enter links to folders.
    skip : callable, optional
        Given the name of a folder and the names of all folders beside it, tells whether to leave it out.
    unlistable : list of Path, optional
        Takes the folders below `folder` that cannot be listed, which are otherwise an error.

    Raises
    ------
    OSError
        If `folder` cannot be listed, or one below it and there is no `unlistable`.
    """
    waiting, seen = [folder] if folder.is_dir() else [], set[tuple[int, int]]()
    while waiting:
        place = waiting.pop()
        try:
            status = place.stat()
            if (status.st_dev, status.st_ino) in seen:
                continue
            # Real folders before links, so that a tree is listed under its own name.
            entries = sorted(os.scandir(place), key=lambda entry: (entry.is_symlink(), entry.name))
        except OSError:
            if unlistable is None or place == folder:
                raise
            unlistable.append(place)
            continue
        seen.add((status.st_dev, status.st_ino))
        inner = []
        for entry in entries:
            if entry.name.startswith(".") and not hidden:
                continue
            if suffixes is not None and entry.name.lower().endswith(suffixes):
                yield Path(entry.path)
            elif _is_folder(entry):
                inner += [Path(entry.path)] if links or not entry.is_symlink() else []
            elif suffixes is None:
                yield Path(entry.path)
        names = {path.name for path in inner}
        waiting.extend(path for path in reversed(inner) if skip is None or not skip(path.name, names))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Tell whether an entry is a folder or a link to one; links in a circle are none."""
    return Path(entry.path).is_dir() if entry.is_symlink() else entry.is_dir()


def digest_of_bytes(data: bytes) -> str:
    """Return the digest by which an output knows the file it was made from: 32 hex digits of BLAKE2b."""
    return blake2b(data, digest_size=16).hexdigest()


def write_atomic(path: Path, data: bytes, *, durable: bool = False) -> None:
    """Write a file so that under its name there is the whole of it or what was there before.

    The bytes go to a temporary file in the same folder, which then takes the name. Missing folders are made.

    Parameters
    ----------
    path : Path
        The file.
    data : bytes
        All of its content.
    durable : bool
        Also wait until it is on the disk (fsync of file and folder). Needed for a file that has no checksums of its
        own; costs milliseconds.

    Raises
    ------
    StoreError
        If the file cannot be written: full disk, no permission, a folder in its place. Nothing is left behind.
    """

    def fill(temporary: Path) -> None:
        with temporary.open("xb") as file:
            file.write(data)
            if durable:
                file.flush()
                os.fsync(file.fileno())

    place_atomic(path, fill)
    if durable:
        with contextlib.suppress(OSError):  # not every file system lets a folder be synchronized
            sync_folder(path.parent)


def link_atomic(source: Path, target: Path, how: Literal["symlink", "hardlink", "copy"]) -> None:
    """Put a file at a second place: as a symbolic link (to the absolute path), a hard link or a copy.

    Raises
    ------
    StoreError
        If that cannot be done. Nothing is left behind, and what stood at `target` stays.
    """

    def fill(temporary: Path) -> None:
        if how == "symlink":
            temporary.symlink_to(source.absolute())
        elif how == "hardlink":
            temporary.hardlink_to(source.resolve())  # of the file, where the source is a link to it
        else:
            shutil.copyfile(source, temporary)

    place_atomic(target, fill)


def place_atomic(path: Path, fill: Callable[[Path], None]) -> None:
    """Let `fill` make a temporary file beside `path`, then give it that name; on any error remove it.

    Raises
    ------
    StoreError
        For an OSError on the way, naming `path` and how to fix it.
    """
    temporary = path.with_name(f".{_stem(path.name)}.{secrets.token_hex(4)}{TEMPORARY_SUFFIX}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            fill(temporary)
            temporary.replace(path)
        finally:
            # Still there after an error, and after renaming a hard link onto its own file, which does nothing.
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise StoreError(explain_os_error(error, "cannot be written", path)) from error


def sweep_temporaries(targets: Iterable[Path]) -> int:
    """Remove the temporaries that killed runs left of exactly these targets.

    Returns
    -------
    int
        How many there were.
    """
    stems_of_folder: dict[Path, set[str]] = defaultdict(set)
    for target in targets:
        stems_of_folder[target.parent].add(_stem(target.name))
    removed = 0
    for folder, stems in stems_of_folder.items():
        for leftover in _temporaries(folder):
            if _stem_of_temporary(leftover.name) in stems:
                leftover.unlink(missing_ok=True)
                removed += 1
    return removed


def is_temporary(name: str) -> bool:
    """Tell whether a file name is one of our temporaries."""
    return name.startswith(".") and name.endswith(TEMPORARY_SUFFIX)


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def refuse_shared_targets(pairs: Iterable[tuple[Path, Path]]) -> None:
    """Check that no two sources would be written to the same file, and none onto a source.

    Parameters
    ----------
    pairs : iterable of (source, target)
        Which file is written from which.

    Raises
    ------
    SettingsError
        If two sources share a target, or a target is one of the sources; the message names both.
    """
    source_of: dict[Path, Path] = {}
    pairs = list(pairs)
    sources = {source for source, _ in pairs}
    for source, target in pairs:
        if target in sources:
            raise SettingsError(f"{source}: its output {target} is itself a source. Choose a DST apart from SRC.")
        if source_of.setdefault(target, source) != source:
            raise SettingsError(
                f"{target}: two sources would be written here, {source_of[target]} and {source}. "
                "Each output has one source. Rename one, or convert the two folders to two DST."
            )


def refuse_same_folder(source: Path, destination: Path) -> None:
    """Check that a command does not write into the very folder that it reads.

    Raises
    ------
    SettingsError
        If both are the same folder, links followed.
    """
    if source.resolve() == destination.resolve():
        raise SettingsError(f"{destination}: SRC and DST are the same folder. Choose another DST.")


@contextmanager
def only_run_in(folder: Path, *, shared: bool = False, patience: float = 0.0) -> Iterator[None]:
    """Hold a folder, so that no second run works in it at the same time; the hold ends with the process.

    It is an advisory lock on the folder itself and leaves no file. Where the file system has no locks (some network
    ones) nothing is held and the run continues.

    Parameters
    ----------
    folder : Path
        An existing folder.
    shared : bool
        Let others that also share it in: the shards of one run.
    patience : float
        How many seconds to wait for a run that holds the folder.

    Raises
    ------
    SettingsError
        If another run holds the folder.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        deadline = time.monotonic() + patience
        while not _lock(handle, fcntl.LOCK_SH if shared else fcntl.LOCK_EX):
            if time.monotonic() >= deadline:
                raise SettingsError(
                    f"{folder}: another segdata command is writing here. Wait for it, or choose another DST."
                )
            time.sleep(0.05)
        yield
    finally:
        os.close(handle)


def _lock(handle: int, how: int) -> bool:
    """Lock a file if nobody else has; where the file system has no locks, say that it is locked."""
    try:
        fcntl.flock(handle, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def _stem(name: str) -> str:
    """Return what stands for a target's name in the names of its temporaries."""
    as_bytes = os.fsencode(name)
    return name if len(as_bytes) <= LONGEST_STEM else blake2b(as_bytes, digest_size=16).hexdigest()


def _stem_of_temporary(name: str) -> str:
    """Undo the naming: `.{stem}.{random}.segdata-tmp` to the stem."""
    return name[1 : -len(TEMPORARY_SUFFIX)].rpartition(".")[0]


def _temporaries(folder: Path) -> list[Path]:
    """List our temporaries in one folder; none where there is no such folder."""
    try:
        with os.scandir(folder) as entries:
            return [Path(entry.path) for entry in entries if is_temporary(entry.name)]
    except OSError:
        return []
