"""One life of a model process: spawned without credentials, spoken to over a pair of sockets, watched, buried."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import msgspec

from flyball.backends.scratch import ScratchFolder, sweep_scratch
from flyball.core.digests import digest_json
from flyball.serving.faults import ModelFault
from flyball.serving.frames import READY, Ask, FrameReader, Reply, Start, decode_reply, pack

START_SECONDS = 30.0
WATCH_SECONDS = 0.25
BURY_SECONDS = 2.0
HOP_COUNT = 5
_KEPT_VARIABLES = ("PATH", "LANG", "LANGUAGE", "TZ", "LD_LIBRARY_PATH")


class ProcessSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What to run: a version's verified folder, and what its answers must look like."""

    model: str
    number: int
    digest: str
    folder: Path
    classes: tuple[Any, ...] | None
    memory_mb: int
    log_path: Path
    home: Path


class Link(asyncio.Protocol):
    """The worker's end of the socket to one life of a model process."""

    def __init__(self, process: subprocess.Popen[bytes], scratch: ScratchFolder) -> None:
        loop = asyncio.get_running_loop()
        self.process = process
        self.answered = 0
        self.hop_us = 0
        self.culprit: str | None = None
        self.lost = asyncio.Event()
        self.first: asyncio.Future[Reply] = loop.create_future()
        self._scratch = scratch
        self._waiting: dict[int, tuple[list[dict[str, Any]], asyncio.Future[Reply]]] = {}
        self._reader = FrameReader()
        self._fault: ModelFault | None = None
        self._last_id = READY
        self._moved_at = 0.0
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)

    def data_received(self, data: bytes) -> None:
        try:
            for frame in self._reader.feed(data):
                self._take(decode_reply(frame))
        except (ValueError, msgspec.DecodeError) as error:
            self.kill(ModelFault("protocol", f"the model process answered with nonsense: {error}"))

    def connection_lost(self, _error: Exception | None) -> None:
        if self._waiting:
            rows, _ = next(iter(self._waiting.values()))  # answered in order: the first is the one it was at
            self.culprit = digest_json(rows)
        self.lost.set()

    async def ask(self, rows: list[dict[str, Any]]) -> Reply:
        """Send rows, wait for the reply. Raises ModelFault when the process ends first."""
        assert self._transport is not None
        self._last_id += 1
        number = self._last_id
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        if not self._waiting:
            self._moved_at = time.monotonic()
        self._waiting[number] = (rows, future)
        self._transport.write(pack(Ask(number, rows)))
        return (
            await future
        )  # cancelled, it keeps its place: the process is still at it, and order tells the culprit

    def has_stood_still(self, seconds: float) -> bool:
        """Whether nothing was answered for (nearly) this long although something was asked."""
        return bool(self._waiting) and time.monotonic() - self._moved_at >= seconds * 0.9

    def kill(self, fault: ModelFault) -> None:
        """End the process and all it started, at once, and say why."""
        if self._fault is None:
            self._fault = fault
        _kill_group(self.process)
        if self._transport is not None:
            self._transport.abort()

    async def drain(self, seconds: float) -> None:
        """Wait until nothing is being answered any more, at most this long."""
        deadline = time.monotonic() + seconds
        while self._waiting and not self.lost.is_set() and time.monotonic() < deadline:
            await asyncio.sleep(0.01)

    async def watch(self, memory_mb: int) -> None:
        """Wait until the connection is gone; kill the process when it grows beyond its memory."""
        while not self.lost.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(WATCH_SECONDS):
                    await self.lost.wait()
            resident = resident_mb(self.process.pid)
            if resident > memory_mb and not self.lost.is_set():
                self.kill(ModelFault("memory", f"it used {resident:.0f} MB; {memory_mb} MB are allowed"))

    async def bury(self) -> ModelFault:
        """Reap the process, release all who still wait; what it died of."""
        if self._transport is not None:
            self._transport.close()
        code = await asyncio.to_thread(_reap, self.process)
        fault = self._fault or ModelFault("crash", _describe_end(code))
        for _, future in self._waiting.values():
            if not future.done():
                future.set_exception(ModelFault(fault.kind, fault.reason))
        self._waiting.clear()
        self._scratch.remove()
        return fault

    def _take(self, reply: Reply) -> None:
        if reply.id == READY:
            if not self.first.done():
                self.first.set_result(reply)
            return
        entry = self._waiting.get(reply.id)
        if entry is None or next(iter(self._waiting)) != reply.id:
            raise ValueError(f"reply {reply.id} was not due")
        self._moved_at = time.monotonic()
        self.answered += 1
        del self._waiting[reply.id]
        if not entry[1].done():
            entry[1].set_result(reply)


