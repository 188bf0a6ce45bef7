"""Continuous integration of models: what a change does to a model, judged, told and posted."""
