"""An environment behind an address: what was tested is sent there, checked as it arrives, and deployed by its rules."""

from __future__ import annotations

import asyncio
import json
import select
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from flyball_tests_control import Control, open_home

from flyball.client import Client
from flyball.core.digests import canonical_json, digest_bytes
from flyball.core.errors import OwnApproval
from flyball.core.values import Actor
from flyball.operations.environments.receiving import LARGEST_RECORD_BYTES, SETTING
from flyball.operations.environments.transfer import Record, list_objects, read_record
from flyball.registry.bundle import check_objects, read_manifest
from flyball.registry.versions import get_version
from flyball.web.api import transfers
from flyball.web.api.transfers import MOST_UPLOADS
from flyball.web.application import build_application

V1 = "/api/v1"


@pytest.fixture
def far(empty_control: Control, monkeypatch: pytest.MonkeyPatch) -> Iterator[Control]:
    """A control plane at work on an empty home, which takes versions and is the environment staging."""
    empty_control.environment = {**empty_control.environment, SETTING: "1"}
    empty_control.start()
    monkeypatch.setenv("FLYBALL_STAGING_URL", empty_control.url)
    yield empty_control
    empty_control.kill()


@pytest.fixture
def record(staged: Any) -> Record:
    """What the home of `staged` knows of its first version."""
    with open_home(staged.home) as app:
        with app.backends.database.read() as conn:
            version = get_version(conn, "plant", 1)
        return read_record(app.backends, version, None)


def approve(control: Control, ref: str) -> None:
    with open_home(control.home) as app:
        app.approve(ref, why="looked at the slices", actor=Actor("grace", "person", "local:4711"))


def send_objects(staged: Any, control: Control, record: Record) -> None:
    """All objects of a record, but not the record."""
    with open_home(staged.home) as app, Client(control.url) as client:
        blobs = app.backends.blobs
        for digest in list_objects(blobs, record):
            client.put_object(digest, Path(blobs.url.removeprefix("file://"), blobs.object_key(digest)))


def stored(control: Control) -> set[str]:
    """Digests of the objects of a home."""
    folder = control.home / "objects" / "objects" / "sha256"
    return {f"sha256:{path.name}" for path in folder.glob("*/*")}


def test_what_was_tested_is_sent_to_an_address_and_deployed_there_once(staged, far):
    tested = staged.digest("plant@1")
    first = staged.json("deploy", "plant@1", "--env", "staging", "--why", "the tested one")
    assert (first["digest"], first["taken_version"], first["state"], first["first"]) == (
        tested,
        1,
        "promoted",
        True,
    )
    assert first["copied"] > 5 and staged.champion("staging") == 1
    here, there = staged.json("show", "plant@1"), staged.json("show", "plant@champion", "--env", "staging")
    for key in ("digest", "snapshot", "source_tree", "environment", "metrics", "params", "project", "author"):
        assert there["version"][key] == here["version"][key], key
    found = {item["kind"]: item for item in there["evidence"]}
    (evaluation,) = [item["facts"] for item in here["evidence"] if item["kind"] == "evaluation"]
    assert found["evaluation"]["facts"] == evaluation
    assert (found["origin"]["facts"]["number"], found["origin"]["facts"]["folder"]) == (1, None)
    again = staged.json("deploy", "plant@1", "--env", "staging", "--why", "the tested one")
    assert (again["version"], again["copied"], again["state"]) == (1, 0, "promoted")
    assert "nothing was changed" in again["because"]
    better = staged.digest("plant@2")
    staged.say("deploy", "plant@2", "--env", "staging", "--strategy", "immediate", "--why", "more trees")
    assert staged.digest("plant@champion", "--env", "staging") == better
    begun = staged.json("deploy", "plant@1", "--env", "staging", "--why", "a canary")
    repeat = staged.json("deploy", "plant@1", "--env", "staging", "--why", "a canary")
    assert (begun["state"], repeat["rollout_id"]) == ("running", begun["rollout_id"])
    assert staged.json("audit", "verify", "--env", "staging")["ok"]
    there = staged.say("show", "plant@9", "--env", "staging", code=2)
    assert "`flyball versions plant --env staging` lists them" in there.err
    here = staged.say("deploy", "plant@9", "--env", "staging", code=2)
    assert "`flyball versions plant` lists them" in here.err
    with open_home(far.home) as app:
        for digest in (tested, better):
            check_objects(digest, app.backends.blobs)
        assert [version.number for version in app.list_versions("plant")] == [2, 1]


