"""Environments of a project, each a home of its own: where they are, how a version comes there, how they stand."""
