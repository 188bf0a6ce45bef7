"""The vocabulary everything shares: values, refs, ids, digests, errors, clock; no I/O, nothing heavy."""
