"""How a model is doing: windows, watch, signals, diagnosis, incidents."""
