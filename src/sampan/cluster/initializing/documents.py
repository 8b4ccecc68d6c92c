"""The documents of ``--config``: read strictly into a ``Configuration``, and written as kubeadm writes them.

kubeadm.k8s.io/v1beta4 and v1beta3 are read; v1beta4 is written (``kubeadm-config``, ``config print``, ``migrate``).
A KubeletConfiguration and a KubeProxyConfiguration may stand beside them. Pure but for ``load``.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sampan import KUBERNETES_VERSION
from sampan.api import durations
from sampan.api.errors import BadRequest
from sampan.api.faults import cause
from sampan.cluster.errors import ClusterError
from sampan.cluster.initializing import fields
from sampan.cluster.initializing.configuration import API_PORT, DOMAIN, IMAGE_REPOSITORY, Configuration, TokenWish
from sampan.cluster.initializing.fields import V1BETA3, V1BETA4

KUBELET = ("kubelet.config.k8s.io/v1beta1", "KubeletConfiguration")
PROXY = ("kubeproxy.config.k8s.io/v1alpha1", "KubeProxyConfiguration")
_MOST_BYTES = 1 << 20
_SEPARATOR = re.compile(rb"^---(?:[ \t\r].*)?$", re.MULTILINE)
_FIX = "`sampan config print init-defaults` shows the fields there are"
#: what is read and acted on, or is checked to be what it must be; all else that is given is told
_ACTED_ON = frozenset({
    "bootstrapTokens", "nodeRegistration.name", "nodeRegistration.criSocket", "nodeRegistration.taints",
    "nodeRegistration.kubeletExtraArgs", "nodeRegistration.ignorePreflightErrors", "localAPIEndpoint",
    "certificateKey", "skipPhases", "patches.directory", "dryRun",
    "networking", "kubernetesVersion", "controlPlaneEndpoint", "apiServer.extraArgs", "apiServer.certSANs",
    "controllerManager.extraArgs", "certificatesDir", "imageRepository", "featureGates", "clusterName",
    "certificateValidityPeriod", "caCertificateValidityPeriod", "encryptionAlgorithm", "etcd.local",
    "etcd.external.endpoints", "etcd.external.caFile", "etcd.external.certFile", "etcd.external.keyFile",
})  # fmt: skip
#: below these only what is meant for the image or the pod of a component is idle
_IDLE_BELOW = ("etcd.local.imageRepository", "etcd.local.imageTag", "etcd.local.dataDir", "etcd.local.extraArgs",
               "etcd.local.extraEnvs", "etcd.local.serverCertSANs", "etcd.local.peerCertSANs")  # fmt: skip
#: which nobody has to be told of: they are written by ``config print``
_DEFAULTS = {
    "nodeRegistration.imagePullPolicy": "IfNotPresent",
    "nodeRegistration.imagePullSerial": True,
    "etcd.local.dataDir": "/var/lib/etcd",
}
OWN_SOCKET = "unix:///run/sampan/default/containerd.sock"


def load(path: Path) -> list[dict[str, Any]]:
    """The documents of a file. Raises ClusterError."""
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise ClusterError(f"cannot read {path}: {cause(error)}", fix="name a file with --config") from error
    if len(content) > _MOST_BYTES:
        raise ClusterError(f"{path} is longer than {_MOST_BYTES} bytes", fix="name the right file with --config")
    return parse(content, str(path))


def parse(content: bytes, where: str) -> list[dict[str, Any]]:
    """Raises ClusterError for what is not a document that is known, naming the field."""
    from sampan.api.schema import parse_yaml  # late: libyaml

    found: list[dict[str, Any]] = []
    for part in _SEPARATOR.split(content):
        if not part.strip():
            continue
        try:
            document, twice = parse_yaml(part)
        except BadRequest as error:
            raise ClusterError(f"{where}: {' '.join(str(error).split())}", fix="mend the file") from None
        if document is None:
            continue
        if not isinstance(document, dict):
            raise ClusterError(f"{where}: a document is not an object", fix=_FIX)
        named = (str(document.get("apiVersion")), str(document.get("kind")))
        if twice:
            raise ClusterError(f"{where}: {named[1]}: {twice[0]} is given twice", fix="leave one of them out")
        if named not in (KUBELET, PROXY):
            _check(document, named, where)
        if any((each["apiVersion"], each["kind"]) == named for each in found):
            raise ClusterError(f"{where}: there are two documents of kind {named[1]}", fix="leave one of them out")
        found.append(document)
    if not found:
        raise ClusterError(f"{where} holds no configuration", fix=_FIX)
    return found


def _check(document: Mapping[str, Any], named: tuple[str, str], where: str) -> None:
    shape = fields.SHAPES.get(named)
    if shape is None:
        versions = ", ".join(sorted({version for version, kind in fields.SHAPES if kind == named[1]}))
        raise ClusterError(
            f"{where}: {named[0]}, kind {named[1]}, is not known",
            fix=f"use {versions}" if versions else _FIX,
        )
    try:
        fields.check(document, shape)
    except fields.Fault as error:
        raise ClusterError(f"{where}: {named[1]}: strict decoding error: {error}", fix=_FIX) from None


def of_kind(documents: Sequence[Mapping[str, Any]], kind: str) -> dict[str, Any]:
    """{} when it is not among them."""
    return next((dict(each) for each in documents if each["kind"] == kind), {})


def configuration(documents: Sequence[Mapping[str, Any]]) -> Configuration:
    """Raises ClusterError."""
    init, cluster = of_kind(documents, "InitConfiguration"), of_kind(documents, "ClusterConfiguration")
    node, endpoint = init.get("nodeRegistration") or {}, init.get("localAPIEndpoint") or {}
    networking, server = cluster.get("networking") or {}, cluster.get("apiServer") or {}
    wanted = Configuration(
        node_name=node.get("name") or "",
        advertise_address=endpoint.get("advertiseAddress") or "",
        bind_port=endpoint.get("bindPort") or 0,
        cri_socket="" if node.get("criSocket") in (None, OWN_SOCKET) else node["criSocket"],
        taints=None if node.get("taints") is None else tuple(node["taints"]),
        certificate_key=init.get("certificateKey") or "",
        skip_phases=tuple(init.get("skipPhases") or ()),
        ignored_checks=tuple(node.get("ignorePreflightErrors") or ()),
        tokens=tuple(_token(each) for each in init.get("bootstrapTokens") or ()) or (TokenWish(),),
        patches=(init.get("patches") or {}).get("directory") or "",
        dry_run=bool(init.get("dryRun")),
        cluster_name=cluster.get("clusterName") or "kubernetes",
        control_plane_endpoint=cluster.get("controlPlaneEndpoint") or "",
        cert_sans=tuple(server.get("certSANs") or ()),
        cert_dir=cluster.get("certificatesDir") or "",
        service_subnet=networking.get("serviceSubnet") or "",
        pod_subnet=networking.get("podSubnet") or "",
        dns_domain=networking.get("dnsDomain") or DOMAIN,
        kubernetes_version=cluster.get("kubernetesVersion") or "",
        image_repository=cluster.get("imageRepository") or IMAGE_REPOSITORY,
        api_server_args=arguments(server.get("extraArgs")),
        controller_manager_args=arguments((cluster.get("controllerManager") or {}).get("extraArgs")),
        kubelet_args=arguments(node.get("kubeletExtraArgs")),
        feature_gates=tuple((cluster.get("featureGates") or {}).items()),
        encryption_algorithm=cluster.get("encryptionAlgorithm") or Configuration().encryption_algorithm,
        kubelet=of_kind(documents, KUBELET[1]),
        proxy=of_kind(documents, PROXY[1]),
        idle=tuple(path for document in (init, cluster) for path in _idle(document)),
        **_etcd(cluster.get("etcd") or {}),
    )
    lives: dict[str, Any] = {
        name: durations.parse(cluster[field])
        for field, name in (
            ("certificateValidityPeriod", "certificate_seconds"),
            ("caCertificateValidityPeriod", "ca_certificate_seconds"),
        )
        if cluster.get(field)
    }
    return dataclasses.replace(wanted, **lives)


def _token(given: Mapping[str, Any]) -> TokenWish:
    wish = TokenWish()
    return TokenWish(
        given.get("token") or "",
        durations.parse(given["ttl"]) if given.get("ttl") else wish.ttl_seconds,
        tuple(given.get("usages") or wish.usages),
        tuple(given.get("groups") or wish.groups),
        given.get("description") or wish.description,
    )


def arguments(given: Any) -> tuple[tuple[str, str], ...]:
    """``extraArgs`` and their kin: a map in v1beta3, a list since."""
    if isinstance(given, Mapping):
        return tuple((name, str(value)) for name, value in given.items())
    return tuple((str(each.get("name", "")), str(each.get("value", ""))) for each in given or ())


def _etcd(etcd: Mapping[str, Any]) -> dict[str, Any]:
    external = etcd.get("external")
    if not external:
        return {"store": "etcd"} if etcd.get("local") else {}
    endpoints = [str(each).partition("://")[2] or str(each) for each in external.get("endpoints") or ()]
    if not endpoints:
        raise ClusterError("etcd.external.endpoints is empty", fix="name at least one, as https://192.0.2.1:2379")
    files = tuple(str(external.get(name) or "") for name in ("caFile", "certFile", "keyFile"))
    return {"store": f"etcd://{','.join(endpoints)}", "etcd_files": files}


def _idle(document: Mapping[str, Any], below: str = "") -> list[str]:
    """Paths of what was given and nothing acts on."""
    found = []
    for name, value in document.items():
        path = f"{below}{name}"
        if path in ("apiVersion", "kind") or value in (None, "", [], {}):
            continue
        if _DEFAULTS.get(path) == value:
            continue
        if path in _IDLE_BELOW:
            found.append(path)
        elif isinstance(value, Mapping) and path not in _ACTED_ON - {"etcd.local"}:
            found += _idle(value, f"{path}.")
        elif path not in _ACTED_ON:
            found.append(path)
    return found


def cluster_document(wanted: Configuration) -> dict[str, Any]:
    """A ClusterConfiguration of v1beta4, complete, as kubeadm keeps it in ``kubeadm-config``."""
    server: dict[str, Any] = {}
    if wanted.cert_sans:
        server["certSANs"] = list(wanted.cert_sans)
    if wanted.api_server_args:
        server["extraArgs"] = _listed(wanted.api_server_args)
    manager = {"extraArgs": _listed(wanted.controller_manager_args)} if wanted.controller_manager_args else {}
    document: dict[str, Any] = {
        "apiServer": server,
        "apiVersion": V1BETA4,
        "caCertificateValidityPeriod": go_duration(wanted.ca_certificate_seconds),
        "certificateValidityPeriod": go_duration(wanted.certificate_seconds),
        "certificatesDir": wanted.cert_dir or "/etc/kubernetes/pki",
        "clusterName": wanted.cluster_name,
        "controllerManager": manager,
        "dns": {},
        "encryptionAlgorithm": wanted.encryption_algorithm,
        "etcd": _etcd_document(wanted),
        "featureGates": dict(wanted.feature_gates),
        "imageRepository": wanted.image_repository,
        "kind": "ClusterConfiguration",
        "kubernetesVersion": f"v{KUBERNETES_VERSION}",
        "networking": {
            "dnsDomain": wanted.dns_domain,
            "podSubnet": wanted.pod_subnet,
            "serviceSubnet": wanted.service_subnet or "10.96.0.0/16",
        },
        "proxy": {},
        "scheduler": {},
    }
    if wanted.control_plane_endpoint:
        document["controlPlaneEndpoint"] = wanted.control_plane_endpoint
    return {key: value for key, value in document.items() if value != {} or key in ("apiServer", "dns", "scheduler")}


def _etcd_document(wanted: Configuration) -> dict[str, Any]:
    if not wanted.store.startswith("etcd://"):
        return {"local": {"dataDir": "/var/lib/etcd"}}
    ca, certificate, key = wanted.etcd_files
    endpoints = [f"{'https' if ca else 'http'}://{each}" for each in wanted.store.removeprefix("etcd://").split(",")]
    return {"external": {"endpoints": endpoints, "caFile": ca, "certFile": certificate, "keyFile": key}}


def init_document(wanted: Configuration) -> dict[str, Any]:
    """An InitConfiguration of v1beta4."""
    node: dict[str, Any] = {
        "criSocket": wanted.cri_socket or OWN_SOCKET,
        "imagePullPolicy": "IfNotPresent",
        "imagePullSerial": True,
        "name": wanted.node_name or "node",
        "taints": None if wanted.taints is None else [dict(each) for each in wanted.taints],
    }
    if wanted.kubelet_args:
        node["kubeletExtraArgs"] = _listed(wanted.kubelet_args)
    if wanted.ignored_checks:
        node["ignorePreflightErrors"] = list(wanted.ignored_checks)
    document: dict[str, Any] = {
        "apiVersion": V1BETA4,
        "bootstrapTokens": [
            {
                "groups": list(wish.groups),
                "token": wish.token or "abcdef.0123456789abcdef",
                "ttl": go_duration(wish.ttl_seconds),
                "usages": list(wish.usages),
            }
            for wish in wanted.tokens
        ],
        "kind": "InitConfiguration",
        "localAPIEndpoint": {
            "advertiseAddress": wanted.advertise_address or "1.2.3.4",
            "bindPort": wanted.bind_port or API_PORT,
        },
        "nodeRegistration": node,
    }
    if wanted.certificate_key:
        document["certificateKey"] = wanted.certificate_key
    if wanted.skip_phases:
        document["skipPhases"] = list(wanted.skip_phases)
    if wanted.patches:
        document["patches"] = {"directory": wanted.patches}
    return document


def join_document() -> dict[str, Any]:
    """The JoinConfiguration that ``config print join-defaults`` shows."""
    return {
        "apiVersion": V1BETA4,
        "caCertPath": "/etc/kubernetes/pki/ca.crt",
        "discovery": {
            "bootstrapToken": {
                "apiServerEndpoint": "kube-apiserver:6443",
                "token": "abcdef.0123456789abcdef",
                "unsafeSkipCAVerification": True,
            },
            "tlsBootstrapToken": "abcdef.0123456789abcdef",
        },
        "kind": "JoinConfiguration",
        "nodeRegistration": {
            "criSocket": OWN_SOCKET,
            "imagePullPolicy": "IfNotPresent",
            "imagePullSerial": True,
            "name": "node",
            "taints": None,
        },
    }


def migrated(documents: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The same in v1beta4. Raises ClusterError."""
    return [_migrated(document) if document["apiVersion"] == V1BETA3 else dict(document) for document in documents]