def test_as_many_approvals_as_the_strictest_side_asks_for_and_never_the_authors_own(staged, far):
    project = staged.folder / "flyball.toml"
    plain = project.read_text()
    project.write_text(plain.replace("[environments.staging]", "[environments.staging]\napprovals = 1"))
    waiting = staged.json("deploy", "plant@1", "--env", "staging", "--why", "a")
    assert (waiting["state"], waiting["waiting_for"], staged.champion("staging")) == ("waiting", 1, None)
    with open_home(far.home) as app, pytest.raises(OwnApproval):
        app.approve("plant@1", why="it is mine, by my number, from another machine")
    approve(far, "plant@1")
    done = staged.json("deploy", "plant@1", "--env", "staging", "--why", "a")
    assert (done["state"], staged.champion("staging")) == ("promoted", 1)
    # What is in force there asks for one; a file that asks for none can't take that back.
    project.write_text(plain)
    for _ in range(2):
        more = staged.json("deploy", "plant@2", "--env", "staging", "--why", "b")
        assert (more["state"], more["waiting_for"]) == ("waiting", 1)


def test_gates_of_an_environment_are_judged_against_the_champion_behind_its_address(staged, far):
    project = staged.folder / "flyball.toml"
    plain = project.read_text()
    for rule, code, word in (
        ('metric = "mae"\nmax = 0.001', 1, "fails what staging asks for"),
        ('metric = "mae"\nmax = 100.0\nconfidence = 0.9', 4, "leaves undecided what staging asks for"),
    ):
        project.write_text(f"{plain}\n[[environments.staging.gates]]\n{rule}\n")
        said = staged.say("deploy", "plant@1", "--env", "staging", "--why", "x", code=code)
        assert word in said.err
    assert staged.json("models", "--env", "staging") == [] and stored(far) == set()
    project.write_text(f'{plain}\n[[environments.staging.gates]]\nmetric = "mae"\nmax = 100.0\n')
    staged.say("deploy", "plant@1", "--env", "staging", "--why", "x")
    (gate,) = staged.json("show", "plant@1", "--env", "staging")["gates"]
    assert (gate["environment"], gate["outcome"]) == ("staging", "pass")
    # Version 2 was compared with version 1, which serves there.
    versus = 'metric = "mae"\nversus = "champion"\nmax_increase = 50.0'
    project.write_text(f"{plain}\n[[environments.staging.gates]]\n{versus}\n")
    staged.say("deploy", "plant@2", "--env", "staging", "--why", "x")


def test_a_control_plane_takes_nothing_unless_it_was_told_to(staged, empty_control, monkeypatch):
    empty_control.start()
    monkeypatch.setenv("FLYBALL_STAGING_URL", empty_control.url)
    said = staged.say("deploy", "plant@1", "--env", "staging", "--why", "x", code=1)
    assert "environment staging: this control plane takes no versions" in said.err and SETTING in said.err
    for method, path, body in (
        ("PUT", f"{V1}/objects/{digest_bytes(b'x')}", b"x"),
        ("POST", f"{V1}/objects/missing", {"digests": [digest_bytes(b"x")]}),
        ("POST", f"{V1}/models/plant/versions", {"record": digest_bytes(b"x")}),
        ("POST", f"{V1}/models/plant/deploy", {"version": 1, "settings": {}}),
    ):
        assert empty_control.ask(method, path, body).status == 403, path
    assert stored(empty_control) == set()


def test_an_object_is_kept_only_whole_and_under_the_digest_of_its_bytes(far):
    check_digests(far)
    check_sizes(far)
    check_crowd(far)
    assert "broke" not in far.log()


