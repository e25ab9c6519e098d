"""Confusion matrices, scores and boundary scores, without torch."""
