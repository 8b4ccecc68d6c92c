"""References between objects: which grants allow them, and which Secrets and ConfigMaps they name. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from sampan.api.reading import part, parts, text
from sampan.api.types import Obj
from sampan.edge.gateway.names import CONTROLLER, GROUP
from sampan.edge.gateway.observed import Key
from sampan.records import dataclass


@dataclass(frozen=True, slots=True)
class Reference:
    """As an object means it: what is left out is filled in. ``port`` 0: none."""

    group: str
    kind: str
    namespace: str
    name: str
    port: int = 0

    @property
    def key(self) -> Key:
        return self.namespace, self.name

    def __str__(self) -> str:
        kind = f"{self.kind}.{self.group}" if self.group else self.kind
        return f"{kind} {self.namespace}/{self.name}"


def read(obj: Obj, kind: str, namespace: str) -> Reference:
    """``kind``: what it is unless it says another; ``namespace``: of the object that refers."""
    port = obj.get("port")
    return Reference(
        text(obj, "group"),
        text(obj, "kind") or kind,
        text(obj, "namespace") or namespace,
        text(obj, "name"),
        port if type(port) is int else 0,
    )


class Grants:
    """Which references into other namespaces are allowed."""

    def __init__(self, grants: Iterable[Obj]) -> None:
        #: (kind that refers, its namespace, group, kind and namespace of what is referred to) → names; None: all
        self._allowed: dict[tuple[str, str, str, str, str], set[str] | None] = {}
        for grant in grants:
            namespace, spec = text(part(grant, "metadata"), "namespace"), part(grant, "spec")
            for origin in parts(spec, "from"):
                if text(origin, "group") != GROUP:
                    continue
                for target in parts(spec, "to"):
                    self._add(
                        (
                            text(origin, "kind"),
                            text(origin, "namespace"),
                            text(target, "group"),
                            text(target, "kind"),
                            namespace,
                        ),
                        text(target, "name"),
                    )

    def _add(self, key: tuple[str, str, str, str, str], name: str) -> None:
        if not name:
            self._allowed[key] = None
            return
        names = self._allowed.setdefault(key, set())
        if names is not None:
            names.add(name)

    def allow(self, kind: str, namespace: str, target: Reference) -> bool:
        """Whether an object of a kind of the Gateway API may refer from its namespace to this."""
        if target.namespace == namespace:
            return True
        key = (kind, namespace, target.group, target.kind, target.namespace)
        if key not in self._allowed:
            return False
        names = self._allowed[key]
        return names is None or target.name in names


def ours(classes: Iterable[Obj]) -> list[Obj]:
    """The classes of this controller."""
    return [each for each in classes if text(part(each, "spec"), "controllerName") == CONTROLLER]


def of_classes(gateways: Iterable[Obj], classes: Iterable[Obj]) -> list[Obj]:
    """The Gateways of these classes, but for those that ask for parameters: there are none."""
    served = {text(part(each, "metadata"), "name") for each in classes if not part(part(each, "spec"), "parametersRef")}
    return [each for each in gateways if text(part(each, "spec"), "gatewayClassName") in served]


def wanted_secrets(gateways: Iterable[Obj], grants: Grants) -> Iterator[Key]:
    """The Secrets of certificates that these Gateways may refer to."""
    for gateway in gateways:
        namespace = text(part(gateway, "metadata"), "namespace")
        for listener in parts(part(gateway, "spec"), "listeners"):
            for each in parts(part(listener, "tls"), "certificateRefs"):
                target = read(each, "Secret", namespace)
                if (target.group, target.kind) == ("", "Secret") and grants.allow("Gateway", namespace, target):
                    yield target.key


def wanted_config_maps(gateways: Iterable[Obj], policies: Iterable[Obj], grants: Grants) -> Iterator[Key]:
    """The ConfigMaps of certificate authorities that these may refer to."""
    for gateway in gateways:
        namespace = text(part(gateway, "metadata"), "namespace")
        for each in authorities(gateway):
            target = read(each, "ConfigMap", namespace)
            if (target.group, target.kind) == ("", "ConfigMap") and grants.allow("Gateway", namespace, target):
                yield target.key
    for policy in policies:
        namespace = text(part(policy, "metadata"), "namespace")
        for each in parts(part(part(policy, "spec"), "validation"), "caCertificateRefs"):
            if (text(each, "group"), text(each, "kind")) == ("", "ConfigMap"):
                yield namespace, text(each, "name")


def authorities(gateway: Obj) -> Iterator[Obj]:
    """References to who signs clients' certificates, of all ports."""
    frontend = part(part(part(gateway, "spec"), "tls"), "frontend")
    for config in (part(frontend, "default"), *(part(each, "tls") for each in parts(frontend, "perPort"))):
        yield from parts(part(config, "validation"), "caCertificateRefs")
