"""Deployments kept as files: what they want, how it stands, what would change, and doing it."""
