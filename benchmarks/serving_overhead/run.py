"""One-row predictions at 64 connections, log on, beside an empty ASGI application on the same server, in turns.

Prints requests per second of both and their ratio, from several short rounds in which the two take turns, and the
worker's memory. Needs about a minute; on a machine with other work on it, look at the ratio only.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from flyball.backends.blobs.store import open_blobs
from flyball.backends.home_socket import ask_socket
from flyball.core.contract import Contract, FeatureRule
from flyball.registry.bundle import pack
from flyball.registry.formats.package import package
from flyball.registry.formats.signatures import signature_for
from flyball.registry.route_table import RoutedVersion, RouteTable, publish

HERE = Path(__file__).parent
FEATURES = [f"f{number:02d}" for number in range(23)]


def prepare(home: Path, versions: int = 1) -> list[str]:
    """A home with a LightGBM classifier (200 trees of 31 leaves, 23 features) in service; bodies to send.

    versions: so many revisions are published, each with a model of its own.
    """
    import lightgbm
    import polars

    random = np.random.default_rng(7)
    inputs = random.normal(size=(20_000, len(FEATURES)))
    target = (inputs[:, :5].sum(axis=1) + random.normal(size=20_000) > 0).astype(int)
    contract = Contract(features={name: FeatureRule(type="float", min=-100, max=100) for name in FEATURES})
    signature = signature_for(contract, target="y", classes=[0, 1], positive=1)
    rows = [dict(zip(FEATURES, row, strict=True)) for row in inputs[:200].tolist()]
    blobs = open_blobs(f"file://{home / 'objects'}")
    previous = None
    for number in range(1, versions + 1):
        model = lightgbm.LGBMClassifier(n_estimators=200, num_leaves=31, n_jobs=1, verbose=-1)
        model.fit(inputs[::number], target[::number])
        folder = home / f"package-{number}"
        package(
            model,
            folder,
            model="bench",
            task="binary",
            signature=signature,
            contract=contract,
            rows=polars.DataFrame(rows),
        )
        table = RouteTable(
            format=1,
            model="bench",
            revision=number,
            published_at=datetime.now(UTC),
            task="binary",
            target="y",
            champion=RoutedVersion(number=number, bundle=pack(folder, blobs)),
            previous=previous,
            contract=contract,
            on_violation="flag",
            positive=1,
        )
        publish(blobs, table)
        previous = table.champion
    return [json.dumps({"rows": [row]}) for row in rows]


def load(port: int, bodies: list[str], connections: int, seconds: float) -> dict[str, Any]:
    settings = {
        "host": "127.0.0.1",
        "port": port,
        "path": "/v1/models/bench/predict",
        "connections": connections,
        "seconds": seconds,
        "bodies": bodies,
    }
    done = subprocess.run(
        [sys.executable, str(HERE / "load.py")],
        input=json.dumps(settings),
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


def pss_mb(pid: int) -> float:
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return int(text.split("\nPss:")[1].split()[0]) / 1024


def free_port() -> int:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


def wait_for(port: int) -> None:
    for _ in range(600):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/health/ready", timeout=1).read()
            return
        except OSError:
            time.sleep(0.05)
    raise SystemExit("the server did not start")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="flyball-bench-") as folder:
        home = Path(folder)
        bodies = prepare(home)
        empty_port, port = free_port(), free_port()
        environment = {**os.environ, "FLYBALL_HOME": str(home)}
        empty = subprocess.Popen([sys.executable, str(HERE / "empty.py"), str(empty_port)])
        arguments = [sys.executable, "-m", "flyball.serving.supervisor", "--port", str(port)]
        server = subprocess.Popen(arguments, env=environment, stderr=subprocess.DEVNULL)
        try:
            wait_for(empty_port)
            wait_for(port)
            worker = (ask_socket(home / "serve.sock", {"command": "status"}) or {})["workers"][0]["pid"]
            for target in (empty_port, port):
                load(target, bodies, given.connections, 1.0)
            ratios, empties, ours = [], [], []
            print(
                f"{'round':>5} {'empty ASGI':>12} {'Flyball':>10} {'ratio':>6}  (requests/s, p99 ms of Flyball)"
            )
            for number in range(given.rounds):
                rival = load(empty_port, bodies, given.connections, given.seconds)
                mine = load(port, bodies, given.connections, given.seconds)
                if mine["bad"] or mine["broken"]:
                    raise SystemExit(
                        f"{mine['bad']} bad answers, {mine['broken']} broken: {mine['first_bad']}"
                    )
                empties.append(rival["per_second"])
                ours.append(mine["per_second"])
                ratios.append(mine["per_second"] / rival["per_second"])
                print(
                    f"{number + 1:>5} {empties[-1]:>12,.0f} {ours[-1]:>10,.0f} {ratios[-1]:>6.2f}  {mine['p99_ms']:.1f}"
                )
            print(
                f"median {statistics.median(empties):,.0f} and {statistics.median(ours):,.0f} requests/s at "
                f"{given.connections} connections: ratio {statistics.median(ratios):.2f} (expected: at least 0.40)"
            )
            print(f"memory of the worker (PSS): {pss_mb(worker):.0f} MB (limit 250 MB)")
        finally:
            server.terminate()
            empty.terminate()
            server.wait()
            empty.wait()


if __name__ == "__main__":
    main()
