"""Paths in, paths out, a report back: convert, precompute, index, verify, over one batch runner."""
