"""Everything that is to be measured on a GPU, in order of value, inside a time budget; see `__main__`."""
