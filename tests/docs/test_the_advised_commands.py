"""Commands that messages and help advise: each is there, under its name."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

import flyball
from flyball.cli.main import RUN_VERBS
from flyball.cli.main import flyball as root

ADVISED = re.compile(r"`flyball ([^`|\n]+)`")
SOURCE = Path(flyball.__file__).parent


def _advised() -> Iterator[str]:
    """What stands behind `flyball` in any text of the program, texts that go over two lines included."""
    for path in sorted(SOURCE.rglob("*.py")):
        text = re.sub(r'"\n\s*f?"', "", path.read_text(encoding="utf-8"))
        yield from ADVISED.findall(text)


def is_there(words: list[str]) -> bool:
    """Whether a command line names a command and, of one that only holds others, one of these."""
    context = click.Context(root)
    command = root.get_command(context, words[0])
    rest = [word for word in words[1:] if not word.startswith("-")]
    if words[0] == "run" and rest and rest[0] in RUN_VERBS:
        return True
    if isinstance(command, click.Group) and words[0] != "ci" and len(words) > 1 and words[1] in rest:
        return words[1] in command.commands
    return command is not None


# An option, or the very command that was called, is no command to look for.
@pytest.mark.parametrize("line", sorted({line for line in _advised() if line[0] not in "-{"}))
def test_an_advised_command_is_there(line: str):
    assert is_there(line.split())


def test_a_word_that_is_no_command_is_noticed():
    assert not is_there(["incidents", "{model}"]) and not is_there(["undeploy", "MODEL"])
    assert is_there(["incidents", "--model", "{model}"]) and is_there(["audit", "verify"])
