"""How a version comes to be: project file, steps, run, cache, evaluation."""
