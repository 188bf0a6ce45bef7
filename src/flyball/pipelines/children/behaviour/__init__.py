"""Model tests of a run, asked of the packaged model: one file per group of kinds."""
