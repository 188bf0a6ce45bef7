"""Immutable objects by digest: local files or S3."""
