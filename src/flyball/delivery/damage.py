"""Whether the files of a version are whole, looked at before anything is changed to put it into service."""

from __future__ import annotations

from flyball.backends.blobs.store import BlobStore
from flyball.core.errors import BadBundle, BlobsUnavailable, Corrupt, FlyballError, ObjectNotFound
from flyball.registry.bundle import check_objects
from flyball.registry.route_table import list_routed_models


def find_damage(digest: str, blobs: BlobStore) -> FlyballError | None:
    """Why no model server could load a version; None when its files are there and unchanged.

    Reads every file, so it is called outside of transactions. Raises Unavailable when the store is away, which says
    nothing about the files.
    """
    try:
        check_objects(digest, blobs)
    except ObjectNotFound as error:
        # A folder that was moved away or is not mounted looks empty: routes, once published, are never removed.
        if not list_routed_models(blobs):
            raise BlobsUnavailable(f"the object store looks empty: {error.message}") from error
        return error
    except (Corrupt, BadBundle) as error:
        return error
    return None