def _migrated(document: Mapping[str, Any]) -> dict[str, Any]:
    def renew(value: Any, name: str = "") -> Any:
        if name in ("extraArgs", "kubeletExtraArgs"):
            return _listed(arguments(value))
        if isinstance(value, Mapping):
            return {key: renew(each, key) for key, each in value.items() if key not in dropped}
        return [renew(each) for each in value] if isinstance(value, list) else value

    dropped = {"timeoutForControlPlane", "timeout"}
    made: dict[str, Any] = renew(document) | {"apiVersion": V1BETA4}
    timeouts = {}
    if document["kind"] == "JoinConfiguration" and (given := (document.get("discovery") or {}).get("timeout")):
        timeouts["discovery"] = given
    return made | {"timeouts": timeouts} if timeouts else made


def _listed(arguments: Sequence[tuple[str, str]]) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in arguments]


def go_duration(seconds: float) -> str:
    """As Go writes it: ``24h0m0s``."""
    whole = int(seconds)
    hours, rest = divmod(whole, 3600)
    minutes, left = divmod(rest, 60)
    if hours:
        return f"{hours}h{minutes}m{left}s"
    return f"{minutes}m{left}s" if minutes else f"{left}s"


def render(documents: Sequence[Mapping[str, Any]]) -> str:
    import yaml  # late: libyaml

    return "---\n".join(yaml.safe_dump(dict(each), sort_keys=True) for each in documents)
