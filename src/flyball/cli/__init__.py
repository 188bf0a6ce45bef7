"""The `flyball` command: one file per command group, loaded when the command runs."""
