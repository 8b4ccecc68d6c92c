"""Reads, merges and writes kubeconfig files, and turns a context into what a transport needs (kubectl's loading rules).

Files only, no network. Credential plugins (``exec``, ``auth-provider``) are refused by name.
"""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Mapping, Sequence
from dataclasses import field
from pathlib import Path
from typing import Any

from sampan.api.faults import cause
from sampan.api.types import Obj
from sampan.records import dataclass

SERVICE_ACCOUNT_DIR = Path("/var/run/secrets/kubernetes.io/serviceaccount")
#: the name of a cluster's extension, which other clients take no notice of: ``{"servers": [URL, ...]}``
SERVERS = "sampan.io/servers"
_SECTIONS = ("clusters", "users", "contexts")
_PATH_FIELDS = {
    "clusters": ("certificate-authority",),
    "users": ("client-certificate", "client-key", "tokenFile"),
}
_ENTRY_KEY = {"clusters": "cluster", "users": "user", "contexts": "context"}


class KubeConfigError(ValueError):
    """The configuration cannot be used; the message says which part."""


@dataclass(frozen=True, slots=True)
class Connection:
    """Where a server is and how to be somebody there. PEM data wins over nothing; files are read when connecting."""

    server: str
    ca_pem: bytes = b""
    client_certificate_pem: bytes = b""
    client_key_pem: bytes = b""
    token: str = ""
    #: Read again when it changes: bound ServiceAccount tokens are rotated.
    token_file: Path | None = None
    username: str = ""
    password: str = ""
    insecure_skip_tls_verify: bool = False
    tls_server_name: str = ""
    namespace: str = "default"
    #: Impersonation headers (``Impersonate-User`` ...).
    headers: Mapping[str, str] = field(default_factory=dict)
    #: Other servers of the same cluster, for when ``server`` is not there.
    others: tuple[str, ...] = ()


