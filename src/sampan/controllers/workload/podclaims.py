"""The pods that use a claim, found by an index: what one claim's news costs does not grow with the namespace."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sampan.api import objects
from sampan.api.storage import claims
from sampan.api.types import Obj
from sampan.client.informer import Informer

_INDEX = "pod by its claims"


def index_by_claim(pods: Informer) -> None:
    pods.add_index(_INDEX, _claims)


def users_of_claim(pods: Informer, namespace: str, name: str) -> Sequence[Obj]:
    """Whatever has become of them; a pod that names somebody else's claim by an ephemeral volume is among them."""
    return pods.by_index(_INDEX, f"{namespace}/{name}")


def _claims(pod: Obj) -> Iterable[str]:
    namespace = objects.namespace(pod)
    return {f"{namespace}/{each.name}": None for each in claims.claims_of_pod(pod)}
