"""`/api/v1/objects/…`, and versions sent from another home: what arrives is bytes, and nothing opens them."""

from __future__ import annotations

import asyncio
import errno
from pathlib import Path
from typing import Any

from litestar import Request, Response
from litestar.exceptions import HTTPException, InternalServerException
from litestar.params import JSONBody

from flyball.core.errors import StorageFull, Unavailable
from flyball.web.api.parameters import App, Digests, InPath, RequestKey, Sent
from flyball.web.names import read_model
from flyball.web.once import once

MOST_UPLOADS = 4
FIRST_SECONDS = 30.0
SLOWEST_BYTES_PER_SECOND = 256 * 1024
_PIECE_BYTES = 1024 * 1024


def missing_objects(flyball: App, data: JSONBody[Digests]) -> dict[str, Any]:
    """Which of these objects have to be sent before a version can be taken."""
    return {"missing": flyball.missing_objects(data.digests)}


async def put_object(request: Request[Any, Any, Any], flyball: App, digest: InPath) -> dict[str, Any]:
    """Store the body, whatever it is, under its own digest, which has to be the one of the address."""
    size = request.content_length
    if size is None:
        raise HTTPException(
            status_code=411, detail="the length of the object has to be said before it is sent"
        )
    if await asyncio.to_thread(flyball.has_object, digest, size):
        return {"digest": digest, "size_bytes": size, "stored": False}
    state = request.app.state
    if state.uploads >= MOST_UPLOADS:
        raise Unavailable(f"{MOST_UPLOADS} objects are being sent already; send this one again later")
    state.uploads += 1
    try:
        with flyball.scratch_folder() as folder:
            path = folder / "object"
            await _receive(request, path, size)
            await asyncio.to_thread(flyball.put_object, digest, path)
    finally:
        state.uploads -= 1
    return {"digest": digest, "size_bytes": size, "stored": True}


def take_version(
    flyball: App, model: InPath, data: JSONBody[Sent], request_key: RequestKey = None
) -> Response[dict[str, Any]]:
    """Register a version of another home, of which every object and the record were sent before."""
    name = read_model(model)
    return once(
        flyball,
        request_key,
        ["take", name, data.record, data.verdicts],
        lambda: flyball.take_version(name, data.record, data.verdicts),
    )


async def _receive(request: Request[Any, Any, Any], path: Path, size_bytes: int) -> None:
    """Write the body to a file as it comes, so that memory stays small whatever is sent."""
    seconds = FIRST_SECONDS + size_bytes / SLOWEST_BYTES_PER_SECOND
    pending = bytearray()
    try:
        with path.open("wb") as file:
            async with asyncio.timeout(seconds):
                async for chunk in request.stream():
                    pending += chunk
                    if len(pending) >= _PIECE_BYTES:
                        await asyncio.to_thread(file.write, bytes(pending))
                        pending.clear()
            await asyncio.to_thread(file.write, pending)
    except TimeoutError:
        raise HTTPException(
            status_code=408, detail=f"the object did not arrive within {seconds:.0f} s"
        ) from None
    except InternalServerException as error:
        raise HTTPException(status_code=400, detail="the client left before the object was there") from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise StorageFull("there is no room for an object of this size; nothing was kept") from error
        raise
