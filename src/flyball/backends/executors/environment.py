"""The environment of child processes: what programs need to run, and nothing that opens a door."""

from __future__ import annotations

import os
from collections.abc import Mapping

_KEPT = frozenset(
    (
        *("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ", "TMPDIR", "TERM"),
        *("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "CONDA_PREFIX", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"),
        *("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"),
        *("BLIS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS", "POLARS_MAX_THREADS", "LOKY_MAX_CPU_COUNT"),
        *("CUDA_VISIBLE_DEVICES", "SSL_CERT_FILE", "SSL_CERT_DIR", "SOURCE_DATE_EPOCH"),
    )
)
_PATHS = ("PYTHONPATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")


def clean_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The variables a child gets: an allow-list of ours, then `extra`.

    An allow-list, because nobody can name all variables that hold a secret; FLYBALL_TOKEN, FLYBALL_DATABASE and
    AWS_… are only the ones we know of.
    """
    kept = {name: value for name, value in os.environ.items() if name in _KEPT or name.startswith("LC_")}
    given = {**kept, "PYTHONUNBUFFERED": "1", "PYTHONFAULTHANDLER": "1", **(extra or {})}
    return given | {name: _found_from_here(given[name]) for name in _PATHS if name in given}


def _found_from_here(path: str) -> str:
    """The folders as they are found from this one; none for an entry that is empty.

    A child works in a folder with a project's files, and a library or a `sitecustomize` from there runs before it is
    confined.
    """
    return os.pathsep.join(os.path.abspath(place) for place in path.split(os.pathsep) if place)