def check_digests(far: Control) -> None:
    data, other = b"the bytes that were tested", b"the bytes that were twisted"
    path = f"{V1}/objects/{digest_bytes(data)}"
    assert far.ask("PUT", path, data, {"Origin": "http://evil.example"}).status == 403
    wrong = far.ask("PUT", path, other)
    assert wrong.status == 422 and digest_bytes(other) in wrong.json()["detail"]
    assert stored(far) == set()
    for name in ("sha256:" + "A" * 64, digest_bytes(data) + "%0A", "..%2F..%2Fx", "sha256:" + "0" * 63):
        assert far.ask("PUT", f"{V1}/objects/{name}", data).status in (404, 422), name
    assert [far.ask("PUT", path, data).json()["stored"] for _ in range(2)] == [True, False]
    assert stored(far) == {digest_bytes(data)}
    asked = {"digests": [digest_bytes(data), digest_bytes(other)]}
    assert far.ask("POST", f"{V1}/objects/missing", asked).json() == {"missing": [digest_bytes(other)]}
    assert far.ask("POST", f"{V1}/objects/missing", {"digests": ["x" * 71]}).status == 422
    many = {"digests": [digest_bytes(data)] * 10_001}
    assert far.ask("POST", f"{V1}/objects/missing", many).status == 400


def first_line(control: Control, head: str, body: bytes = b"", *, leaves: bool = False) -> bytes:
    """How the answer begins to a request of which only so much is sent; leaves: and then nobody waits for it."""
    with socket.create_connection(("127.0.0.1", control.port), timeout=20) as connection:
        host = f"Host: 127.0.0.1:{control.port}\r\nOrigin: {control.url}\r\n"
        line, _, more = head.partition("\r\n")
        connection.sendall(f"{line} HTTP/1.1\r\n{host}{more}\r\n".encode() + body)
        if leaves:
            connection.shutdown(socket.SHUT_WR)
        answer = b""
        while b"\r\n" not in answer and (piece := connection.recv(65536)):
            answer += piece
        return answer.split(b"\r\n")[0]


def check_sizes(far: Control) -> None:
    path, before = f"{V1}/objects/{digest_bytes(b'whole')}", stored(far)
    assert b" 413 " in first_line(far, f"PUT {path}\r\nContent-Length: {2 << 30}\r\n", b"x" * 1000)
    assert b" 411 " in first_line(
        far, f"PUT {path}\r\nTransfer-Encoding: chunked\r\n", b"5\r\nwhole\r\n0\r\n\r\n"
    )
    first_line(far, f"PUT {path}\r\nContent-Length: 5\r\n", b"who", leaves=True)
    assert stored(far) == before
    assert far.ask("PUT", path, b"whole").json()["stored"] is True
    # Nothing of it has to come a second time.
    assert b" 200 " in first_line(far, f"PUT {path}\r\nContent-Length: 5\r\n")


def check_crowd(far: Control) -> None:
    """A few objects at once are taken, so that what is half there stays within bounds."""
    head = "PUT {} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nOrigin: {}\r\nContent-Length: 9\r\n\r\nabc"
    paths = [f"{V1}/objects/{digest_bytes(bytes([number]))}" for number in range(MOST_UPLOADS + 1)]
    crowd = [socket.create_connection(("127.0.0.1", far.port), timeout=20) for _ in paths]
    for connection, path in zip(crowd, paths, strict=True):
        connection.sendall(head.format(path, far.port, far.url).encode())
    (refused,), _, _ = select.select(crowd, [], [], 20)
    assert b" 503 " in refused.recv(4096).split(b"\r\n")[0]
    assert far.ask("GET", f"{V1}/health").status == 200
    for connection in crowd:
        connection.close()
    deadline = time.monotonic() + 20
    while far.ask("PUT", f"{V1}/objects/{digest_bytes(b'one more')}", b"one more").status != 200:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_an_object_that_does_not_come_to_its_end_is_given_up(tmp_path, monkeypatch):
    from flyball.app import open_control
    from flyball.core.settings import read_settings

    monkeypatch.setenv(SETTING, "1")
    monkeypatch.setattr(transfers, "FIRST_SECONDS", 0.05)
    control = open_control(read_settings(tmp_path, {"FLYBALL_HOME": str(tmp_path / "home")}), None)
    application, state = build_application(control)
    sent: list[Any] = []

    async def receive() -> Any:
        if not state.uploads or sent:
            raise AssertionError("asked for too early, or too late")
        await asyncio.sleep(20)

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"host", b"localhost"), (b"origin", b"http://localhost"), (b"content-length", b"9")]
    path = f"{V1}/objects/{digest_bytes(b'slow')}"
    scope = {"type": "http", "method": "PUT", "path": path, "query_string": b"", "headers": headers}
    asyncio.run(application(scope, receive, send))
    assert (sent[0]["status"], state.uploads) == (408, 0)
    assert b"did not arrive within" in sent[1]["body"]
    control.backends.close()


