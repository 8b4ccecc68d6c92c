"""What a pod may receive and send a second, by its annotations: whether they make sense. Pure.

containerd reads them and has the network plugins act. One that makes no sense it would refuse too, but leaves a
sandbox behind then that it cannot take away any more: so it is refused before.
"""

from __future__ import annotations

from sampan.api import quantity
from sampan.api.types import Obj
from sampan.node.pods.security import SandboxRefused

ANNOTATIONS = ("kubernetes.io/ingress-bandwidth", "kubernetes.io/egress-bandwidth")
#: bits a second
_LEAST, _MOST = 10**3, 10**15


def verify(pod: Obj) -> None:
    """Raises SandboxRefused."""
    annotations = pod["metadata"].get("annotations") or {}
    for name in ANNOTATIONS:
        if name in annotations:
            _verify(annotations[name])


def _verify(written: str) -> None:
    try:
        amount = quantity.value(written)
    except ValueError as error:
        raise SandboxRefused(f"reading pod bandwidth annotations: {error}") from error
    if amount < _LEAST:
        raise SandboxRefused("reading pod bandwidth annotations: resource is unreasonably small (< 1kbit)")
    if amount > _MOST:
        raise SandboxRefused("reading pod bandwidth annotations: resource is unreasonably large (> 1Pbit)")
