"""The calls of etcd's API v3 by their path: request and answer. Used by the client here and by ``sampan``'s own server
of that interface. Calls that are no single question and answer are in ``STREAMS``.
"""

from __future__ import annotations

from typing import Any, Final

from sampan.store.etcd.pb import etcd_pb2 as pb


def _of(service: str, names: dict[str, str]) -> dict[str, tuple[Any, Any]]:
    """``names``: the call and what its messages are named after."""
    return {
        f"/etcdserverpb.{service}/{call}": (getattr(pb, f"{message}Request"), getattr(pb, f"{message}Response"))
        for call, message in names.items()
    }


def _same(*names: str) -> dict[str, str]:
    return {name: name for name in names}


KV: Final = _of("KV", {**_same("Range", "Put", "DeleteRange", "Txn"), "Compact": "Compaction"})
LEASE: Final = _of("Lease", _same("LeaseGrant", "LeaseRevoke", "LeaseTimeToLive", "LeaseLeases"))
CLUSTER: Final = _of("Cluster", _same("MemberAdd", "MemberRemove", "MemberUpdate", "MemberList", "MemberPromote"))
MAINTENANCE: Final = _of("Maintenance", _same("Alarm", "Status", "Defragment", "Hash", "HashKV", "MoveLeader"))
AUTH: Final = _of(
    "Auth",
    {
        **_same("AuthEnable", "Authenticate"),
        "UserAdd": "AuthUserAdd",
        "UserGrantRole": "AuthUserGrantRole",
    },
)

METHODS: Final = {**KV, **LEASE, **CLUSTER, **MAINTENANCE, **AUTH}

WATCH: Final = "/etcdserverpb.Watch/Watch"
KEEP_ALIVE: Final = "/etcdserverpb.Lease/LeaseKeepAlive"
SNAPSHOT: Final = "/etcdserverpb.Maintenance/Snapshot"
STREAMS: Final = {
    WATCH: (pb.WatchRequest, pb.WatchResponse),
    KEEP_ALIVE: (pb.LeaseKeepAliveRequest, pb.LeaseKeepAliveResponse),
    SNAPSHOT: (pb.SnapshotRequest, pb.SnapshotResponse),
}