class KubeConfig:
    """The merged content of some files. The first file to name an entry wins."""

    def __init__(self, content: Obj | None = None) -> None:
        self.content: Obj = content or {"apiVersion": "v1", "kind": "Config", "preferences": {}}
        for section in _SECTIONS:
            self.content[section] = self.content.get(section) or []

    @classmethod
    def load(cls, path: str | Path | None = None, environ: Mapping[str, str] | None = None) -> KubeConfig:
        """``path``, else every file of $KUBECONFIG, else ``~/.kube/config``. Raises KubeConfigError."""
        environ = os.environ if environ is None else environ
        if path is not None:
            return cls.merge([_read(Path(path))])
        listed = [Path(name) for name in environ.get("KUBECONFIG", "").split(os.pathsep) if name]
        candidates = listed or [Path(environ.get("HOME", "/")) / ".kube" / "config"]
        return cls.merge([_read(name) for name in candidates if name.exists()])

    @classmethod
    def merge(cls, contents: Sequence[Obj]) -> KubeConfig:
        merged = cls()
        for content in contents:
            for key, value in content.items():
                if key not in _SECTIONS and key != "current-context":
                    merged.content[key] = value
            for section in _SECTIONS:
                for entry in content.get(section) or ():
                    if merged._entry(section, entry["name"]) is None:
                        merged.content[section].append(entry)
            if not merged.content.get("current-context") and content.get("current-context"):
                merged.content["current-context"] = content["current-context"]
        return merged

    @classmethod
    def build(cls, name: str, user: str, connection: Connection) -> KubeConfig:
        """A file with one cluster, one user and one context ``user@name``, credentials embedded."""
        cluster: Obj = {"server": connection.server}
        if connection.ca_pem:
            cluster["certificate-authority-data"] = _encode(connection.ca_pem)
        if connection.insecure_skip_tls_verify:
            cluster["insecure-skip-tls-verify"] = True
        if connection.others:
            cluster["extensions"] = [{"name": SERVERS, "extension": {"servers": [*connection.others]}}]
        credentials: Obj = {}
        if connection.client_certificate_pem:
            credentials["client-certificate-data"] = _encode(connection.client_certificate_pem)
            credentials["client-key-data"] = _encode(connection.client_key_pem)
        if connection.token:
            credentials["token"] = connection.token
        if connection.token_file:
            credentials["tokenFile"] = str(connection.token_file)
        context: Obj = {"cluster": name, "user": user}
        if connection.namespace != "default":
            context["namespace"] = connection.namespace
        config = cls()
        config.set("clusters", name, cluster)
        config.set("users", user, credentials)
        config.set("contexts", f"{user}@{name}", context)
        config.content["current-context"] = f"{user}@{name}"
        return config

    def set(self, section: str, name: str, value: Obj) -> None:
        """Adds or replaces an entry."""
        entry = {"name": name, _ENTRY_KEY[section]: value}
        rest = [item for item in self.content[section] if item["name"] != name]
        self.content[section] = [*rest, entry]

    def remove(self, section: str, name: str) -> None:
        self.content[section] = [item for item in self.content[section] if item["name"] != name]

    def connection(self, context: str = "") -> Connection:
        """What a context (default: the current one) connects to. Raises KubeConfigError."""
        name = context or self.content.get("current-context") or ""
        if not name:
            raise KubeConfigError("no context is chosen and the configuration has no current-context")
        chosen = self._required("contexts", name)
        cluster = self._required("clusters", chosen.get("cluster", ""))
        user = self._required("users", chosen["user"]) if chosen.get("user") else {}
        for plugin in ("exec", "auth-provider"):
            if user.get(plugin):
                raise KubeConfigError(f"user {chosen['user']!r}: credential plugin {plugin!r} is not supported")
        if not cluster.get("server"):
            raise KubeConfigError(f"cluster {chosen['cluster']!r} has no server")
        return Connection(
            server=str(cluster["server"]).rstrip("/"),
            ca_pem=_pem(cluster, "certificate-authority"),
            client_certificate_pem=_pem(user, "client-certificate"),
            client_key_pem=_pem(user, "client-key"),
            token=user.get("token") or "",
            token_file=Path(user["tokenFile"]) if user.get("tokenFile") and not user.get("token") else None,
            username=user.get("username") or "",
            password=user.get("password") or "",
            insecure_skip_tls_verify=bool(cluster.get("insecure-skip-tls-verify")),
            tls_server_name=cluster.get("tls-server-name") or "",
            namespace=chosen.get("namespace") or "default",
            headers=_impersonation(user),
            others=_others(cluster),
        )

    def write(self, path: str | Path) -> None:
        """Writes for the owner only, atomically: the file holds keys."""
        import yaml  # late: every HTTP client imports this module, and few read or write files

        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        temporary = path.with_name(f".{path.name}.new")
        temporary.unlink(missing_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            yaml.safe_dump(self.content, file, sort_keys=False)
        temporary.replace(path)

    def _entry(self, section: str, name: str) -> Obj | None:
        for item in self.content[section]:
            if item.get("name") == name:
                value: Obj = item.get(_ENTRY_KEY[section]) or {}
                return value
        return None

    def _required(self, section: str, name: str) -> Obj:
        entry = self._entry(section, name)
        if entry is None:
            raise KubeConfigError(f"{_ENTRY_KEY[section]} {name!r} does not exist")
        return entry


def in_cluster(environ: Mapping[str, str] | None = None, directory: Path = SERVICE_ACCOUNT_DIR) -> Connection:
    """The connection of a pod with its ServiceAccount. Raises KubeConfigError outside a pod."""
    environ = os.environ if environ is None else environ
    host, port = environ.get("KUBERNETES_SERVICE_HOST"), environ.get("KUBERNETES_SERVICE_PORT")
    if not host or not port:
        raise KubeConfigError("not in a pod: KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set")
    try:
        ca_pem = (directory / "ca.crt").read_bytes()
        namespace = (directory / "namespace").read_text().strip()
    except OSError as error:
        raise KubeConfigError(f"ServiceAccount files of the pod cannot be read: {cause(error)}") from error
    server = f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
    return Connection(server, ca_pem=ca_pem, token_file=directory / "token", namespace=namespace)


def _read(path: Path) -> Obj:
    import yaml  # late, as in ``KubeConfig.write``

    try:
        content: Any = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise KubeConfigError(f"cannot read {path}: {cause(error)}") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise KubeConfigError(f"{path} is not a kubeconfig")
    for section in _SECTIONS:
        entries = content.get(section) or []
        if not isinstance(entries, list) or not all(isinstance(item, dict) and "name" in item for item in entries):
            raise KubeConfigError(f"{path} is not a kubeconfig: {section} is not a list of named entries")
    # Relative paths count from the file that names them.
    for section, names in _PATH_FIELDS.items():
        for item in content.get(section) or ():
            value = item.get(_ENTRY_KEY[section]) or {}
            for name in names:
                if value.get(name):
                    value[name] = str(path.parent.resolve() / value[name])
    return content


def _pem(entry: Obj, name: str) -> bytes:
    data = entry.get(f"{name}-data")
    try:
        if data:
            return base64.b64decode(data, validate=True)
        return Path(entry[name]).read_bytes() if entry.get(name) else b""
    except (binascii.Error, OSError) as error:
        raise KubeConfigError(f"{name}: {cause(error)}") from error


def _others(cluster: Obj) -> tuple[str, ...]:
    """Raises KubeConfigError."""
    for each in cluster.get("extensions") or ():
        if each.get("name") == SERVERS:
            listed = (each.get("extension") or {}).get("servers")
            if not isinstance(listed, list) or not all(isinstance(url, str) for url in listed):
                raise KubeConfigError(f"extension {SERVERS!r}: servers is not a list of URLs")
            return tuple(url.rstrip("/") for url in listed)
    return ()


def _encode(pem: bytes) -> str:
    return base64.b64encode(pem).decode()


def _impersonation(user: Obj) -> dict[str, str]:
    headers = {}
    if user.get("as"):
        headers["Impersonate-User"] = str(user["as"])
    if user.get("as-uid"):
        headers["Impersonate-Uid"] = str(user["as-uid"])
    if user.get("as-groups"):
        raise KubeConfigError("as-groups is not supported")
    return headers
