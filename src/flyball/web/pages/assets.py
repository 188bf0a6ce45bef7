"""Style sheet, script and icon: a fixed set of files, read once, looked up by name."""

from __future__ import annotations

from litestar import Response

from flyball.core.errors import NotFound
from flyball.web.api.parameters import InPath
from flyball.web.names import shorten
from flyball.web.pages.rendering import static_files

MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}


def static(file: InPath) -> Response[bytes]:
    """One asset. Its address carries a mark of its content, so it may be kept for good. Raises NotFound."""
    content = static_files().get(file)
    if content is None:
        raise NotFound(f"there is no asset {shorten(file)!r}")
    kind = MEDIA_TYPES[file[file.rindex(".") :]]
    return Response(
        content, media_type=kind, headers={"Cache-Control": "public, max-age=31536000, immutable"}
    )
