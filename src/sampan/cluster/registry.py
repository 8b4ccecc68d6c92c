"""``sampan registry``: a registry beside the cluster, and how the node reaches others.

The registry is a child of the supervisor, so it is kept running, stops and starts with the cluster, and is gone after a
purge. Tools find it by the ConfigMap ``kube-public/local-registry-hosting`` (KEP-1755).
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import os
import re
import secrets
import shutil
import signal
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import orjson

from sampan.api.faults import cause, fault
from sampan.api.types import Obj
from sampan.cluster import choosing, containerd, images, leftovers, locks, probe, registry_program
from sampan.cluster import up as starting
from sampan.cluster.errors import ClusterError
from sampan.cluster.instance import Instance
from sampan.node.images import hosts
from sampan.records import dataclass

FIRST_PORT = 5000
_LAST_PORT = 5999
_START_SECONDS = 30.0
_LOOK_SECONDS = 0.02
#: starts after which something is wrong with it, and its log says what
_STARTS_TO_GIVE_UP = 3
_SHOWN_REPOSITORIES = 100
#: as an image's name has it: a host name or an address, perhaps with a port
_HOST = re.compile(
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?", re.ASCII
)
_ANSWER_BYTES = 4 << 20
_WRITTEN = "# Written by `sampan registry up`; it goes with `sampan registry down`.\n"
_CONFIG_MAP = "/api/v1/namespaces/kube-public/configmaps/local-registry-hosting"


@dataclass(frozen=True, slots=True)
class Seen:
    """``images``: repository to tags, the first hundred repositories. ``pid`` None: it does not run just now."""

    address: str
    pid: int | None
    folder: Path
    size_bytes: int
    images: dict[str, list[str]]


async def up(instance: Instance, port: int | None, progress: starting.Progress) -> str:
    """Starts it, or says that it runs; returns its address once it answers. Raises ClusterError."""
    images.require_running(instance)
    if shutil.which(registry_program.PROGRAM) is None:
        raise ClusterError(
            f"the program {registry_program.PROGRAM} is not installed", fix="apt-get install -y docker-registry"
        )
    async with locks.changing(instance, progress):
        had = registry_program.port_of(instance)
        if had is not None and port is not None and port != had:
            raise ClusterError(
                f"the registry of cluster {instance.name!r} is at port {had}",
                fix=f"`{instance.command('registry down')}` first: its images stay",
            )
        chosen = had or port or _free_port(instance)
        if had is None:
            _refuse_taken(chosen)
        progress.step(f"Starting a registry at localhost:{chosen}")
        try:
            if had is None:
                await asyncio.to_thread(_write, instance, chosen)
            await asyncio.to_thread(_write_hosts, instance, chosen)
        except OSError as error:
            raise ClusterError(fault(error), fix=f"make room on the file system of {instance.state}") from error
        tell_supervisor(instance)
        try:
            await _wait_answers(instance, chosen)
        except BaseException:
            if had is None:  # one that never answered is none: the next try may choose another port
                await asyncio.to_thread(_unwire, instance, chosen)
                tell_supervisor(instance)
            raise
        await asyncio.to_thread(_announce, instance, chosen)
    return f"localhost:{chosen}"


async def down(instance: Instance, progress: starting.Progress, *, purge: bool) -> bool:
    """Stops it; its images stay unless it is a purge. False: there was none."""
    async with locks.changing(instance, progress):
        port = registry_program.port_of(instance)
        if port is not None:
            progress.step("Stopping the registry")
            await asyncio.to_thread(_unwire, instance, port)
            tell_supervisor(instance)
            try:
                async with asyncio.timeout(_START_SECONDS):
                    while _runs(instance):  # noqa: ASYNC110 (another process)
                        await asyncio.sleep(_LOOK_SECONDS)
            except TimeoutError:
                raise ClusterError(
                    "the registry does not end", fix=f"`{instance.command('status')}` shows what runs"
                ) from None
            await asyncio.to_thread(_withdraw, instance)
        if purge:
            await asyncio.to_thread(shutil.rmtree, registry_program.folder(instance), ignore_errors=True)
        return port is not None


def observe(instance: Instance) -> Seen | None:
    """None: there is no registry."""
    port = registry_program.port_of(instance)
    if port is None:
        return None
    child = starting.process_status(instance).get(registry_program.NAME) if leftovers.supervisors(instance) else None
    there = registry_program.data(instance)
    return Seen(f"localhost:{port}", child["pid"] if child else None, there, size_of(there), _images(port))


def size_of(folder: Path) -> int:
    """Of its files. What goes meanwhile, as a push that is under way lets go of its parts, counts for nothing."""
    size = 0
    for at, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                size += (Path(at) / name).lstat().st_size
    return size


def tell_supervisor(instance: Instance) -> None:
    """That its children may be others now."""
    for process in leftovers.supervisors(instance):
        leftovers.kill(process, signal.SIGHUP)


# How the node reaches other registries


def reach(instance: Instance, host: str, endpoint: hosts.Endpoint | None, mirrors: Sequence[hosts.Endpoint]) -> Path:
    """Writes the registry's hosts.toml, read at the next pull. Raises ClusterError."""
    path = _hosts_file(instance, host)
    try:
        text = hosts.render(endpoint or hosts.default_endpoint(host), mirrors)
        hosts.parse(text, host)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    except ValueError as error:
        raise ClusterError(str(error), fix="write addresses like https://mirror.example:5000") from error
    except OSError as error:
        raise ClusterError(fault(error), fix="run as root (sudo)") from error
    return path


