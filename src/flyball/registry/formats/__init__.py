"""One file per package format; the only place where machine-learning libraries load a model."""
