"""A fork's pull request that means harm, checked with read-only credentials: a report, an honest verdict, no traces."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flyball_tests_repositories import commit_all, git
from flyball_tests_runs import LINE, TOML, make_rows

from flyball.backends.executors.confine import can_confine

pytestmark = pytest.mark.skipif(
    not can_confine(), reason="this kernel can't take folders away from a process"
)

GATE = '[[gates]]\nmetric = "mae"\nmax = 1.0\n'
# Never whole in the attacker's own files: what is found of it later came from where it was planted.
MARK = "plant" + "ed5ecret"

ATTACK = """
import glob
import json
import os
import socket
import subprocess
import sys
import tempfile
import urllib.request

import polars as pl

PLACES = json.loads({places!r})
MARK = "plant" + "ed5ecret"


def _found(text):
    if MARK in text:
        print("stolen:", text)
        raise RuntimeError("a secret was found")
    raise PermissionError


def _read(path):
    with open(path, errors="replace") as file:
        file.read()
    print("could read", path)


def _write(path):
    with open(path, "a") as file:
        file.write("poison")
    os.unlink(path)


def _processes():
    for path in glob.glob("/proc/[0-9]*/environ"):
        try:
            with open(path, errors="replace") as file:
                text = file.read()
        except OSError:
            continue
        if MARK in text:
            return _found(text)
    raise PermissionError


def _signal_parents():
    pid, reached = os.getppid(), []
    while pid > 1:
        try:
            os.kill(pid, 0)
            reached.append(pid)
        except PermissionError:
            pass
        with open(f"/proc/{{pid}}/stat") as file:
            pid = int(file.read().rsplit(")", 1)[1].split()[1])
    if not reached:
        raise PermissionError


def _put():
    url = PLACES["endpoint"] + "/" + PLACES["bucket"] + "/flyball/cache/steps/" + "0" * 64 + ".json"
    signed = "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0"
    headers = {{"Authorization": signed}}
    request = urllib.request.Request(url, data=b"poison", headers=headers, method="PUT")
    urllib.request.build_opener(urllib.request.ProxyHandler({{}})).open(request, timeout=5)


def _connect(kind):
    host, port = PLACES["endpoint"].rpartition("/")[2].split(":")
    with socket.socket(socket.AF_INET, kind) as made:
        made.connect((host, int(port)))
        made.send(b"rows")


def _child_connects():
    code = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])))"
    where = PLACES["endpoint"].rpartition("/")[2].split(":")
    if subprocess.run([sys.executable, "-c", code, *where], capture_output=True).returncode:
        raise PermissionError


def truth():
    for pattern in (PLACES["home"] + "/runs/*/held_out/test.parquet", "../*/held_out/test.parquet", "held_out/*"):
        for path in glob.glob(pattern):
            return pl.read_parquet(path)["y"].to_list()
    raise PermissionError


def attempts():
    user, home, repository = PLACES["user"], PLACES["home"], PLACES["repository"]
    entry = "/cache/steps/" + "0" * 64
    yield "environment", lambda: _found(str(dict(os.environ)))
    yield "environment of other processes", _processes
    for path in (user + "/.ssh/id_rsa", user + "/.aws/credentials", repository + "/.git/config", home + "/settings"):
        yield "read " + path, lambda path=path: _read(path)
    for folder in (home, user, os.path.dirname(tempfile.gettempdir())):
        yield "list " + folder, lambda folder=folder: os.listdir(folder)
    for path in (
        PLACES["outside"] + "/made", PLACES["runner"], user + "/.ssh/authorized_keys", user + "/.bashrc",
        repository + "/.git/hooks/post-checkout", repository + "/made.py", repository + "/out/report.json",
        home + "/made", home + entry + ".json", home + "/objects" + entry + ".json",
        home + "/cache/steps/" + "0" * 64 + ".parquet",
    ):
        yield "write " + path, lambda path=path: _write(path)
    yield "signal what started it", _signal_parents
    yield "write to the bucket", _put
    yield "connect by TCP", lambda: _connect(socket.SOCK_STREAM)
    yield "send by UDP", lambda: _connect(socket.SOCK_DGRAM)
    yield "socket of a daemon", lambda: socket.socket(socket.AF_UNIX)
    yield "a child connects", _child_connects


def attack(where):
    worked = []
    for what, work in attempts():
        try:
            work()
            worked.append(what)
        except OSError:
            pass
        except RuntimeError as error:
            worked.append(f"{{what}} ({{error}})")
    outliving = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
    subprocess.Popen([sys.executable, "-c", outliving, PLACES["outliving"]], start_new_session=True)
    print(f"attack in {{where}}: {{worked or 'nothing'}} worked")
    return worked
