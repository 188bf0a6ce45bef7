"""The environment that a run is made in: interpreter, platform and packages, named by digest."""

from __future__ import annotations

import functools
import os
import platform
import sys

import msgspec

from flyball.core.digests import digest_json
from flyball.pipelines.package_files import editable_files, installed_files


class Environment(msgspec.Struct, frozen=True, kw_only=True):
    """Interpreter, platform (operating system and processor kind) and every installed package with its version.

    One that came from a folder, a repository or a file has the digest of its files beside its version.
    """

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
                package = package.lower().replace("_", "-")
                if package not in packages:
                    packages[package] = version + _files_behind(package, os.path.join(folder, name))
    return dict(sorted(packages.items()))


def _files_behind(package: str, description: str) -> str:
    """What tells two states of a package apart that have one version; empty where the version tells it.

    An index never changes what it gave out under a version. A folder that is worked on, a branch and a wheel do. What
    Flyball itself makes is told apart by numbers of its own.
    """
    if package == "flyball" or not os.path.exists(os.path.join(description, "direct_url.json")):
        return ""
    files = editable_files(description) or installed_files(description)
    return f" (files {digest_json(files)[:19]})"
