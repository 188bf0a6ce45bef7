"""Field-standard metrics by task, with confidence intervals."""
