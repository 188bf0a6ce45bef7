"""Every error that Flyball raises on purpose: a stable code, the facts, what happened and what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class FlyballError(Exception):
    """Root of the tree. `code` is stable; `message` says what happened, where, and what to do next.

    Exit codes (cli) and HTTP statuses (web) are mapped from the branch classes below, once each.
    """

    code = "error"
    # Of which environment's home it tells, None for this one: commands that the message advises take `--env` there.
    environment: str | None = None

    def __init__(self, message: str, **facts: Any) -> None:
        super().__init__(message)
        self.message = message
        self.facts = facts


@contextmanager
def told_of(environment: str | None) -> Iterator[None]:
    """Errors that leave the block tell of this environment's home, unless they tell of another one's already."""
    try:
        yield
    except FlyballError as error:
        error.environment = error.environment or environment
        raise


class BadInput(FlyballError):
    """What the user gave can't be used as it is (exit code 2, HTTP 400 or 422)."""

    code = "bad_input"


class NotFound(FlyballError):
    """Nothing goes by that name (exit code 2, HTTP 404)."""

    code = "not_found"


class Conflict(FlyballError):
    """The present state forbids it (exit code 2, HTTP 409)."""

    code = "conflict"


class Refused(FlyballError):
    """A rule says no (exit code 1, HTTP 403)."""

    code = "refused"


class Unavailable(FlyballError):
    """A part that is needed does not answer, or has no room (exit code 3, HTTP 503 or 507)."""

    code = "unavailable"


class Corrupt(FlyballError):
    """Stored bytes are not what they were (exit code 3, HTTP 500)."""

    code = "corrupt"


class NotEnoughEvidence(FlyballError):
    """A question can't be answered yet (exit code 4)."""

    code = "not_enough_evidence"


class InvalidReference(BadInput):
    """A reference such as model@version that can't be read."""

    code = "invalid_reference"

    def __init__(self, text: str, expected: str) -> None:
        super().__init__(f"{text!r} is no reference to a model: {expected}", text=text)


class ModelNotFound(NotFound):
    """No model of that name."""

    code = "model_not_found"

    def __init__(self, model: str) -> None:
        super().__init__(f"there is no model {model!r}; `flyball models` lists them", model=model)


class VersionNotFound(NotFound):
    """No such version of a model."""

    code = "version_not_found"

    def __init__(self, model: str, ref: object) -> None:
        super().__init__(
            f"{model} has no version {ref}; `flyball versions {model}` lists them", model=model, ref=str(ref)
        )


class NoChampion(Conflict):
    """The model has no version in service."""

    code = "no_champion"

    def __init__(self, model: str) -> None:
        super().__init__(
            f"{model} has no champion yet; `flyball deploy {model}` puts a version into service", model=model
        )


# --- backends: databases, objects, tables, workflows, child processes ---


class UnsupportedUrl(BadInput):
    """No backend opens a URL of this kind."""

    code = "unsupported_url"


class NetworkFileSystem(BadInput):
    """SQLite on a network file system, where its locks do not hold."""

    code = "network_file_system"

    def __init__(self, path: str, kind: str) -> None:
        super().__init__(
            f"{path} lies on a network file system ({kind}), where SQLite loses writes; put the home on a "
            "local disk, or set FLYBALL_DATABASE to a postgresql:// URL",
            path=path,
            kind=kind,
        )


class DatabaseBusy(Unavailable):
    """The database was locked by others for too long."""

    code = "database_busy"


class DatabaseUnavailable(Unavailable):
    """The database does not answer."""

    code = "database_unavailable"


class DatabaseCorrupt(Corrupt):
    """The database file is damaged."""

    code = "database_corrupt"


class StorageFull(Unavailable):
    """No room is left: disk full, quota reached, or file-size limit (HTTP 507)."""

    code = "storage_full"


class BackupUnsupported(Conflict):
    """This kind of database is backed up by its own tools."""

    code = "backup_unsupported"


class NestedWrite(FlyballError):
    """A write transaction was opened inside another one of the same thread: a mistake in the program."""

    code = "nested_write"


