"""The first lines of a child process: it and all it starts die with its parent; it keeps its limits.

    python -P -m flyball.backends.executors.child PARENT_PID MEMORY_MB CONFINEMENT MODULE PAYLOAD RESULT

In the child and not between fork and exec, because the parent has threads.
"""

from __future__ import annotations

import os
import resource
import runpy
import sys

import msgspec

from flyball.backends.executors.confine import Confinement, confine
from flyball.backends.executors.guard import guard
from flyball.backends.parent import die_with

OUT_OF_MEMORY = 86  # an exit code that nothing else uses


def limit_memory(megabytes: int) -> None:
    """At most this much private memory. Not address space: threaded libraries reserve far more than they use."""
    resource.setrlimit(resource.RLIMIT_DATA, (megabytes << 20, megabytes << 20))


def main(arguments: list[str]) -> None:
    """Run the module as `python -m` would, with the payload's and the result's path as its arguments."""
    parent, megabytes, confinement, module, payload, result = arguments
    if sys.platform == "linux":
        guard(int(parent))
    else:
        die_with(int(parent))
    if int(megabytes):
        limit_memory(int(megabytes))
    if confinement:
        confine(msgspec.json.decode(confinement, type=Confinement))
    sys.argv = [module, payload, result]
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except MemoryError:
        os.write(2, b"MemoryError: the memory limit of this process was reached\n")
        os._exit(OUT_OF_MEMORY)


if __name__ == "__main__":
    main(sys.argv[1:])
