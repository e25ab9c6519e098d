"""The faults a user can fix. Every message names the place, the value, what is expected and how to fix it."""

_ESCAPES = {code: repr(chr(code))[1:-1] for code in (*range(32), 127)}


class SegdataError(Exception):
    """A fault in the user's data, files or settings; its text is one line for the terminal."""

    def __str__(self) -> str:
        r"""Return the message; control characters, which a file's name may hold, are escaped, as in \n."""
        return super().__str__().translate(_ESCAPES)


class LabelError(SegdataError):
    """A label image holds something it should not: an id, a mode, a size, damaged bytes."""


class MappingError(SegdataError):
    """A class table or mapping names something that does not exist, twice, or not at all."""


class LayoutError(SegdataError):
    """A folder does not look like the data set it is taken for."""


class StoreError(SegdataError):
    """A file of ours (targets, index, report) is damaged, stale or of another make."""


class SettingsError(SegdataError):
    """Options or a recipe contradict themselves, or what made the existing output."""
