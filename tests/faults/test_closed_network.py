"""Where all is closed there is no network, by whatever way; processes of one program still speak to each other."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec
import pytest

from flyball.backends.executors.confine import Confinement
from flyball.backends.executors.local import run_child
from flyball.backends.executors.network import can_close_network

pytestmark = pytest.mark.skipif(
    not can_close_network(), reason="this machine can't take the network from a process"
)

BEGIN = """
import json, os, socket, subprocess, sys
import msgspec
from flyball.backends.executors.confine import Confinement, confine


def attempt(work):
    try:
        work()
    except PermissionError:
        return "denied"
    except OSError as error:
        return str(error)
    return "WORKED"


if __name__ == "__main__":
    confine(msgspec.json.decode(sys.argv[1], type=Confinement))
    given = json.loads(sys.argv[2])
"""


def closed(folder: Path, text: str, given: Any = None) -> subprocess.CompletedProcess[str]:
    """A process that closes itself, may write to the folder, and then runs a text, which stands in its main block."""
    plan = Confinement(hidden=[], write=[str(folder)], closed=True)
    script = folder / "script.py"
    script.write_text(text)
    return subprocess.run(
        [sys.executable, str(script), msgspec.json.encode(plan).decode(), json.dumps(given)],
        check=False,
        text=True,
        capture_output=True,
        timeout=60,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "TMPDIR": str(folder)},
    )


@pytest.fixture
def listeners(tmp_path: Path) -> Iterator[dict[str, Any]]:
    """Family, kind and address of a socket of each sort that something on this machine listens on."""
    with ExitStack() as stack:

        def listen(family: int, kind: int, address: Any) -> list[Any]:
            listener = stack.enter_context(socket.socket(family, kind))
            listener.bind(address)
            if kind == socket.SOCK_STREAM:
                listener.listen()
            return [family, kind, listener.getsockname() if family != socket.AF_UNIX else address]

        found = {
            "TCP": listen(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 0)),
            "UDP": listen(socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", 0)),
            "file": listen(socket.AF_UNIX, socket.SOCK_STREAM, str(tmp_path / "daemon.sock")),
            "file of datagrams": listen(socket.AF_UNIX, socket.SOCK_DGRAM, str(tmp_path / "log.sock")),
            "name": listen(socket.AF_UNIX, socket.SOCK_STREAM, f"\0daemon-{os.getpid()}"),
            "name of datagrams": listen(socket.AF_UNIX, socket.SOCK_DGRAM, f"\0log-{os.getpid()}"),
        }
        if socket.has_ipv6:
            found["IPv6"] = listen(socket.AF_INET6, socket.SOCK_STREAM, ("::1", 0))
        yield found


CONNECT = """
    def connect(family, kind, address):
        with socket.socket(family, kind) as made:
            made.connect(tuple(address) if isinstance(address, list) else address)
            made.send(b"rows")

    def through_a_pair(address):
        ours, _ = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        ours.connect(address)
        ours.send(b"rows")

    def python(listener):
        code = "import socket,sys,json; f,k,a = json.loads(sys.argv[1]); socket.socket(f,k).connect(tuple(a))"
        done = subprocess.run([sys.executable, "-c", code, json.dumps(listener)], capture_output=True, text=True)
        if done.returncode:
            raise PermissionError if "PermissionError" in done.stderr else OSError(done.stderr)

    def shell(listener):
        host, port = listener[2][:2]
        done = subprocess.run(["bash", "-c", f"echo rows > /dev/tcp/{host}/{port}"], capture_output=True, text=True)
        if done.returncode:
            raise PermissionError if "Permission denied" in done.stderr else OSError(done.stderr)

    said = {name: attempt(lambda: connect(*where)) for name, where in given.items()}
    for name in ("file of datagrams", "name of datagrams"):
        said["a pair to a " + name] = attempt(lambda: through_a_pair(given[name][2]))
    said["a grandchild"] = attempt(lambda: python(given["TCP"]))
    said["a shell"] = attempt(lambda: shell(given["TCP"]))
    print(json.dumps(said))
