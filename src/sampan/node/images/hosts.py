"""Where a registry is reached: ``hosts.toml`` as containerd has it, a folder a registry. Read here for what we speak to
registries ourselves, and written by ``sampan registry``, so that a push goes where the node's pulls come from.

Blocking reads of small files; ``parse`` and ``render`` are pure.
"""

from __future__ import annotations

import ipaddress
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sampan.api.faults import cause
from sampan.records import dataclass

_FILE_BYTES = 1 << 20
_DOCKER_HUB = {"docker.io": "registry-1.docker.io"}
_ALL = ("pull", "resolve", "push")


class HostsError(ValueError):
    """A hosts.toml that cannot be read; the message says which, and what is wrong."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One address of a registry, without a final slash. ``path_given``: it has the API's prefix in it already."""

    url: str
    capabilities: tuple[str, ...] = _ALL
    ca: tuple[str, ...] = ()
    #: certificate and key; "" for the key: both are in one file
    client: tuple[tuple[str, str], ...] = ()
    skip_verify: bool = False
    path_given: bool = False

    @property
    def api(self) -> str:
        return self.url if self.path_given else f"{self.url}/v2"


def default_endpoint(host: str) -> Endpoint:
    """Where nothing is said: HTTPS, and plain HTTP on this machine alone, as containerd has it."""
    scheme = "http" if is_local(host) else "https"
    return Endpoint(f"{scheme}://{_DOCKER_HUB.get(host, host)}")


def is_local(host: str) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname or ""
        return name == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def folder_names(host: str) -> tuple[str, ...]:
    """What the folder of a registry may be called, best first."""
    name, colon, port = host.rpartition(":")
    spelled = (f"{name}_{port}_", host, name) if colon and port.isdigit() else (host,)
    return (*spelled, "_default")


def endpoints(folder: Path, host: str, capability: str) -> list[Endpoint]:
    """The addresses that may be asked for it, in order; the registry itself is the last. Raises HostsError."""
    for name in folder_names(host):
        path = folder / name / "hosts.toml"
        try:
            with path.open("rb") as file:
                content = file.read(_FILE_BYTES)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise HostsError(f"{path}: {cause(error)}") from error
        try:
            found = parse(content.decode(), host)
        except ValueError as error:
            raise HostsError(f"{path}: {error}") from None
        return [endpoint for endpoint in found if capability in endpoint.capabilities]
    return [default_endpoint(host)]


def parse(text: str, host: str) -> list[Endpoint]:
    """Raises ValueError."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"it is no TOML: {error}") from None
    listed = document.get("host") or {}
    if not isinstance(listed, dict) or not all(isinstance(entry, dict) for entry in listed.values()):
        raise ValueError("host is not a table of addresses")
    found = [_endpoint(_address(url), entry) for url, entry in listed.items()]
    server = document.get("server")
    address = _address(server) if isinstance(server, str) and server else default_endpoint(host).url
    last = _endpoint(address, {key: value for key, value in document.items() if key != "host"})
    if all(endpoint.url != last.url for endpoint in found):
        found.append(last)
    return found


def _address(url: str) -> str:
    written = url if "://" in url else f"https://{url}"
    try:
        parts = urlsplit(written)
        parts.port  # noqa: B018 (raises for what is no port)
    except ValueError:
        raise ValueError("the address of a host cannot be read") from None
    if parts.scheme not in ("http", "https") or not parts.netloc or parts.username is not None:
        shown = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"  # without a password
        raise ValueError(f"{shown} is no address of a registry: write it like https://r.example:5000")
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"


def _endpoint(url: str, entry: dict[str, Any]) -> Endpoint:
    capabilities = entry.get("capabilities", _ALL)
    client = entry.get("client", ())
    pairs = [client] if isinstance(client, str) else client
    if not isinstance(pairs, list | tuple):
        raise ValueError("client is neither a path nor a list")
    given = entry.get("override_path") is True
    return Endpoint(
        url if given else url.removesuffix("/v2"),
        capabilities=tuple(_strings("capabilities", capabilities)),
        ca=tuple(_strings("ca", entry.get("ca", ()))),
        client=tuple(_pair(each) for each in pairs),
        skip_verify=entry.get("skip_verify") is True,
        path_given=given,
    )


def _strings(name: str, value: Any) -> Iterable[str]:
    listed = [value] if isinstance(value, str) else value
    if not isinstance(listed, list | tuple) or not all(isinstance(each, str) for each in listed):
        raise ValueError(f"{name} is no list of texts")
    return listed


def _pair(value: Any) -> tuple[str, str]:
    certificate, key, *more = [*_strings("client", value), "", ""]
    if any(more[2:]):
        raise ValueError("client has more than a certificate and a key")
    return certificate, key


def render(server: Endpoint, mirrors: Iterable[Endpoint] = ()) -> str:
    """The text of a hosts.toml; what it says of the registry itself comes after its mirrors."""
    lines = [f"server = {_quoted(server.url)}"]
    for endpoint in (*mirrors, server):
        lines += ["", f"[host.{_quoted(endpoint.url)}]"]
        lines.append(f"  capabilities = [{', '.join(map(_quoted, endpoint.capabilities))}]")
        if endpoint.ca:
            lines.append(f"  ca = [{', '.join(map(_quoted, endpoint.ca))}]")
        if endpoint.client:
            pairs = ", ".join(f"[{_quoted(certificate)}, {_quoted(key)}]" for certificate, key in endpoint.client)
            lines.append(f"  client = [{pairs}]")
        if endpoint.skip_verify:
            lines.append("  skip_verify = true")
        if endpoint.path_given:
            lines.append("  override_path = true")
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    """A basic string of TOML."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return (
        '"' + "".join(f"\\u{ord(sign):04x}" if ord(sign) < 32 or ord(sign) == 127 else sign for sign in escaped) + '"'
    )
