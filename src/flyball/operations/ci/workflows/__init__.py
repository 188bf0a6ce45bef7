"""Workflows for code hosts: the steps, declared once, what each host makes of them, and the same steps on a laptop."""