"""


def test_nothing_that_listens_on_this_machine_is_reached(tmp_path: Path, listeners: dict[str, Any]):
    done = closed(tmp_path, BEGIN + CONNECT, listeners)
    said = json.loads(done.stdout)
    assert len(said) >= 10 and set(said.values()) == {"denied"}, (said, done.stderr)


def test_no_socket_of_any_family_can_be_made_nor_by_a_thread_or_past_the_filter(tmp_path: Path):
    text = """
    import ctypes, threading
    libc = ctypes.CDLL(None, use_errno=True)

    def call(*arguments):
        ctypes.set_errno(0)
        if libc.syscall(*arguments) < 0:
            raise OSError(ctypes.get_errno(), "")

    kinds = [(family, kind) for family in range(50) for kind in (1, 2, 3)]
    said = {str(kind): attempt(lambda: socket.socket(*kind)) for kind in kinds}
    said["io_uring"] = attempt(lambda: call(425, 8, ctypes.create_string_buffer(120)))
    said["x32"] = attempt(lambda: call(0x40000000 + 41, 2, 1, 0))
    keys = {"x86_64": 250, "aarch64": 219}[os.uname().machine]
    said["keyring"] = attempt(lambda: call(keys, 0, -3, 0))
    thread = threading.Thread(target=lambda: said.update(thread=attempt(socket.socket)))
    thread.start()
    thread.join()
    print(json.dumps(said))
"""
    done = closed(tmp_path, BEGIN + text)
    said = json.loads(done.stdout)
    assert len(said) == 154 and set(said.values()) == {"denied"}, (said, done.stderr)


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="machine code of x86-64")
def test_a_call_in_the_numbers_of_32_bits_ends_the_process(tmp_path: Path):
    # mov eax, 20; int 0x80; ret: the number of getpid in those
    text = """
    import ctypes, mmap
    page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(bytes.fromhex("b814000000cd80c3"))
    print(ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))())
"""
    done = closed(tmp_path, BEGIN + text)
    # SIGSEGV where the kernel knows no such calls at all.
    assert done.returncode in (-signal.SIGSYS, -signal.SIGSEGV) and done.stdout == "", done


HONEST = """

def double(value):
    return 2 * value


def put(queue):
    queue.put(7)


async def echo():
    import asyncio
    process = await asyncio.create_subprocess_exec("echo", "hi", stdout=asyncio.subprocess.PIPE)
    return (await process.communicate())[0].decode().strip()


if __name__ == "__main__":
    import asyncio, concurrent.futures, multiprocessing
    import joblib, lightgbm, numpy
    import polars as pl
    from multiprocessing.shared_memory import SharedMemory
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.model_selection import cross_val_score

    queue = multiprocessing.Queue()
    process = multiprocessing.Process(target=put, args=(queue,))
    process.start()
    x, y = numpy.arange(400.0).reshape(200, 2), numpy.arange(200) % 2
    memory = SharedMemory(create=True, size=8)
    memory.unlink()
    forest = cross_val_score(RandomForestClassifier(4, n_jobs=2, random_state=0), x, y, n_jobs=2)
    with multiprocessing.Pool(2) as pool, multiprocessing.get_context("spawn").Pool(1) as spawned:
        pools = pool.map(double, [1, 2]) + spawned.map(double, [3])
    with concurrent.futures.ProcessPoolExecutor(2) as executor:
        futures = list(executor.map(double, [1, 2]))
    print(json.dumps([
        queue.get(), pools, futures, joblib.Parallel(n_jobs=2)(joblib.delayed(double)(item) for item in (1, 2)),
        len(forest), len(lightgbm.LGBMClassifier(n_estimators=2, n_jobs=2, verbose=-1).fit(x, y).predict(x)),
        pl.DataFrame({"a": [1, 1]}).lazy().group_by("a").len().collect().rows(), asyncio.run(echo()),
    ]))
"""


def test_what_works_by_processes_threads_and_pipes_still_works(tmp_path: Path):
    done = closed(tmp_path, BEGIN + HONEST)
    assert json.loads(done.stdout) == [7, [2, 4, 6], [2, 4], [2, 4], 5, 200, [[1, 2]], "hi"], done.stderr


def test_a_child_inherits_no_socket(tmp_path: Path):
    (tmp_path / "module_of_a_stranger.py").write_text(
        "import json, os, stat, sys\n"
        "kinds = {name: os.stat(f'/proc/self/fd/{name}').st_mode for name in map(str, range(64))\n"
        "         if os.path.exists(f'/proc/self/fd/{name}')}\n"
        "sockets = [name for name, mode in kinds.items() if stat.S_ISSOCK(mode)]\n"
        "open(sys.argv[2], 'w').write(json.dumps({'sockets': sockets, 'count': len(kinds)}))\n"
    )
    path = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
    with socket.socket() as ours:
        ours.set_inheritable(True)
        ended = run_child(
            "module_of_a_stranger",
            {},
            folder=tmp_path,
            timeout_seconds=30,
            environment={"PYTHONPATH": path},
            confinement=Confinement(hidden=[], read=[str(tmp_path)], closed=True),
        )
    assert ended.result is not None and ended.result["sockets"] == [] and ended.result["count"] >= 3
