"""TLS towards nodes: the API server's client certificate, and the CA of the nodes' serving certificates."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path

from sampan.records import dataclass


@dataclass(frozen=True, slots=True)
class NodeTls:
    """``kubelet``: with the API server's client certificate. ``insecure``: for pods that speak TLS, unverified.
    ``reload``: new connections show the certificate as it is now, and believe the CA as it is now; raises OSError,
    ValueError (ssl.SSLError), and then keeps what it had."""

    kubelet: ssl.SSLContext | None
    insecure: ssl.SSLContext | None = None
    reload: Callable[[], None] = lambda: None


def node_tls(cert: Path | None, key: Path | None, ca: Path | None) -> NodeTls:
    """Without a CA the node is not verified, as upstream without ``--kubelet-certificate-authority``."""
    kubelet = ssl.create_default_context(cafile=str(ca)) if ca is not None else _unverified()

    def load() -> None:
        if cert is not None and key is not None:
            # A context that was given a certificate without its key has neither any more.
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(str(cert), str(key))
            kubelet.load_cert_chain(str(cert), str(key))
        if ca is not None:
            kubelet.load_verify_locations(str(ca))

    load()
    return NodeTls(kubelet, _unverified(), load)


def _unverified() -> ssl.SSLContext:
    """For backends whose certificates nobody promised anything about: pods and Services asked for by ``https:``."""
    # Not the default context: it would read the machine's CAs, a good part of a server's start, to ask none of them.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
