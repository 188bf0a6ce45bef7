"""Which file system a path lies on."""

from __future__ import annotations

from pathlib import Path

import pytest

from flyball.backends.db.mounts import network_kind

MOUNTS = r"""/dev/sda1 / ext4 rw 0 0
proc /proc proc rw 0 0
server:/home /home nfs4 rw 0 0
/dev/sdb1 /home/ann/local xfs rw 0 0
//box/share /mnt/two\040words cifs rw 0 0
broken line
/dev/sdc1 /data ext4 rw 0 0
user@host: /data fuse.sshfs rw 0 0
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/var/lib/flyball", None),
        ("/home/ann/project/.flyball", "nfs4"),
        ("/home/ann/local/.flyball", None),
        ("/homes/x", None),
        ("/mnt/two words/x", "cifs"),
        ("/data/x", "fuse.sshfs"),
    ],
)
def test_the_deepest_and_latest_mount_decides(path: str, kind: str | None) -> None:
    assert network_kind(Path(path), MOUNTS) == kind


def test_where_nobody_can_tell_it_is_local() -> None:
    assert network_kind(Path("/x"), "") is None