def twisted(record: Record, **fields: Any) -> bytes:
    version = msgspec.structs.replace(record.version, **fields)
    return canonical_json(msgspec.structs.replace(record, version=version))


HOSTILE: dict[str, tuple[Callable[[Record], bytes], int, str]] = {
    "another model": (lambda r: twisted(r, model="other"), 422, "it is about 'other'"),
    "a path for a model": (lambda r: twisted(r, model="../x"), 422, "it is about"),
    "a digest of no bundle": (
        lambda r: canonical_json(
            msgspec.structs.replace(
                r,
                version=msgspec.structs.replace(r.version, digest=r.version.source_tree),
                origin=r.origin | {"digest": r.version.source_tree},
            )
        ),
        422,
        "no manifest of a bundle",
    ),
    "two bundles": (lambda r: twisted(r, digest=digest_bytes(b"x")), 422, "two bundles"),
    "objects that are not there": (
        lambda r: twisted(r, source_tree=digest_bytes(b"gone")),
        409,
        "are not here",
    ),
    "one that failed": (lambda r: twisted(r, state="refused"), 422, "failed its gates"),
    "another task": (lambda r: twisted(r, task="binary"), 422, "regression model"),
    "rows that are a path": (lambda r: twisted(r, lineage={"trained_rows": "../x"}), 422, "trained_rows"),
    "rows that are no text": (lambda r: twisted(r, lineage={"trained_rows": 7}), 422, "trained_rows"),
    "settings of no project": (lambda r: twisted(r, project={"rm": "-rf"}), 422, "the settings"),
    "a duration that is none": (
        lambda r: twisted(r, project=r.version.project | {"rollout": {"bake": "soon"}}),
        422,
        "rollout.bake",
    ),
    "an author without end": (lambda r: twisted(r, author="a" * 300), 422, "255 characters"),
    "a zero character": (lambda r: twisted(r, why="a\0b"), 422, "zero character"),
    "no rows at all": (lambda r: twisted(r, snapshot=None), 422, "other rows"),
    "a number for a text": (
        lambda r: json.dumps(json.loads(canonical_json(r)) | {"origin": {"digest": 7}}).encode(),
        422,
        "tells no origin",
    ),
    "a later format": (
        lambda r: json.dumps(json.loads(canonical_json(r)) | {"format": 9}).encode(),
        409,
        "update Flyball",
    ),
    "no JSON": (lambda _: b"\x80\x04pickle", 422, "no record"),
    "JSON without end": (lambda _: b'{"format":' + b"[" * 100_000, 422, "no record"),
    "a huge one": (lambda _: b" " * (LARGEST_RECORD_BYTES + 1), 422, "longer than 8 MiB"),
}


