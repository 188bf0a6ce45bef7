"""Whether a model behaves as it should: answers before and after a change, beside a baseline, and as probabilities."""
