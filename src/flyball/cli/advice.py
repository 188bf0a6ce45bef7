"""Commands that a text advises, as they are typed for an environment."""

from __future__ import annotations

import click


def in_environment(text: str, environment: str | None, root: click.Group) -> str:
    """The text, its commands with `--env` where they take it and do not name an environment themselves.

    A command is what stands between backquotes and begins with `flyball`, as in every message.
    """
    if environment is None:
        return text
    pieces = text.split("`")
    # Every second piece stands between backquotes; a backquote without its partner opens nothing.
    for i in range(1, len(pieces) - 1, 2):
        pieces[i] = _with_option(pieces[i], environment, root)
    return "`".join(pieces)


def advised(text: str, environment: str | None) -> str:
    """`in_environment` for the program that runs."""
    root = click.get_current_context().find_root().command
    return in_environment(text, environment, root) if isinstance(root, click.Group) else text


def _with_option(line: str, environment: str, root: click.Group) -> str:
    program, *words = line.split(" ")
    end = next((i for i, word in enumerate(words) if word.startswith("-")), len(words))
    if program != "flyball" or "--env" in words or not _takes_environment(words[:end], root):
        return line
    return " ".join([program, *words[:end], "--env", environment, *words[end:]])


def _takes_environment(words: list[str], root: click.Group) -> bool:
    command: click.Command | None = root
    with click.Context(root, resilient_parsing=True) as context:
        while words and isinstance(command, click.Group):
            try:
                _, command, words = command.resolve_command(context, words)
            except click.UsageError:
                return False
    return command is not None and any(found.name == "environment" for found in command.params)
