"""Every error that Flyball raises on purpose: a stable code, the facts, what happened and what to do."""

from __future__ import annotations

from typing import Any


class FlyballError(Exception):
    """Root of the tree. `code` is stable; `message` says what happened, where, and what to do next.

    Exit codes (cli) and HTTP statuses (web) are mapped from the branch classes below, once each.
    """

    code = "error"

    def __init__(self, message: str, **facts: Any) -> None:
        super().__init__(message)
        self.message = message
        self.facts = facts


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


class TableNotFound(NotFound):
    """There is no table at this URL."""

    code = "table_not_found"


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


class UnknownRole(BadInput):
    """No role of that name."""

    code = "unknown_role"