def test_a_record_that_lies_registers_nothing_and_a_true_one_does(staged, far, record):
    send_objects(staged, far, record)
    path = f"{V1}/models/plant/versions"

    def send(data: bytes) -> Any:
        digest = digest_bytes(data)
        assert far.ask("PUT", f"{V1}/objects/{digest}", data).status == 200
        return far.ask("POST", path, {"record": digest})

    for what, (make, status, words) in HOSTILE.items():
        answer = send(make(record))
        assert (answer.status, words in answer.json()["detail"]) == (status, True), (what, answer.json())
    assert far.ask("POST", path, {"record": digest_bytes(b"never sent")}).status == 409
    assert far.ask("POST", path, {"record": digest_bytes(b"x"), "author": "me"}).status == 400
    assert far.ask("GET", f"{V1}/models").json()["items"] == []
    # Whether a bundle brings code is read in the bundle.
    first = send(twisted(record, isolated=not record.version.isolated)).json()
    # What a later release may add within the format is passed over.
    again = send(json.dumps(json.loads(canonical_json(record)) | {"role": "admin"}).encode()).json()
    assert (first["version"], first["was_known"], again["version"], again["was_known"]) == (1, False, 1, True)
    shown = far.ask("GET", f"{V1}/models/plant/versions/1").json()["version"]
    assert (shown["isolated"], shown["digest"]) == (record.version.isolated, record.version.digest)
    assert far.ask("GET", f"{V1}/audit/verify").json()["ok"]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, "settings can't be used"),
        ({"rollout": {"bake": "soon"}}, "rollout.bake"),
        ({"rollout": {"approvals": -1}}, "rollout.approvals"),
        ({"model": {"name": "other", "task": "regression", "target": "yield"}}, "about other"),
        ({"unknown": 1}, "unknown"),
    ],
)
def test_settings_that_no_project_file_could_have_deploy_nothing(staged, record, settings, words):
    from flyball.core.errors import BadInput
    from flyball.core.refs import parse_ref
    from flyball.operations.environments.receiving import deploy_under

    sent = settings and record.version.project | settings
    with open_home(staged.home) as app:
        before = app.audit_log(None, 1)
        with pytest.raises(BadInput, match=words):
            deploy_under(app.backends, parse_ref("plant@2"), sent, why="x", actor=Actor("ada"))
        assert app.audit_log(None, 1) == before


def test_a_damaged_object_is_not_sent_and_one_damaged_there_is_not_deployed(staged, far, record):
    with open_home(staged.home) as app:
        file = read_manifest(record.version.digest, app.backends.blobs).files[0]
        key = app.backends.blobs.object_key(file.digest)
    path = staged.home / "objects" / key
    whole = path.read_bytes()
    path.chmod(0o600)
    path.write_bytes(b"x" + whole[1:])
    said = staged.say("deploy", "plant@1", "--env", "staging", "--why", "x", code=3)
    assert file.digest in said.err and "other bytes" in said.err
    assert staged.json("models", "--env", "staging") == []
    path.write_bytes(whole)
    send_objects(staged, far, record)
    there = far.home / "objects" / key
    there.chmod(0o600)
    there.write_bytes(b"x" + whole[1:])
    said = staged.say("deploy", "plant@1", "--env", "staging", "--why", "x", code=3)
    assert "environment staging" in said.err and file.digest in said.err
    assert staged.json("models", "--env", "staging") == []
    there.write_bytes(whole)
    assert staged.json("deploy", "plant@1", "--env", "staging", "--why", "x")["state"] == "promoted"


def test_a_control_plane_that_dies_half_way_has_registered_nothing_and_a_repeat_finishes(
    staged, far, monkeypatch
):
    put, sent = Client.put_object, list[str]()

    def put_some(client: Client, digest: str, path: Path) -> None:
        if len(sent) == 3:
            far.kill()
        sent.append(digest)
        put(client, digest, path)

    monkeypatch.setattr(Client, "put_object", put_some)
    said = staged.say("deploy", "plant@1", "--env", "staging", "--why", "x", code=3)
    assert "environment staging" in said.err and "does not answer" in said.err
    assert stored(far) == set(sent[:3])
    far.start()
    monkeypatch.setenv("FLYBALL_STAGING_URL", far.url)
    assert staged.json("models", "--env", "staging") == []
    done = staged.json("deploy", "plant@1", "--env", "staging", "--why", "x")
    assert (done["state"], done["digest"]) == ("promoted", staged.digest("plant@1"))
    assert not set(sent[:3]) & set(sent[4:]) and staged.champion("staging") == 1
    assert [found["number"] for found in staged.json("versions", "plant", "--env", "staging")] == [1]
