"""The vocabulary every other package shares: values, ids, digests, errors, settings, clock. No I/O beyond reading."""
