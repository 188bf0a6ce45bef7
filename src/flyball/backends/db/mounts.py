"""Which file system a path lies on, as far as Linux tells."""

from __future__ import annotations

from pathlib import Path

# Kinds whose locks or memory maps SQLite's WAL can't rely on.
_NETWORK = frozenset(
    (
        "nfs",
        "nfs4",
        "cifs",
        "smb3",
        "smbfs",
        "ncpfs",
        "afs",
        "coda",
        "ceph",
        "glusterfs",
        "lustre",
        "gpfs",
        "beegfs",
        "davfs",
        "ocfs2",
        "gfs2",
        "fuse.sshfs",
        "fuse.glusterfs",
        "fuse.ceph",
        "fuse.s3fs",
        "fuse.gcsfuse",
        "fuse.rclone",
        "fuse.davfs",
    )
)


def network_kind(path: Path, mounts: str | None = None) -> str | None:
    """The kind of network file system that holds `path`, or None for a local one (and where nobody can tell).

    mounts: the text of /proc/mounts; read from there when not given.
    """
    if mounts is None:
        try:
            mounts = Path("/proc/mounts").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return None
    best, kind = -1, ""
    for line in mounts.splitlines():
        fields = line.split(" ")
        if len(fields) < 3:
            continue
        point = Path(fields[1].encode("latin-1", "replace").decode("unicode_escape"))
        # Later mounts hide earlier ones at the same point, hence >=.
        if path.is_relative_to(point) and len(point.parts) >= best:
            best, kind = len(point.parts), fields[2]
    return kind if kind in _NETWORK else None
