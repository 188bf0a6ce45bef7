"""Durable workflows: start, step, cancel, take over."""
