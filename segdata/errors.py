"""The faults a user can fix. Every message names the place, the value, what is expected and how to fix it."""


class SegdataError(Exception):
    """A fault in the user's data, files or settings; its text is one line for the terminal."""


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
