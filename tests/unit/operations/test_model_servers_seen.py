from __future__ import annotations

from typing import Any

from flyball.backends.processes import this_process
from flyball.core.errors import BlobsUnavailable
from flyball.operations.servers import ModelServers

OWN = this_process()


def note(worker: str, problem: str, **changes: Any) -> dict[str, Any]:
    """What a worker has published: this process, unless changed."""
    said = {"worker": worker, "problems": {"bike": problem}}
    return {**said, "host": OWN.host, "pid": OWN.pid, "started": OWN.started, **changes}


def told(*workers: dict[str, Any], here: dict[str, Any] | None = None) -> list[str]:
    servers = ModelServers(here=here, workers=list(workers), unread=None)
    return [f"{found.problem} {found.workers}" for found in servers.problems()]


def test_a_killed_workers_complaint_is_not_that_of_the_process_that_has_its_number_now():
    assert told(note("w1", "damaged")) == ["damaged 1"]
    assert told(note("w1", "damaged", started=OWN.started - 1)) == []


def test_processes_of_other_machines_and_containers_can_not_be_looked_up_and_are_believed():
    name, boot, namespace = OWN.host.split("/")
    others = [f"other/{boot}/{namespace}", f"{name}/{boot}/1", f"{name}/00000000/{namespace}"]
    notes = [note(f"w{n}", "damaged", host=host, pid=2**22 + 1) for n, host in enumerate(others)]
    assert told(*notes) == ["damaged 3"]
    assert told(
        {"worker": "of an older release", "problems": {"bike": "damaged"}, "host": name, "pid": 1}
    ) == ["damaged 1"]


def test_what_the_server_of_this_home_says_itself_counts_once_and_without_any_store():
    here = {"workers": [{"worker": "w1", "problems": {"bike": "mended", "boat": "gone"}}]}
    assert told(note("w1", "damaged"), here=here) == ["mended 1", "gone 1"]
    servers = ModelServers(here=here, workers=[], unread=BlobsUnavailable("away"))
    assert [found.about for found in servers.problems()] == ["bike", "boat"]
