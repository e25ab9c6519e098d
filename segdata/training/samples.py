"""The images of a recipe's sources and their class ids; they are found in `segdata.layouts.samples`, without torch."""

from segdata.layouts.samples import encoding_of, find_samples, list_samples, read_class_ids, read_ids

__all__ = ["encoding_of", "find_samples", "list_samples", "read_class_ids", "read_ids"]
