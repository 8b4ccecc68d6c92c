"""TLS towards nodes: the API server's client certificate, and the CA of the nodes' serving certificates."""

from __future__ import annotations

import ssl
from pathlib import Path

from sampan.records import dataclass


@dataclass(frozen=True, slots=True)
class NodeTls:
    """``kubelet``: with the API server's client certificate. ``insecure``: for pods that speak TLS, unverified."""

    kubelet: ssl.SSLContext | None
    insecure: ssl.SSLContext | None = None


def node_tls(cert: Path | None, key: Path | None, ca: Path | None) -> NodeTls:
    """Without a CA the node is not verified, as upstream without ``--kubelet-certificate-authority``."""
    kubelet = ssl.create_default_context(cafile=str(ca)) if ca is not None else _unverified()
    if cert is not None and key is not None:
        kubelet.load_cert_chain(str(cert), str(key))
    return NodeTls(kubelet, _unverified())


def _unverified() -> ssl.SSLContext:
    """For backends whose certificates nobody promised anything about: pods and Services asked for by ``https:``."""
    # Not the default context: it would read the machine's CAs, a good part of a server's start, to ask none of them.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
