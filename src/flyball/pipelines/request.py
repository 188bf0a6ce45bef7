"""What a run is asked to do, as plain values that outlive the process which asked."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

import msgspec

from flyball.core.digests import digest_json
from flyball.core.project import Project, SplitSection
from flyball.core.values import Actor
from flyball.pipelines.source_tree import GitState


class DataChoice(msgspec.Struct, frozen=True):
    """Which rows a run is made on: the project's source, read now, or a snapshot taken before."""

    kind: Literal["source", "snapshot"] = "source"
    digest: str | None = None


class RunRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One run.

    folder: the project's folder, against which a relative data source is resolved; None where data is a snapshot.
    tree: digest of a kept source tree; None takes the folder's files as they are now.
    champion: number of the version to compare with and to hand to `train`; None takes the alias's when the run starts.
    split: in place of the project's, for a retraining on recent rows.
    decided_at: model time of the retraining that asks for this run. progressive: the loss that this way of training had
    on the windows before, for the monitor's reference.
    registers: False for a run that is only compared with: it ends as `compared`, without a version.
    key: chosen by whoever asks; asked for again under it, this is the same run, and so it joins no other.
    """

    model: str
    project: Project
    actor: Actor
    why: str = ""
    folder: str | None = None
    tree: str | None = None
    data: DataChoice = DataChoice()
    split: SplitSection | None = None
    champion: int | None = None
    signal_id: str | None = None
    incident_id: str | None = None
    decided_at: datetime | None = None
    progressive: float | None = None
    git: GitState | None = None
    run_id: str | None = None
    registers: bool = True
    key: str | None = None


def plain(request: RunRequest) -> dict[str, Any]:
    """A request as JSON values, for a workflow's payload and the runs table."""
    value: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(request))
    return value


def read_request(value: dict[str, Any]) -> RunRequest:
    """The request that `plain` wrote."""
    return msgspec.convert(value, RunRequest)


def fingerprint(request: RunRequest) -> str:
    """Equal for requests that ask for the same run, whoever asks and why.

    The source's rows are not looked at: an unfinished run of equal requests is joined, a finished one is not.
    """
    return digest_json(
        {
            "model": request.model,
            "project": msgspec.to_builtins(request.project),
            "folder": request.folder,
            "tree": request.tree,
            "data": msgspec.to_builtins(request.data),
            "split": msgspec.to_builtins(request.split),
            "champion": request.champion,
            "signal_id": request.signal_id,
            "registers": request.registers,
        }
    )
