"""Every environment variable that Flyball reads for its users: name, default and meaning, for the reference."""

from __future__ import annotations

import msgspec


class Variable(msgspec.Struct, frozen=True):
    """One variable; `default` in words where it is no constant, empty where the variable is off or not set."""

    name: str
    default: str
    meaning: str


VARIABLES: dict[str, tuple[Variable, ...]] = {
    "Where state lives": (
        Variable(
            "FLYBALL_HOME",
            "the nearest `.flyball/` up to the Git root (without one, up to `flyball.toml`), else a new one there",
            "folder of the home",
        ),
        Variable(
            "FLYBALL_DATABASE",
            "`flyball.db` in the home",
            "URL of the metadata database: `sqlite:////absolute/path/flyball.db` or `postgresql://user@host/name`",
        ),
        Variable(
            "FLYBALL_OBJECTS",
            "`objects` in the home",
            "URL of the object store: `file:///path`, `s3://bucket/prefix`, `gs://…` or `az://…`; credentials and "
            "endpoint come from the cloud's own variables (`AWS_ACCESS_KEY_ID`, `AWS_ENDPOINT_URL`, …)",
        ),
        Variable(
            "FLYBALL_EXECUTOR", "`local`", "where training runs: `local`, in child processes of this machine"
        ),
        Variable(
            "FLYBALL_CACHE",
            "`read-write`",
            "whether steps of a run use what earlier runs gave: `read-write`, `read` (for changes of strangers: "
            "nothing of this one is kept, and their code reaches only what it needs) or `off`",
        ),
        Variable(
            "FLYBALL_EGRESS",
            "",
            "addresses that may be sent to besides those of the code host, and at private addresses or without "
            "encryption too: origins, separated by commas, such as `https://git.example.com`",
        ),
    ),
    "Environments of a project": (
        Variable(
            "FLYBALL_<NAME>_HOME",
            "`environments/<name>` in the home",
            "folder of the environment's home; `<NAME>` is its name in capitals, with `_` for `-`",
        ),
        Variable(
            "FLYBALL_<NAME>_DATABASE",
            "`flyball.db` in the environment's home",
            "URL of its metadata database",
        ),
        Variable("FLYBALL_<NAME>_OBJECTS", "`objects` in the environment's home", "URL of its object store"),
        Variable(
            "FLYBALL_<NAME>_URL",
            "`url` of its section, where no variable says where its home is",
            "address of its control plane, which is asked instead",
        ),
        Variable("FLYBALL_<NAME>_TOKEN", "", "sent to that control plane"),
    ),
    "Commands and the Python client": (
        Variable(
            "FLYBALL_URL",
            "",
            "address of a control plane, which is asked instead of the home on this machine",
        ),
        Variable(
            "FLYBALL_TOKEN",
            "",
            "sent to that control plane; those of this release know no tokens and refuse it",
        ),
        Variable("FLYBALL_DEBUG", "", "`1`: an error is followed by its traceback"),
    ),
    "Control plane": (
        Variable(
            "FLYBALL_CONTROL_ANONYMOUS",
            "",
            "`1`: may listen on addresses that other machines reach, though it asks nobody who they are",
        ),
        Variable(
            "FLYBALL_CONTROL_HOSTS",
            "",
            "further host names that it answers to, separated by commas; its own are this machine's and the one of "
            "`--host`",
        ),
        Variable(
            "FLYBALL_CONTROL_TAKES_VERSIONS",
            "",
            "`1`: takes versions, with their code and settings, from whoever reaches it: `flyball deploy --env` to its "
            "address",
        ),
        Variable(
            "FLYBALL_LOG_LEVEL", "`WARNING`", "what its log tells: `DEBUG`, `INFO`, `WARNING` or `ERROR`"
        ),
    ),
    "Model server": (
        Variable(
            "FLYBALL_SERVE_ANONYMOUS",
            "",
            "`1`: may listen on addresses that other machines reach, though it asks nobody who they are",
        ),
        Variable(
            "FLYBALL_SERVE_HOSTS",
            "",
            "further host names that it answers to, separated by commas; beyond loopback, and without this, it answers "
            "to every name",
        ),
        Variable(
            "FLYBALL_ROUTE_POLL_SECONDS",
            "`0.2` with objects in files, else `1`",
            "seconds between two looks for a new route",
        ),
        Variable(
            "FLYBALL_SEGMENT_SECONDS",
            "`0.5` with objects in files, else `5`",
            "seconds after which a segment of the log is closed and shipped",
        ),
        Variable(
            "FLYBALL_CANDIDATE_DEADLINE_SECONDS",
            "`2`",
            "seconds that a canary may take before the champion answers instead",
        ),
        Variable(
            "FLYBALL_WORKER_HANG_SECONDS",
            "`30`",
            "seconds that a worker's event loop may be stuck before the worker is killed and replaced",
        ),
    ),
}