class NewerData(Conflict):
    """The data were written by a newer Flyball."""

    code = "newer_data"


class LeaseLost(Conflict):
    """Another process has become the holder of this lease."""

    code = "lease_lost"


class BadKey(BadInput):
    """A text that is no key of an object."""

    code = "bad_key"


class ObjectNotFound(NotFound):
    """No object has this key or digest."""

    code = "object_not_found"


class ObjectExists(Conflict):
    """An object that may be created only once is there already."""

    code = "object_exists"


class CorruptObject(Corrupt):
    """An object's bytes do not have the digest they are named by."""

    code = "corrupt_object"


class BlobsUnavailable(Unavailable):
    """The object store does not answer."""

    code = "blobs_unavailable"


class EgressRefused(Refused):
    """A destination that this program may not send to."""

    code = "egress_refused"


class HostRefused(Refused):
    """A code host says no: to the token, to the change, or to what was sent."""

    code = "host_refused"


class HostUnavailable(Unavailable):
    """A code host does not answer, or takes no more requests for now."""

    code = "host_unavailable"


class TableNotFound(NotFound):
    """There is no table at this URL."""

    code = "table_not_found"


class AlreadyCommitted(Conflict):
    """The rows of this transaction are in the table already."""

    code = "already_committed"


class TableMismatch(Conflict):
    """Rows have other columns or types than the table they were to be added to."""

    code = "table_mismatch"


class TableUnavailable(Unavailable):
    """A table could not be read or written."""

    code = "table_unavailable"


class WorkflowNotFound(NotFound):
    """No workflow has this id."""

    code = "workflow_not_found"


class WorkflowTimeout(Unavailable):
    """A workflow had not finished when the time to wait was over; it goes on."""

    code = "workflow_timeout"


class WorkflowCancelled(Conflict):
    """A workflow was cancelled."""

    code = "workflow_cancelled"


class ExecutorFailed(Unavailable):
    """A child process could not be started."""

    code = "executor_failed"


# --- governance ---


class OwnApproval(Refused):
    """An author may not approve their own work."""

    code = "own_approval"


class NotAPerson(Refused):
    """Only a person may approve."""

    code = "not_a_person"


class KeyInUse(Conflict):
    """A key (--key, Idempotency-Key) that belongs to another request, or to one that has no answer yet."""

    code = "key_in_use"


# --- pipelines: project file, runs ---


class ProjectError(BadInput):
    """A file of settings can't be used; `problems` lists every fault with file, line, key, expected and nearest key."""

    code = "bad_project"

    def __init__(self, message: str, problems: list[dict[str, Any]]) -> None:
        super().__init__(message, problems=problems)
        self.problems = problems


class FilesExist(Conflict):
    """A file that would be written is there already."""

    code = "files_exist"


class RunNotFound(NotFound):
    """No such run."""

    code = "run_not_found"

    def __init__(self, run_id: str) -> None:
        super().__init__(f"there is no run {run_id!r}; `flyball runs` lists them", run_id=run_id)


class ContractBroken(BadInput):
    """Rows break the contract that the project file sets."""

    code = "contract_broken"


class UserCodeFailed(BadInput):
    """The user's training entry or a step can't be loaded, raised, or returned what can't be used."""

    code = "user_code_failed"


class RunTimedOut(BadInput):
    """A part of a run took longer than the project file allows, and was ended."""

    code = "run_timed_out"


class RunOutOfMemory(BadInput):
    """A part of a run needed more memory than it was given, and was ended."""

    code = "run_out_of_memory"


class StepCrashed(FlyballError):
    """A child process of a run ended without a result (exit code 3)."""

    code = "step_crashed"


# --- the loop: monitoring, delivery, retraining ---


class SignalNotFound(NotFound):
    """No signal has this id."""

    code = "signal_not_found"

    def __init__(self, signal_id: str) -> None:
        super().__init__(f"there is no signal {signal_id}; `flyball signals` lists them", signal_id=signal_id)


