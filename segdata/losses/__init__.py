"""Losses on class scores: each gives a sum and the mass it is over, and all are divided by the mass of all ranks."""
