"""Distances and tests between a reference and a current window, one detector per file."""