"""

TESTS = """
import attack
import conftest


def test_attack():
    assert attack.attack("own tests") == [] == conftest.WORKED
"""

CONFTEST = """
import attack

WORKED = attack.attack("conftest")
"""

MODEL_TESTS = """
import time

from attack import attack


def test_attack():
    assert attack("model tests") == []


def test_that_hangs():
    time.sleep(600)
"""

STEP = """
import attack


def build(rows):
    attack.attack("step")
    return rows
"""

# It trains a bad model, whose answers are those that it finds in the held-out rows, if it does.
TRAIN = LINE.replace("import json\n", "import json\n\nimport attack\n").replace(
    '        return [self.shift', '        attack.attack("answers")\n'
    '        try:\n            known = attack.truth()\n            return known[: rows.height]\n'
    '        except OSError:\n            pass\n        return [self.shift'
).replace("    x = X[:, 0]\n", '    attack.attack("training")\n    x = X[:, 0]\n').replace(
    '"slope", 2.0', '"slope", 0.5'
)  # fmt: skip


def _flyball(*arguments: str, cwd: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-m", "flyball", *arguments]
    return subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=120, check=False
    )


class Bucket:
    """A bucket on an S3 server that asks for signatures, with a key that may write and one that may only read."""

    def __init__(self, endpoint: str) -> None:
        import boto3

        self.endpoint, self.name = endpoint, f"guarded-{uuid.uuid4().hex}"
        known = {"aws_access_key_id": "test", "aws_secret_access_key": "test", "region_name": "us-east-1"}
        boto3.client("s3", endpoint_url=endpoint, **known).create_bucket(Bucket=self.name)
        self._iam = boto3.client("iam", endpoint_url=endpoint, **known)
        self.writer = self._key(["s3:*"])
        self.reader = self._key(["s3:GetObject", "s3:ListBucket"])
        self._ask_for_signatures("0")

    def _key(self, actions: list[str]) -> dict[str, str]:
        name = f"user-{uuid.uuid4().hex[:12]}"
        self._iam.create_user(UserName=name)
        statement = {"Effect": "Allow", "Action": actions, "Resource": "*"}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        self._iam.put_user_policy(UserName=name, PolicyName="its-own", PolicyDocument=policy)
        key = self._iam.create_access_key(UserName=name)["AccessKey"]
        return {
            "AWS_ACCESS_KEY_ID": key["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"],
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_REGION": "us-east-1",
            "FLYBALL_OBJECTS": f"s3://{self.name}/flyball",
        }

    def _ask_for_signatures(self, after: str) -> None:
        url, kind = f"{self.endpoint}/moto-api/reset-auth", {"content-type": "text/plain"}
        request = urllib.request.Request(url, data=after.encode(), headers=kind, method="POST")
        urllib.request.urlopen(request, timeout=10).close()

    def listing(self) -> dict[str, str]:
        """Name and ETag of everything in it."""
        import boto3

        writer = {name.lower(): value for name, value in self.writer.items() if name.startswith("AWS_")}
        keys = {name: writer[name] for name in ("aws_access_key_id", "aws_secret_access_key")}
        client = boto3.client("s3", endpoint_url=self.endpoint, region_name="us-east-1", **keys)
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=self.name)
        return {found["Key"]: found["ETag"] for page in pages for found in page.get("Contents", [])}

    def close(self) -> None:
        self._ask_for_signatures("inf")


@pytest.fixture(scope="module")
def bucket(s3_server: str) -> Iterator[Bucket]:
    opened = Bucket(s3_server)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def repository(bucket: Bucket, child_environment: dict[str, str], tmp_path_factory: Any) -> Path:
    """A project whose first version is champion; champion and results of steps are in the bucket."""
    folder = tmp_path_factory.mktemp("team") / "line"
    folder.mkdir()
    (folder / "train.py").write_text(LINE)
    (folder / "rows.csv").write_text(make_rows())
    (folder / "flyball.toml").write_text(TOML.format(name="line", more=GATE))
    git(folder, "init", "--quiet", "--initial-branch=main", ".")
    commit_all(folder)
    environment = {**child_environment, **bucket.writer, "FLYBALL_HOME": str(folder.parent / "home")}
    done = _flyball("ci", cwd=folder, environment=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    done = _flyball("deploy", "line", "--why", "first", cwd=folder, environment=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


class Fork:
    """The job of a fork's pull request: a clone, a home, a user's folder with keys, and secrets all over the place."""

    def __init__(self, repository: Path, bucket: Bucket, folder: Path, environment: dict[str, str]) -> None:
        self.bucket, self.folder = bucket, folder
        self.clone, self.home, self.user = folder / "clone", folder / "home", folder / "user"
        self.outliving = f"outliving-{uuid.uuid4().hex}"
        git(folder, "clone", "--quiet", str(repository), str(self.clone))
        git(self.clone, "config", "http.extraheader", f"AUTHORIZATION: {MARK}-git")
        git(self.clone, "checkout", "--quiet", "-b", "change")
        for name in (".ssh/id_rsa", ".aws/credentials"):
            (self.user / name).parent.mkdir(parents=True)
            (self.user / name).write_text(f"{MARK}-{name}")
        self.home.mkdir()
        (self.home / "settings").write_text(f"{MARK}-home")
        (folder / "outside").mkdir()
        (folder / "runner").write_text("")
        self.environment = {
            **environment,
            **bucket.reader,
            "HOME": str(self.user),
            "FLYBALL_HOME": str(self.home),
            "FLYBALL_CACHE": "read",
            "FLYBALL_TOKEN": f"{MARK}-flyball",
            "GITHUB_TOKEN": f"{MARK}-github",
            "GITHUB_ENV": str(folder / "runner"),
            "DEPLOY_PASSWORD": f"{MARK}-deploy",
        }
        self.secrets = [MARK, bucket.reader["AWS_SECRET_ACCESS_KEY"]]

    def commit(self, files: dict[str, str]) -> None:
        """Change the project's files."""
        for name, text in files.items():
            (self.clone / name).parent.mkdir(parents=True, exist_ok=True)
            (self.clone / name).write_text(text)
        git(self.clone, "add", "--all", "--force")
        git(self.clone, "commit", "--quiet", "--message", "all is well")

    def attack(self) -> str:
        """The module with the attacks, for the places of this job."""
        places = {
            "user": str(self.user), "home": str(self.home), "repository": str(self.clone),
            "outside": str(self.folder / "outside"), "runner": str(self.folder / "runner"),
            "bucket": self.bucket.name, "endpoint": self.bucket.endpoint, "outliving": self.outliving,
        }  # fmt: skip
        return ATTACK.format(places=json.dumps(places))

    def state(self) -> dict[str, bytes]:
        """Everything that the change must not touch."""
        kept = [self.user, self.folder / "outside", self.clone]
        files = [path for folder in kept for path in folder.rglob("*") if path.is_file()]
        return {
            str(path): path.read_bytes()
            for path in [*files, self.folder / "runner"]
            if path.relative_to(self.folder).parts[:2] != ("clone", "out")
        }

    def left_running(self) -> list[str]:
        """Command lines of the processes that were to outlive the check."""
        found = []
        for entry in filter(str.isdecimal, os.listdir("/proc")):
            try:
                line = Path(f"/proc/{entry}/cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
            found += [line] if self.outliving in line else []
        return found


@pytest.fixture
def fork(repository: Path, bucket: Bucket, tmp_path: Path, child_environment: dict[str, str]) -> Fork:
    return Fork(repository, bucket, tmp_path, child_environment)


def _tables(url: str) -> list[str]:
    import sqlalchemy as sa

    engine = sa.create_engine(url.replace("postgresql://", "postgresql+psycopg://", 1))
    try:
        return sa.inspect(engine).get_table_names()
    finally:
        engine.dispose()


def test_a_hostile_change_gets_an_honest_report_and_leaves_nothing_behind(fork: Fork, postgres_url: str):
    fork.environment["FLYBALL_DATABASE"] = postgres_url.replace("postgres:@", f"postgres:{MARK}-database@")
    assert MARK in fork.environment["FLYBALL_DATABASE"]
    tables = _tables(postgres_url)
    # The one thing that is waited for is the test that hangs, until the project's own limit.
    toml = TOML.format(name="line", more=GATE).replace('timeout = "60s"', 'timeout = "6s"')
    fork.commit(
        {
            "attack.py": fork.attack(),
            "train.py": TRAIN,
            "features.py": STEP,
            "model_tests.py": MODEL_TESTS,
            "tests/test_line.py": TESTS,
            "tests/conftest.py": CONFTEST,
            "out/report.json": '{"outcome": "pass"}',
            "flyball.toml": toml + '[[steps]]\nname = "build"\nentry = "features:build"\nat = "train"\n',
        }
    )
    before, bucket_before = fork.state(), fork.bucket.listing()
    # The comparison with the base, which is not the change's code, has tests of its own.
    arguments = ("ci", "--report", "out", "--json", "--base", "HEAD")
    done = _flyball(*arguments, cwd=fork.clone, environment=fork.environment)
    said = done.stdout + done.stderr
    assert done.returncode == 1, said
    report = json.loads(done.stdout)
    assert report["outcome"] == "fail" and not report["registered"], said
    outcomes = {stage["name"]: stage["outcome"] for stage in report["stages"]}
    assert "own tests" in outcomes, said
    assert outcomes["own tests"] == "pass" and outcomes["gates"] == "fail", said
    # The champion that the routes in the bucket name is known, and it is still the one that was deployed.
    assert report["champion"]["number"] == 1
    tests = {test["name"]: test for test in report["tests"]}
    assert tests["test_that_hangs"]["outcome"] == "fail" and "6s" in tests["test_that_hangs"]["because"]

    log = "".join(path.read_text() for path in (fork.home / "runs").rglob("log*") if path.is_file())
    for where in ("step", "training", "model tests", "answers"):
        assert f"attack in {where}: nothing worked" in log, log
    assert log.count("attack in") == log.count("nothing worked")

    forms = {path.name: path.read_text() for path in (fork.clone / "out").rglob("*") if path.is_file()}
    kept = json.loads(forms["report.json"])
    assert [kept[name] for name in ("outcome", "commit", "stages")] == [
        report[name] for name in ("outcome", "commit", "stages")
    ]
    assert set(forms) >= {"report.md", "report.html", "report.json", "junit.xml", "report.sarif"}
    for secret in fork.secrets:
        assert all(secret not in text for text in (said, log, *forms.values()))
    assert fork.bucket.listing() == bucket_before
    assert fork.state() == before and _tables(postgres_url) == tables == []
    assert any("FLYBALL_DATABASE is not used" in warning for warning in report["warnings"])
    time.sleep(0.1)
    assert fork.left_running() == []


def test_rows_that_are_a_link_to_keys_are_neither_read_nor_shown(fork: Fork):
    (fork.user / "keys.csv").write_text(f"at,x,c,y,{MARK}\n" + make_rows().partition("\n")[2])
    (fork.clone / "rows.csv").unlink()
    (fork.clone / "rows.csv").symlink_to(fork.user / "keys.csv")
    fork.commit({"train.py": LINE})
    bucket_before = fork.bucket.listing()
    done = _flyball("ci", "--report", "out", cwd=fork.clone, environment=fork.environment)
    said = done.stdout + done.stderr
    assert done.returncode == 1 and "leads out of the repository" in said, said
    forms = [path.read_text() for path in (fork.clone / "out").rglob("*") if path.is_file()]
    assert len(forms) >= 5 and all(secret not in text for secret in fork.secrets for text in (said, *forms))
    assert fork.bucket.listing() == bucket_before


HONEST_TESTS = """
import multiprocessing
import urllib.request


def double(value):
    return 2 * value


def test_processes():
    with multiprocessing.Pool(2) as pool:
        assert pool.map(double, [1, 2]) == [2, 4]
"""


def test_an_honest_change_with_processes_of_its_own_and_a_parity_test_passes_without_network(fork: Fork):
    jobs = "    import joblib\n    assert joblib.Parallel(n_jobs=2)(map(joblib.delayed(abs), (-1, 1))) == [1, 1]\n"
    more = GATE + '[[tests]]\nkind = "parity"\n'
    fork.commit(
        {
            "train.py": LINE.replace("    x = X[:, 0]\n", jobs + "    x = X[:, 0]\n"),
            "tests/test_line.py": HONEST_TESTS,
            "flyball.toml": TOML.format(name="line", more=more),
        }
    )
    done = _flyball("ci", "--json", "--base", "HEAD", cwd=fork.clone, environment=fork.environment)
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(done.stdout)
    assert {test["kind"]: test["outcome"] for test in report["tests"]} == {"own": "pass", "parity": "pass"}


def test_an_honest_test_that_wanted_the_network_is_told_that_it_is_closed(fork: Fork, bucket: Bucket):
    asks = f"\n\ndef test_asks():\n    urllib.request.urlopen({bucket.endpoint + '/moto-api/'!r}, timeout=5).close()\n"
    fork.commit({"train.py": LINE, "tests/test_line.py": HONEST_TESTS + asks})
    done = _flyball("ci", "--report", "out", "--json", cwd=fork.clone, environment=fork.environment)
    assert done.returncode == 1, done.stdout + done.stderr
    told = "(the network is closed to a stranger's change, to servers on the same machine, too)"
    assert told in json.loads(done.stdout)["because"][0]
    assert told in (fork.clone / "out" / "report.md").read_text()
