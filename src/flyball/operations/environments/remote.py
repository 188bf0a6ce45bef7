"""Deploying to an environment behind an address: what was tested is sent there, and deployed under the section's rules.

The control plane has to say that it takes versions. It holds the rollout to the strictest of what it asks for itself
and what is sent; gates of the section are judged here, on what is recorded, against its champion.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import msgspec

from flyball.backends.scratch import ScratchFolder
from flyball.core.digests import canonical_json, digest_bytes
from flyball.core.errors import CorruptObject, NoChampion, NotFound
from flyball.core.refs import parse_ref
from flyball.operations.environments.deploying import (
    Deployed,
    choose_source,
    deployed,
    judge_gates,
    open_source,
    settings_there,
)
from flyball.operations.environments.places import Environment
from flyball.operations.environments.transfer import Record, list_objects, read_record
from flyball.operations.opening import Backends
from flyball.pipelines.project_file import read_project


class Receiver(Protocol):
    """A control plane that versions are sent to: the verbs of the remote Flyball object that are needed."""

    def show_version(self, ref: str) -> Any:
        """A version with what is known of it. Raises VersionNotFound, ModelNotFound, NoChampion."""

    def missing_objects(self, digests: Sequence[str]) -> list[str]:
        """Those of which it has no object."""

    def put_object(self, digest: str, path: Path) -> None:
        """Store a file under its digest."""

    def take_version(self, model: str, record: str, verdicts: list[dict[str, Any]]) -> Any:
        """Register a version whose objects and record were sent."""

    def deploy_under(self, ref: str, *, why: str, settings: dict[str, Any]) -> Any:
        """Start its rollout under these settings."""


def deploy_through(
    remote: Receiver,
    target: str,
    environment: Environment,
    folder: Path,
    variables: Mapping[str, str],
    *,
    why: str,
    strategy: str | None,
) -> Deployed:
    """Take a version `model@ref` to a control plane and start its rollout there; a repeat changes nothing.

    folder: of the project. Raises as `deploying.deploy_to`, and what the control plane refuses.
    """
    file, ref = read_project(folder, environment=variables), parse_ref(target)
    project = settings_there(file, ref.model, environment, variables, strategy=strategy)
    with open_source(file, environment, variables) as source:
        version = choose_source(source, ref, environment)
        verdicts = judge_gates(source, _find_champion(remote, ref.model), version, environment)
        record = read_record(source, version, environment.section.after)
        copied, sent = _send(source, remote, record)
    taken = remote.take_version(ref.model, sent, verdicts)
    if taken["digest"] != version.digest:
        raise CorruptObject(
            f"{environment.name} has {taken['digest']} as {ref.model}@{taken['version']}, and {version.digest} was "
            "tested; nothing is deployed",
            digest=version.digest,
        )
    settings = msgspec.to_builtins(project)
    started = remote.deploy_under(f"{ref.model}@{taken['version']}", why=why, settings=settings)
    return deployed(started, environment, version, copied)


def _find_champion(remote: Receiver, model: str) -> str | None:
    """Digest of the model's champion there."""
    try:
        shown = remote.show_version(f"{model}@champion")
    except (NotFound, NoChampion):
        return None
    digest: str = shown["version"]["digest"]
    return digest


def _send(source: Backends, remote: Receiver, record: Record) -> tuple[int, str]:
    """How many objects were sent, and the digest of the record, which is sent last.

    Each is held against its digest when it is read, and again where it arrives.
    """
    data = canonical_json(record)
    names = list_objects(source.blobs, record)
    told = digest_bytes(data)
    missing = remote.missing_objects([*names, told])
    with ScratchFolder("send") as folder:
        path = folder / "object"
        for digest in missing:
            if digest != told:
                source.blobs.fetch_object(digest, path)
                remote.put_object(digest, path)
        if told in missing:
            path.write_bytes(data)
            remote.put_object(told, path)
    return len([digest for digest in missing if digest != told]), told
