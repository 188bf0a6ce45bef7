"""The environment that a run is made in: interpreter, platform and packages, named by digest."""

from __future__ import annotations

import functools
import os
import platform
import sys

import msgspec

from flyball.core.digests import digest_json


class Environment(msgspec.Struct, frozen=True, kw_only=True):
    """Interpreter, platform (operating system and processor kind) and every installed package with its version."""

    format: int = 1
    python: str
    implementation: str
    platform: str
    packages: dict[str, str]

    @property
    def digest(self) -> str:
        """The digest of all of it."""
        return digest_json(self)


@functools.cache
def read_environment() -> Environment:
    """The environment of this process, which is also that of its children."""
    return Environment(
        python=platform.python_version(),
        implementation=platform.python_implementation(),
        platform=f"{platform.system()}-{platform.machine()}".lower(),
        packages=_list_packages(),
    )


def _list_packages() -> dict[str, str]:
    """Name and version of each installed package, from the names of the folders that describe them (PEP 376).

    `importlib.metadata` would read and parse every description: 150 ms for what the names already say.
    """
    packages: dict[str, str] = {}
    for folder in dict.fromkeys(sys.path):
        if not os.path.isdir(folder):
            continue
        for name in os.listdir(folder):
            if name.endswith(".dist-info"):
                package, _, version = name.removesuffix(".dist-info").partition("-")
                packages.setdefault(package.lower().replace("_", "-"), version)
    return dict(sorted(packages.items()))