class IncidentNotFound(NotFound):
    """No incident has this id."""

    code = "incident_not_found"

    def __init__(self, incident_id: str) -> None:
        super().__init__(
            f"there is no incident {incident_id}; `flyball incidents` lists them", incident_id=incident_id
        )


class RolloutNotFound(NotFound):
    """No rollout has this id, or the model has none that runs."""

    code = "rollout_not_found"


class RolloutRunning(Conflict):
    """A candidate of the model is being rolled out already."""

    code = "rollout_running"


class RetrainingNotFound(NotFound):
    """No retraining has this id."""

    code = "retraining_not_found"

    def __init__(self, retraining_id: str) -> None:
        super().__init__(f"there is no retraining {retraining_id}", retraining_id=retraining_id)


# --- data: sources, contracts, snapshots, the prediction log ---


class SpoolFull(Unavailable):
    """The disk or the spool's limit has no room for another record; nothing of it was written."""

    code = "spool_full"


class PredictionNotFound(NotFound):
    """No prediction of that id is in the log (yet)."""

    code = "prediction_not_found"

    def __init__(self, prediction_id: str) -> None:
        super().__init__(
            f"no prediction {prediction_id} is in the log; a new one appears there within seconds of its answer",
            prediction_id=prediction_id,
        )


class NotASegment(Corrupt):
    """Bytes that should be a segment of the prediction log and are not."""

    code = "not_a_segment"


class SourceUnreadable(BadInput):
    """The data a project names are missing or can't be read."""

    code = "source_unreadable"


class UnknownColumn(BadInput):
    """A column is named that the data do not have; the message suggests the nearest one."""

    code = "unknown_column"


class UnusableTarget(BadInput):
    """The target holds values its task can't be trained on."""

    code = "unusable_target"


class EmptySplit(BadInput):
    """A part of the split would hold no rows."""

    code = "empty_split"


class SnapshotNotFound(NotFound):
    """No snapshot has this digest."""

    code = "snapshot_not_found"

    def __init__(self, digest: str) -> None:
        super().__init__(
            f"there is no snapshot {digest}; `flyball lineage` shows which snapshots exist", digest=digest
        )


class CorruptSnapshot(Corrupt):
    """A snapshot's content is not what its digest says."""

    code = "corrupt_snapshot"


# --- registry: bundles, formats, versions, routes ---


class BadBundle(BadInput):
    """A bundle's manifest or files are not as the format asks."""

    code = "bad_bundle"


class CorruptBundle(Corrupt):
    """A bundle's file or answers are not what they were when it was packed."""

    code = "corrupt_bundle"


class NewerFormat(Conflict):
    """A document was written by a newer Flyball."""

    code = "newer_format"


class UnsupportedModel(BadInput):
    """What `train` returned is of a kind that can't be packaged."""

    code = "unsupported_model"


class UnsafeModel(Refused):
    """A model file holds what is not loaded: code, unknown types, or indexes that lead outside the model."""

    code = "unsafe_model"


class NeedsModelProcess(Conflict):
    """This model runs code of its own, or needs data frames: it is loaded in a model process only."""

    code = "needs_model_process"


class BadAnswer(FlyballError):
    """A model answered with the wrong number of rows, a value that is not finite, or an unknown class."""

    code = "bad_answer"


class VersionRefused(Refused):
    """A version that failed its gates can't be put into service."""

    code = "version_refused"

    def __init__(self, model: str, number: int, where: str | None = None) -> None:
        there = "" if where is None else f" of {where}"
        super().__init__(
            f"{model}@{number}{there} failed its gates and can't be put into service; `flyball show {model}@{number}` "
            "says which",
            model=model,
            number=number,
        )


class RouteConflict(Conflict):
    """Another route table is published under this revision already."""

    code = "route_conflict"


def find_class(code: str) -> type[FlyballError] | None:
    """The class of a code, or None: an error that crossed a process or a wire carries its code, not its class."""
    waiting: list[type[FlyballError]] = [FlyballError]
    while waiting:
        kind = waiting.pop()
        if kind.code == code:
            return kind
        waiting += kind.__subclasses__()
    return None
