"""Every endpoint of both servers in one table: who may call it, how much it reads, what the audit trail keeps.

A server mounts what `bind` gives it and nothing else. `bind` refuses to start when an endpoint lacks its permission,
its handler, its body limit or its audit event, so a forgotten route can't be an open one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Literal, TypeVar

import msgspec

from flyball.core.errors import Refused

Server = Literal["model", "control"]
Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
Handler = TypeVar("Handler")

ANYONE = "anyone"
"""The permission of what needs no caller's identity; has to be written out, as every other."""
NOT_AUDITED = "none"
"""The audit event of a request that changes nothing the audit trail keeps; has to be written out on a POST."""
MEBIBYTE = 1024 * 1024
FORM_BYTES = 64 * 1024
"""The longest form of the console: a reason or a note."""
OBJECT_BYTES = 1024 * MEBIBYTE
"""The largest object of a version that is taken over HTTP; it goes to disk as it comes."""
MOST_DIGESTS = 10_000
"""As many objects may be asked about at once."""

_PATH = re.compile(r"^(/|(/(?!\.{1,2}(/|$))[A-Za-z0-9._-]+|/\{[a-z_]+\})+)$")
_NAME = re.compile(r"^[a-z]+(\.[a-z_]+)+$")


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """One way into a server.

    `permission` is one of governance's, or ANYONE. `body_limit_bytes` is the longest body that is read (0: none is).
    `audit` is the action written to the audit trail when the request changes something, NOT_AUDITED when nothing
    does, None for requests that only read. `{name}` in `path` stands for exactly one segment.
    """

    name: str
    server: Server
    method: Method
    path: str
    permission: str
    body_limit_bytes: int = 0
    audit: str | None = None


def _model(name: str, method: Method, path: str, permission: str, body_limit_bytes: int = 0) -> Endpoint:
    audit = None if method == "GET" else NOT_AUDITED  # predictions and outcomes go to the prediction log
    return Endpoint(
        name=f"model.{name}",
        server="model",
        method=method,
        path=path,
        permission=permission,
        body_limit_bytes=body_limit_bytes,
        audit=audit,
    )


def _control(
    name: str,
    method: Method,
    path: str,
    permission: str,
    audit: str | None = None,
    body_limit_bytes: int | None = None,
) -> Endpoint:
    limit = body_limit_bytes if body_limit_bytes is not None else (0 if method == "GET" else MEBIBYTE)
    return Endpoint(
        name=f"control.{name}",
        server="control",
        method=method,
        path=path,
        permission=permission,
        body_limit_bytes=limit,
        audit=audit,
    )


# The limit of `predict` is the default; a project's [serve].max_body_mb replaces it for its model.
MODEL_ENDPOINTS: tuple[Endpoint, ...] = (
    _model("predict", "POST", "/v1/models/{model}/predict", "predict", 10 * MEBIBYTE),
    _model("outcomes", "POST", "/v1/models/{model}/outcomes", "predict", 10 * MEBIBYTE),
    _model("live", "GET", "/v2/health/live", ANYONE),
    _model("ready", "GET", "/v2/health/ready", ANYONE),
    _model("metadata", "GET", "/v2/models/{model}", "predict"),
    _model("model_ready", "GET", "/v2/models/{model}/ready", "predict"),
    _model("version", "GET", "/v2/models/{model}/versions/{version}", "predict"),
    _model("version_ready", "GET", "/v2/models/{model}/versions/{version}/ready", "predict"),
    _model("metrics", "GET", "/metrics", ANYONE),
)

_API = "/api/v1"
_MODEL = f"{_API}/models/{{model}}"

