"""Health, metadata and metrics: what load balancers, Prometheus and clients of the Open Inference Protocol ask."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from flyball.core.errors import VersionNotFound
from flyball.serving.asgi import Request, Response
from flyball.serving.metrics import WorkerMetrics
from flyball.serving.protocol import Rejected, encode
from flyball.serving.served import Served, ServedModels, Version

DATATYPES = {"int": "INT64", "float": "FP64", "bool": "BOOL", "string": "BYTES", "datetime": "BYTES"}
TEXT = (b"content-type", b"text/plain; version=0.0.4; charset=utf-8")


class Health:
    """The reading endpoints. `wanted`: models that must be there for this server to be ready (None: those found)."""

    def __init__(self, models: ServedModels, wanted: Collection[str] | None, metrics: WorkerMetrics) -> None:
        self._models = models
        self._wanted = wanted
        self._metrics = metrics

    async def live(self, _request: Request) -> Response:
        """200 as long as anything is answered at all."""
        return Response(200, encode({"live": True}))

    async def ready(self, _request: Request) -> Response:
        """200 when every model has a version that can answer, else 503 and which have none."""
        names = self._wanted if self._wanted is not None else list(self._models)
        waiting = sorted(name for name in names if not _is_ready(self._models.get(name)))
        return Response(503 if waiting else 200, encode({"ready": not waiting, "waiting": waiting}))

    async def metadata(self, request: Request) -> Response:
        """What the model takes and gives, and which versions are loaded."""
        served = self._models.find_served(request.parameters["model"])
        loaded = [version.number for version in served.versions()]
        return Response(200, encode(_describe(served, loaded, served.champion)))

    async def model_ready(self, request: Request) -> Response:
        """200 when the model can answer, else 503."""
        served = self._models.find_served(request.parameters["model"])
        ready = _is_ready(served)
        return Response(200 if ready else 503, encode({"name": served.model, "ready": ready}))

    async def version(self, request: Request) -> Response:
        """The same as `metadata`, for one loaded version."""
        served, version = self._find_version(request)
        return Response(200, encode(_describe(served, [version.number], version)))

    async def version_ready(self, request: Request) -> Response:
        """200 when this version can answer, else 503."""
        served, version = self._find_version(request)
        content = {"name": served.model, "version": str(version.number), "ready": version.is_ready}
        return Response(200 if version.is_ready else 503, encode(content))

    async def metrics(self, _request: Request) -> Response:
        """The numbers of all workers, added up."""
        return Response(200, self._metrics.render(), [TEXT])

    def _find_version(self, request: Request) -> tuple[Served, Version]:
        served, text = self._models.find_served(request.parameters["model"]), request.parameters["version"]
        for version in served.versions():
            if str(version.number) == text:
                return served, version
        raise Rejected(404, "version_not_found", VersionNotFound(served.model, text[:20]).message)


def _is_ready(served: Served | None) -> bool:
    return served is not None and served.champion is not None and served.champion.is_ready


def _describe(served: Served, versions: list[int], asked: Version | None) -> dict[str, Any]:
    inputs = [
        {"name": name, "datatype": DATATYPES[rule.type], "shape": [-1]}
        for name, rule in served.contract.features.items()
    ]
    datatype = "FP64" if served.table.task == "regression" else "BYTES"
    # The protocol lets metadata carry more than it names: what else a row may say, and the order of the scores.
    own = {"entity": served.table.entity, "time": served.table.time}
    classes = None if asked is None else asked.facts.classes
    return {
        **({} if classes is None else {"classes": list(classes)}),
        **{what: column for what, column in own.items() if column is not None},
        "name": served.model,
        "versions": [str(number) for number in versions],
        "platform": "flyball",
        "inputs": inputs,
        "outputs": [{"name": served.table.target, "datatype": datatype, "shape": [-1]}],
    }
