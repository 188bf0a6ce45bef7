"""Who acts: the person at the keyboard, Flyball itself, or an account."""

from __future__ import annotations

import os
import pwd

from flyball.core.values import Actor

SYSTEM = Actor("flyball", "automation")


def local_actor() -> Actor:
    """The person who runs this process: by user number, since the environment can name anybody.

    Whoever can open a home's files is its admin; there is nobody above to ask.
    """
    number = os.getuid()
    try:
        name = pwd.getpwuid(number).pw_name
    except KeyError:
        name = f"user {number}"
    return Actor(name, "person", f"local:{number}")
