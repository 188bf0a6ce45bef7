"""The ML Test Score of a project, counted from what stands in its files and its home."""
