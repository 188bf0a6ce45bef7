"""Anytime-valid inference: confidence sequences, e-processes, sequential tests."""
