"""Publishing at once what was just decided, so that model servers follow without waiting for a controller."""

from __future__ import annotations

import logging

from flyball.core.errors import FlyballError
from flyball.operations.opening import Backends


def publish_now(backends: Backends) -> None:
    """Publish every wanted route that servers can't see yet.

    The decision is on disk by now and stands: where it can't be published (the store is away, its disk is full), the
    controller does it later, `flyball doctor` says so, and nobody is told that the decision failed.
    """
    from flyball.registry.routes import publish_wanted

    try:
        publish_wanted(backends.database, backends.blobs, backends.clock.now())
    except FlyballError as error:
        logging.getLogger(__name__).warning("a controller will publish it: %s", error.message)
