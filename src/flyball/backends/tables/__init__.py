"""Append-only column tables: Delta on local files or S3."""
