"""A label image as an array: class tables, mappings, remapping, the fast label PNG."""