def forget(instance: Instance, host: str) -> bool:
    """False: nothing was said of it."""
    path = _hosts_file(instance, host)
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise ClusterError(fault(error, "remove"), fix="run as root (sudo)") from error
    _remove_if_empty(path.parent)
    return True


def reached(instance: Instance) -> dict[str, list[hosts.Endpoint] | str]:
    """By registry: its endpoints in order, or what is wrong with its file."""
    found: dict[str, list[hosts.Endpoint] | str] = {}
    for path in sorted(containerd.hosts_dir(instance).glob("*/hosts.toml")):
        try:
            found[path.parent.name] = hosts.parse(path.read_text(), path.parent.name)
        except ValueError as error:
            found[path.parent.name] = cause(error)
        except OSError as error:
            found[path.parent.name] = fault(error)
    return found


def _hosts_file(instance: Instance, host: str) -> Path:
    if host != "_default" and not _HOST.fullmatch(host):
        raise ClusterError(f"{host!r} is no registry", fix="write it as images name it: r.example:5000")
    return containerd.hosts_dir(instance) / host / "hosts.toml"


def check_certificates(ca: Path | None, certificate: Path | None, key: Path | None) -> None:
    """That pulls could be made with them: said here, not by a pod that waits. Raises ClusterError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        if ca is not None:
            context.load_verify_locations(cafile=ca)
    except ssl.SSLError:
        raise ClusterError(f"{ca} holds no certificate", fix="give the path of a PEM file") from None
    except OSError as error:
        raise ClusterError(f"{ca}: {fault(error)}", fix="give the path of a PEM file") from error
    try:
        if certificate is not None:
            context.load_cert_chain(certificate, key, password="")
    except ssl.SSLError:
        where = certificate if key is None else f"{certificate} and {key}"
        raise ClusterError(
            f"{where}: no certificate with its key, without a password",
            fix="give PEM files: --client-cert, and --client-key where the key is in another one",
        ) from None
    except OSError as error:
        raise ClusterError(f"{certificate}: {fault(error)}", fix="give PEM files that can be read") from error


# Steps, each of them blocking


def _free_port(instance: Instance) -> int:
    others = {registry_program.port_of(other) for other in choosing.others(instance)}
    ranges = [each.cluster.node_ports for each in (instance, *choosing.others(instance))]
    for port in range(FIRST_PORT, _LAST_PORT):
        in_use = port in others or any(low <= port <= high for low, high in ranges)
        if not in_use and choosing.is_free(port):
            return port
    raise ClusterError(f"no port from {FIRST_PORT} to {_LAST_PORT} is free", fix="name one with --port")


def _refuse_taken(port: int) -> None:
    if not 1 <= port <= 65535:
        raise ClusterError(f"--port {port} is not a port", fix="choose one from 1 to 65535")
    if not choosing.is_free(port):
        raise ClusterError(f"port {port} is in use", fix="leave --port out, and a free one is chosen")


def _runs(instance: Instance) -> bool:
    return registry_program.NAME in starting.process_status(instance) and bool(leftovers.supervisors(instance))


def _write(instance: Instance, port: int) -> None:
    registry_program.data(instance).mkdir(parents=True, exist_ok=True, mode=0o700)
    path = registry_program.config_file(instance)
    part = path.with_suffix(".part")
    part.touch(mode=0o600)
    part.write_bytes(registry_program.render(instance, port, secrets.token_hex(16)))
    part.replace(path)


def _own_hosts(instance: Instance, port: int) -> list[Path]:
    return [_hosts_file(instance, f"{name}:{port}") for name in ("localhost", "127.0.0.1")]


def _write_hosts(instance: Instance, port: int) -> None:
    """So that a mirror for all registries (``_default``) is none for this one."""
    for path in _own_hosts(instance, port):
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            path.write_text(_WRITTEN + hosts.render(hosts.Endpoint(f"http://127.0.0.1:{port}")))


def _unwire(instance: Instance, port: int) -> None:
    registry_program.config_file(instance).unlink(missing_ok=True)
    for path in _own_hosts(instance, port):
        if path.exists() and path.read_text().startswith(_WRITTEN):
            path.unlink()
            _remove_if_empty(path.parent)


def _remove_if_empty(folder: Path) -> None:
    try:
        folder.rmdir()
    except OSError:
        return  # something else of the person's lies there


async def _wait_answers(instance: Instance, port: int) -> None:
    log = instance.logs / f"{registry_program.NAME}.log"
    try:
        async with asyncio.timeout(_START_SECONDS):
            while True:
                child = starting.process_status(instance).get(registry_program.NAME)
                if child and child["pid"] and await asyncio.to_thread(_get, port, "/v2/") is not None:
                    return
                if child and child["restarts"] >= _STARTS_TO_GIVE_UP:
                    raise ClusterError(
                        f"the registry keeps ending ({child['lastExit']}); the end of its log:\n"
                        + starting.tail(instance, registry_program.NAME),
                        fix=f"the whole log is {log}",
                    )
                await asyncio.sleep(_LOOK_SECONDS)
    except TimeoutError:
        raise ClusterError("the registry did not answer in time", fix=f"look at {log}") from None


def _get(port: int, path: str) -> Any:
    """The JSON of its answer; None: it does not answer so."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return orjson.loads(answer.read(_ANSWER_BYTES)) if answer.status == 200 else None
    except (OSError, http.client.HTTPException, ValueError):
        return None
    finally:
        connection.close()


