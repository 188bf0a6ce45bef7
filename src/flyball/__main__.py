"""`python -m flyball`: the same as the `flyball` command."""

from __future__ import annotations

from flyball.cli.main import main

if __name__ == "__main__":
    main()
