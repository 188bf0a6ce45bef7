"""Batch scoring: the rows of a source through a model server, their predictions into a file."""