def _images(port: int) -> dict[str, list[str]]:
    found = {}
    for name in (_get(port, f"/v2/_catalog?n={_SHOWN_REPOSITORIES}") or {}).get("repositories") or ():
        tags = (_get(port, f"/v2/{quote(name)}/tags/list") or {}).get("tags")
        if tags:
            found[name] = sorted(tags)
    return found


def _announce(instance: Instance, port: int) -> None:
    hosting = f'host: "localhost:{port}"\nhelp: "https://kep.k8s.io/1755"\n'
    body: Obj = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "local-registry-hosting", "namespace": "kube-public"},
        "data": {"localRegistryHosting.v1": hosting},
    }
    path = f"{_CONFIG_MAP}?fieldManager=sampan-registry&force=true"
    try:
        with probe.connection(instance) as opened:
            headers = {"Content-Type": "application/apply-patch+yaml"}
            opened.request("PATCH", path, body=orjson.dumps(body), headers=headers)
            answer = opened.getresponse()
            said = answer.read()
    except probe.NotAnswering as error:
        raise ClusterError(f"the API server does not answer: {error}", fix=_again(instance)) from error
    if answer.status not in (200, 201):
        words = said[:200].decode(errors="replace")
        raise ClusterError(f"the registry is not made known in the cluster: {words}", fix=_again(instance))


def _withdraw(instance: Instance) -> None:
    """Nothing is lost when the server does not answer: the registry is gone all the same."""
    try:
        with probe.connection(instance) as opened:
            opened.request("DELETE", _CONFIG_MAP)
            opened.getresponse().read()
    except probe.NotAnswering:
        return


def _again(instance: Instance) -> str:
    return f"`{instance.command('status')}` shows what runs; then `{instance.command('registry up')}` again"
