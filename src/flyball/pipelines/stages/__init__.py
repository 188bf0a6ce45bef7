"""The steps of a run as the workflow makes them: inputs gathered, a child called, what came out kept."""