async def launch(spec: ProcessSpec) -> Link:
    """Start a model process and wait until its model is loaded. Raises ModelFault of the kind `load`."""
    await asyncio.to_thread(sweep_scratch)  # a worker that was killed left its model processes' folders
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    scratch = ScratchFolder("model")
    start = Start(
        folder=str(spec.folder),
        digest=spec.digest,
        descriptor=theirs.fileno(),
        parent=os.getpid(),
        memory_mb=spec.memory_mb,
        hidden=[str(spec.home)],
    )
    try:
        with theirs, spec.log_path.open("wb") as output:
            process = subprocess.Popen(
                [
                    sys.executable,
                    "-P",
                    "-m",
                    "flyball.serving.model_process",
                    msgspec.json.encode(start).decode(),
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=scratch.path,
                env=clean_environment(os.environ, scratch.path),
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )
    except OSError as error:
        ours.close()
        scratch.remove()
        raise ModelFault("load", f"its process could not be started: {error}") from error
    link = Link(process, scratch)
    ours.setblocking(False)
    await asyncio.get_running_loop().create_connection(lambda: link, sock=ours)
    try:
        await _until_ready(link, spec)
    except BaseException:
        link.kill(ModelFault("load", "it was not ready"))
        await link.bury()
        raise
    return link


async def _until_ready(link: Link, spec: ProcessSpec) -> None:
    lost = asyncio.create_task(link.lost.wait())
    waiting: set[asyncio.Future[Any]] = {lost, link.first}
    try:
        await asyncio.wait(waiting, timeout=START_SECONDS, return_when=asyncio.FIRST_COMPLETED)
    finally:
        lost.cancel()
    if not link.first.done():
        where = f"see {spec.log_path.name} in the logs"
        reason = "it ended while loading" if link.lost.is_set() else f"not loaded within {START_SECONDS:g} s"
        raise ModelFault("load", f"{reason}; {where}")
    reply = link.first.result()
    if reply.problem is not None:
        raise ModelFault("load", reply.problem)
    link.hop_us = await _measure_hop(link)


async def _measure_hop(link: Link) -> int:
    """Median microseconds of a few questions without rows."""
    times = []
    for _ in range(HOP_COUNT):
        started = time.perf_counter_ns()
        await link.ask([])
        times.append((time.perf_counter_ns() - started) // 1000)
    return sorted(times)[HOP_COUNT // 2]


def clean_environment(environment: Mapping[str, str], folder: Path) -> dict[str, str]:
    """What a model process may see: an allow-list without credentials, one thread, its own folder as home."""
    kept = {name: environment[name] for name in _KEPT_VARIABLES if name in environment}
    kept |= {name: value for name, value in environment.items() if name.startswith("LC_")}
    paths = [
        str(Path(path).resolve()) for path in environment.get("PYTHONPATH", "").split(os.pathsep) if path
    ]
    if paths:
        kept["PYTHONPATH"] = os.pathsep.join(paths)
    threads = {
        name: environment.get(name, "1")
        for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "POLARS_MAX_THREADS")
    }
    return {**kept, **threads, "HOME": str(folder), "TMPDIR": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}


def resident_mb(pid: int) -> float:
    """Resident memory of a process in MB; 0 when it is gone or the platform does not tell."""
    try:
        with open(f"/proc/{pid}/statm", encoding="ascii") as file:
            pages = int(file.read().split()[1])
    except (OSError, IndexError, ValueError):
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)


def _reap(process: subprocess.Popen[bytes]) -> int:
    try:
        return process.wait(BURY_SECONDS)
    except subprocess.TimeoutExpired:
        _kill_group(process)
        return process.wait()


def _describe_end(code: int) -> str:
    if code >= 0:
        return f"the model's process ended with exit code {code}"
    name = signal.Signals(-code).name if -code in signal.Signals._value2member_map_ else str(-code)
    return f"the model's process was ended by {name}"