# What the console shows is read with the same permission as the resource behind it.
CONTROL_ENDPOINTS: tuple[Endpoint, ...] = (
    _control("schema", "GET", "/api/schema", ANYONE),
    _control("health", "GET", f"{_API}/health", ANYONE),
    _control("status", "GET", f"{_API}/status", "read"),
    _control("events", "GET", f"{_API}/events", "read"),
    _control("models", "GET", f"{_API}/models", "read"),
    _control("model", "GET", _MODEL, "read"),
    _control("versions", "GET", f"{_MODEL}/versions", "read"),
    _control("version", "GET", f"{_MODEL}/versions/{{ref}}", "read"),
    _control("history", "GET", f"{_MODEL}/history", "read"),
    _control("aliases", "GET", f"{_MODEL}/aliases", "read"),
    _control("progress", "GET", f"{_MODEL}/progress", "read"),
    _control("series", "GET", f"{_MODEL}/series", "read"),
    _control("drift", "GET", f"{_MODEL}/drift", "read"),
    _control("checks", "GET", f"{_MODEL}/checks", "read"),
    _control("why", "GET", f"{_MODEL}/why", "read"),
    _control("model_predictions", "GET", f"{_MODEL}/predictions", "inputs.read"),
    _control("missing_objects", "POST", f"{_API}/objects/missing", "deploy", NOT_AUDITED),
    # Bytes that no row names yet change nothing; the version that names them is audited.
    _control("put_object", "PUT", f"{_API}/objects/{{digest}}", "deploy", NOT_AUDITED, OBJECT_BYTES),
    _control("take_version", "POST", f"{_MODEL}/versions", "deploy", "version.registered"),
    _control("deploy", "POST", f"{_MODEL}/deploy", "deploy", "deployment.changed"),
    _control("decide", "POST", f"{_MODEL}/rollout/{{decision}}", "deploy", "rollout.decided"),
    _control("rollback", "POST", f"{_MODEL}/rollback", "rollback", "deployment.rolled_back"),
    _control("retrain", "POST", f"{_MODEL}/retrain", "deploy", "retraining.wanted"),
    _control("monitor", "POST", f"{_MODEL}/monitor", "deploy", "monitoring.asked"),
    _control("runs", "GET", f"{_API}/runs", "read"),
    _control("run", "GET", f"{_API}/runs/{{run_id}}", "read"),
    _control("run_log", "GET", f"{_API}/runs/{{run_id}}/log", "read"),
    _control("deployments", "GET", f"{_API}/deployments", "read"),
    _control("rollouts", "GET", f"{_API}/rollouts", "read"),
    _control("retrainings", "GET", f"{_API}/retrainings", "read"),
    _control("signals", "GET", f"{_API}/signals", "read"),
    _control("incidents", "GET", f"{_API}/incidents", "read"),
    _control("incident", "GET", f"{_API}/incidents/{{incident_id}}", "read"),
    _control("note", "POST", f"{_API}/incidents/{{incident_id}}/notes", "comment", "incident.noted"),
    _control("prediction", "GET", f"{_API}/predictions/{{prediction_id}}", "inputs.read"),
    _control("audit", "GET", f"{_API}/audit", "audit.read"),
    _control("audit_verify", "GET", f"{_API}/audit/verify", "audit.read"),
    _control("page.overview", "GET", "/", "read"),
    _control("page.model", "GET", "/models/{model}", "read"),
    _control("page.version", "GET", "/models/{model}/versions/{ref}", "read"),
    _control("page.predictions", "GET", "/models/{model}/predictions", "inputs.read"),
    _control("page.prediction", "GET", "/predictions/{prediction_id}", "inputs.read"),
    _control("page.incidents", "GET", "/incidents", "read"),
    _control("page.incident", "GET", "/incidents/{incident_id}", "read"),
    _control("page.runs", "GET", "/runs", "read"),
    _control("page.run", "GET", "/runs/{run_id}", "read"),
    _control("page.run_log", "GET", "/runs/{run_id}/log.txt", "read"),
    _control("page.audit", "GET", "/audit", "audit.read"),
    _control("page.deploy", "POST", "/models/{model}/deploy", "deploy", "deployment.changed", FORM_BYTES),
    _control(
        "page.decide", "POST", "/models/{model}/rollout/{decision}", "deploy", "rollout.decided", FORM_BYTES
    ),
    _control(
        "page.rollback", "POST", "/models/{model}/rollback", "rollback", "deployment.rolled_back", FORM_BYTES
    ),
    _control("page.retrain", "POST", "/models/{model}/retrain", "deploy", "retraining.wanted", FORM_BYTES),
    _control("page.note", "POST", "/incidents/{incident_id}/notes", "comment", "incident.noted", FORM_BYTES),
    _control("static", "GET", "/static/{file}", ANYONE),
)

ENDPOINTS: tuple[Endpoint, ...] = MODEL_ENDPOINTS + CONTROL_ENDPOINTS


def list_endpoints(server: Server, table: Iterable[Endpoint] = ENDPOINTS) -> list[Endpoint]:
    """The endpoints of one server, in the order of the table."""
    return [endpoint for endpoint in table if endpoint.server == server]


def bind(
    server: Server, handlers: Mapping[str, Handler], endpoints: Iterable[Endpoint] | None = None
) -> list[tuple[Endpoint, Handler]]:
    """Each endpoint of a server with its handler, which is looked up by the endpoint's name.

    endpoints: the server's part of the table, unless a test brings its own. Raises Refused, naming everything that
    is missing at once: a permission, a body limit, an audit event, a handler, or a handler no endpoint asks for.
    """
    mine = list_endpoints(server, ENDPOINTS if endpoints is None else endpoints)
    problems = [problem for endpoint in mine for problem in _problems(endpoint)]
    problems += _repeated(mine)
    problems += [f"{e.name}: no handler" for e in mine if e.name not in handlers]
    known = {endpoint.name for endpoint in mine}
    problems += [f"{name}: a handler, but no endpoint of that name" for name in handlers if name not in known]
    if problems:
        raise Refused(
            f"the {server} server does not start: {'; '.join(problems)}. Every endpoint is declared in "
            "flyball/core/endpoints.py",
            server=server,
            problems=problems,
        )
    return [(endpoint, handlers[endpoint.name]) for endpoint in mine]


def _problems(endpoint: Endpoint) -> list[str]:
    found = []
    if not _NAME.match(endpoint.name):
        found.append("its name is not like server.what")
    if not _PATH.match(endpoint.path):
        found.append(f"{endpoint.path!r} is no path")
    if not endpoint.permission:
        found.append("no permission declared")
    if endpoint.method in ("POST", "PUT", "PATCH") and endpoint.body_limit_bytes <= 0:
        found.append("no body limit")
    if endpoint.method != "GET" and not endpoint.audit:
        found.append("no audit event declared")
    return [f"{endpoint.name or endpoint.path}: {problem}" for problem in found]


def _repeated(endpoints: list[Endpoint]) -> list[str]:
    problems, names, ways = [], set(), set()
    for endpoint in endpoints:
        way = (endpoint.method, re.sub(r"\{[a-z_]+\}", "{}", endpoint.path))
        if endpoint.name in names or way in ways:
            problems.append(f"{endpoint.name}: declared twice ({endpoint.method} {endpoint.path})")
        names.add(endpoint.name)
        ways.add(way)
    return problems
