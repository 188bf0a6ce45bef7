"""From the statistics of a window to its likely cause, or to the answer that it is undetermined."""
