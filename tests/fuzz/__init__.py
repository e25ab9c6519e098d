"""Damaged files for every reader: ``make fuzz SECONDS=600``."""
