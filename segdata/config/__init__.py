"""Recipes: YAML files as validated settings, without torch."""
