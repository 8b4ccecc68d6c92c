"""The registry beside a cluster as a program: Debian's docker-registry, its configuration, where its things lie.

Its configuration's being there is what makes it one of the supervisor's children. The supervisor, which always runs,
imports this: the standard library and orjson alone.
"""

from __future__ import annotations

from pathlib import Path

import orjson

from sampan.cluster.instance import Instance

PROGRAM = "docker-registry"
NAME = "registry"


def folder(instance: Instance) -> Path:
    return instance.state / "registry"


def config_file(instance: Instance) -> Path:
    return folder(instance) / "config.yml"


def data(instance: Instance) -> Path:
    """The images. Stays when the registry goes, unless that is a purge."""
    return folder(instance) / "data"


def command(instance: Instance) -> tuple[str, ...]:
    return (PROGRAM, "serve", str(config_file(instance)))


def render(instance: Instance, port: int, secret: str) -> bytes:
    """On this machine's own address alone: it asks nobody for a password. ``secret``: with which it signs uploads."""
    return orjson.dumps(
        {
            "version": 0.1,
            "log": {"level": "warn", "accesslog": {"disabled": True}},
            "storage": {"filesystem": {"rootdirectory": str(data(instance))}, "delete": {"enabled": True}},
            "http": {"addr": f"127.0.0.1:{port}", "secret": secret},
        },
        option=orjson.OPT_INDENT_2,
    )


def port_of(instance: Instance) -> int | None:
    """None: there is no registry."""
    try:
        content = orjson.loads(config_file(instance).read_bytes())
        return int(content["http"]["addr"].rpartition(":")[2])
    except (OSError, ValueError, KeyError, TypeError):
        return None
