"""The member of this machine: where it lives, what it is told, how it is started.

Its configuration's being there is what makes it one of the supervisor's children. The supervisor, which always runs,
imports this: the standard library and orjson alone. Speaks to no etcd (``members`` does).
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from sampan.cluster.instance import Instance

NAME = "etcd"
PROGRAM = "etcd"
PACKAGE = "etcd-server"
#: A value as long as the API server takes, and what is around it in a transaction: etcd's 1.5 MiB are for both.
MAX_REQUEST_BYTES = 2 << 20


def folder(instance: Instance) -> Path:
    return instance.state / "etcd"


def data(instance: Instance) -> Path:
    return folder(instance) / "data"


def config_file(instance: Instance) -> Path:
    return folder(instance) / "etcd.json"


def members_file(instance: Instance) -> Path:
    """The client addresses of all members, as this machine knew them last."""
    return folder(instance) / "members.json"


def program(instance: Instance) -> str | None:
    """Where it is; None: nowhere."""
    return shutil.which(instance.node.etcd_program or PROGRAM)


def command(instance: Instance) -> tuple[str, ...]:
    return (program(instance) or instance.node.etcd_program or PROGRAM, "--config-file", str(config_file(instance)))


def address(instance: Instance) -> str:
    """Where other members and control planes reach it."""
    found = next(iter(instance.node.addresses), "127.0.0.1")
    return f"[{found}]" if ":" in found else found


def peer_url(instance: Instance) -> str:
    return f"https://{address(instance)}:{instance.node.etcd_peer_port}"


def own_endpoint(instance: Instance) -> str:
    return f"127.0.0.1:{instance.node.etcd_client_port}"


def render(instance: Instance, initial: Mapping[str, str], *, existing: bool) -> bytes:
    """``initial``: peer URLs of the members that the cluster begins with, or had when this one was added, by name.
    ``existing``: it joins a cluster that runs. Both mean nothing once the member has data."""
    pki = instance.pki / "etcd"
    port = instance.node.etcd_client_port
    clients = dict.fromkeys((f"https://127.0.0.1:{port}", f"https://{address(instance)}:{port}"))
    security = {"client-cert-auth": True, "trusted-ca-file": str(pki / "ca.crt")}
    return orjson.dumps(
        {
            "name": instance.node.name,
            "data-dir": str(data(instance)),
            "listen-client-urls": ",".join(clients),
            "advertise-client-urls": f"https://{address(instance)}:{port}",
            "listen-peer-urls": peer_url(instance),
            "initial-advertise-peer-urls": peer_url(instance),
            "initial-cluster": ",".join(f"{name}={url}" for name, url in initial.items()),
            "initial-cluster-state": "existing" if existing else "new",
            "initial-cluster-token": f"sampan-{instance.name}",
            "client-transport-security": {
                "cert-file": str(pki / "server.crt"),
                "key-file": str(pki / "server.key"),
                **security,
            },
            "peer-transport-security": {
                "cert-file": str(pki / "peer.crt"),
                "key-file": str(pki / "peer.key"),
                **security,
            },
            "max-request-bytes": MAX_REQUEST_BYTES,
            "logger": "zap",
            "log-level": "warn",
        },
        option=orjson.OPT_INDENT_2,
    )


def write_config(instance: Instance, initial: Mapping[str, str] | None = None) -> None:
    """``initial``: of a member that joins, which is added already: all peer URLs by name, its own too. None: as it was
    said before, or a cluster of this one. Raises OSError."""
    before = _read(config_file(instance))
    if initial is not None:
        content = render(instance, initial, existing=True)
    elif before.get("initial-cluster-state") == "existing":
        told = dict(part.partition("=")[::2] for part in str(before["initial-cluster"]).split(","))
        content = render(instance, told, existing=True)
    else:
        content = render(instance, {instance.node.name: peer_url(instance)}, existing=False)
    folder(instance).mkdir(parents=True, exist_ok=True, mode=0o700)
    data(instance).mkdir(exist_ok=True, mode=0o700)
    _replace(config_file(instance), content)


def endpoints(instance: Instance) -> tuple[str, ...]:
    """Of all members: this machine's own first, then those that were known last."""
    own = (own_endpoint(instance),) if instance.node.runs_etcd else ()
    mine = f"{address(instance)}:{instance.node.etcd_client_port}" if instance.node.runs_etcd else ""
    try:
        known = orjson.loads(members_file(instance).read_bytes())
    except (OSError, ValueError):
        known = []
    others = [each for each in known if isinstance(each, str) and each != mine] if isinstance(known, list) else []
    return tuple(dict.fromkeys((*own, *others)))


def keep_endpoints(instance: Instance, known: Sequence[str]) -> bool:
    """Writes ``host:port`` of all members down. False: they are the same as before. Raises OSError."""
    content = orjson.dumps(sorted(known))
    path = members_file(instance)
    if path.exists() and path.read_bytes() == content:
        return False
    folder(instance).mkdir(parents=True, exist_ok=True, mode=0o700)
    _replace(path, content)
    return True


def _read(path: Path) -> dict[str, Any]:
    try:
        found = orjson.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _replace(path: Path, content: bytes) -> None:
    temporary = path.with_suffix(".tmp")
    temporary.touch(mode=0o600)
    temporary.write_bytes(content)
    temporary.rename(path)
