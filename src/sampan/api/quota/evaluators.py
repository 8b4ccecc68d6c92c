"""What an object uses of what a quota counts: one evaluator a resource, and one for all that are merely counted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Final, Protocol

from sampan.api import quantity
from sampan.api.quota import pods
from sampan.api.quota.amounts import ONE, Amount, Amounts
from sampan.api.quota.amounts import whole as amount
from sampan.api.quota.scopes import claim_is_in_scope, pod_is_in_scope
from sampan.api.reading import part, parts, text, whole
from sampan.api.types import Obj

Resource = tuple[str, str]

#: what is never counted: it is not stored, or comes and goes by itself
IGNORED: Final[frozenset[Resource]] = frozenset({
    ("", "bindings"), ("", "componentstatuses"), ("", "events"), ("events.k8s.io", "events"),
    ("authentication.k8s.io", "tokenreviews"), ("authentication.k8s.io", "selfsubjectreviews"),
    ("authorization.k8s.io", "subjectaccessreviews"), ("authorization.k8s.io", "selfsubjectaccessreviews"),
    ("authorization.k8s.io", "localsubjectaccessreviews"), ("authorization.k8s.io", "selfsubjectrulesreviews"),
})  # fmt: skip
_STORAGE_CLASS = ".storageclass.storage.k8s.io/"
_DEVICE_CLASS = ".deviceclass.resource.k8s.io/devices"
#: what a request for all devices counts for (resource.k8s.io AllocationResultsMaxSize)
_ALL_DEVICES = 32


def count_name(resource: Resource) -> str:
    """``count/deployments.apps``"""
    group, plural = resource
    return f"count/{plural}.{group}" if group else f"count/{plural}"


class Evaluator(Protocol):
    @property
    def resource(self) -> Resource: ...

    def handles(self, operation: str, subresource: str, new: Obj, old: Obj) -> bool:
        """Whether the write may change what is used."""
        ...

    def matching(self, names: Iterable[str]) -> set[str]:
        """Those of the resources of a quota that are used by such objects."""
        ...

    def usage(self, obj: Obj, now: datetime) -> Amounts: ...

    def is_in_scope(self, term: Obj, obj: Obj) -> bool:
        """Whether the object has what a scope asks for (ScopedResourceSelectorRequirement)."""
        ...

    def missing(self, required: set[str], obj: Obj) -> str:
        """What the object does not say though these resources are limited; "": nothing."""
        ...


class Counted:
    """An object counts for one, and for nothing else. ``alias``: the older name of the count."""

    def __init__(self, resource: Resource, alias: str = "") -> None:
        self.resource = resource
        self._usage = {name: ONE for name in (count_name(resource), alias) if name}

    def handles(self, operation: str, subresource: str, new: Obj, old: Obj) -> bool:
        return not subresource and operation == "CREATE"

    def matching(self, names: Iterable[str]) -> set[str]:
        return self._usage.keys() & set(names)

    def usage(self, obj: Obj, now: datetime) -> Amounts:
        return self._usage

    def is_in_scope(self, term: Obj, obj: Obj) -> bool:
        return False

    def missing(self, required: set[str], obj: Obj) -> str:
        return ""


class Pods(Counted):
    def __init__(self) -> None:
        super().__init__(("", "pods"))

    def handles(self, operation: str, subresource: str, new: Obj, old: Obj) -> bool:
        if subresource == "resize":
            return operation == "UPDATE"
        if subresource:
            return False
        return operation == "CREATE" or (operation == "UPDATE" and pods.has_deadline(new) != pods.has_deadline(old))

    def matching(self, names: Iterable[str]) -> set[str]:
        return {name for name in names if name == "count/pods" or pods.is_counted(name)}

    def usage(self, obj: Obj, now: datetime) -> Amounts:
        return {"count/pods": ONE, **(pods.usage(obj) if pods.is_charged(obj, now) else {})}

    def is_in_scope(self, term: Obj, obj: Obj) -> bool:
        return pod_is_in_scope(term, obj)

    def missing(self, required: set[str], obj: Obj) -> str:
        return pods.missing(required, obj)


class Services(Counted):
    def __init__(self) -> None:
        super().__init__(("", "services"), "services")

    def handles(self, operation: str, subresource: str, new: Obj, old: Obj) -> bool:
        return not subresource and operation in ("CREATE", "UPDATE")

    def matching(self, names: Iterable[str]) -> set[str]:
        return {"services", "count/services", "services.nodeports", "services.loadbalancers"} & set(names)

    def usage(self, obj: Obj, now: datetime) -> Amounts:
        spec = part(obj, "spec")
        kind, ports = text(spec, "type"), list(parts(spec, "ports"))
        balanced = kind == "LoadBalancer"
        if balanced and spec.get("allocateLoadBalancerNodePorts") is False:
            ports = [port for port in ports if whole(port, "nodePort")]
        taken = len(ports) if balanced or kind == "NodePort" else 0
        return {**self._usage, "services.nodeports": amount(taken), "services.loadbalancers": amount(int(balanced))}


class Claims(Counted):
    """PersistentVolumeClaims, in all and of each storage class."""

    def __init__(self) -> None:
        super().__init__(("", "persistentvolumeclaims"), "persistentvolumeclaims")

    def handles(self, operation: str, subresource: str, new: Obj, old: Obj) -> bool:
        return subresource in ("", "status") and operation in ("CREATE", "UPDATE")

    def matching(self, names: Iterable[str]) -> set[str]:
        plain = ("persistentvolumeclaims", "requests.storage")
        by_class = tuple(_STORAGE_CLASS + name for name in plain)
        return {name for name in names if name in (*plain, "count/persistentvolumeclaims") or name.endswith(by_class)}

    def usage(self, obj: Obj, now: datetime) -> Amounts:
        found = dict(self._usage)
        storage = _storage(obj)
        if storage is not None:
            found["requests.storage"] = storage
        annotated = text(part(part(obj, "metadata"), "annotations"), "volume.beta.kubernetes.io/storage-class")
        if of := annotated or text(part(obj, "spec"), "storageClassName"):
            found |= {
                f"{of}{_STORAGE_CLASS}{name}": found[name]
                for name in ("persistentvolumeclaims", "requests.storage")
                if name in found
            }
        return found

    def is_in_scope(self, term: Obj, obj: Obj) -> bool:
        return claim_is_in_scope(term, obj)


def _storage(claim: Obj) -> Amount | None:
    """Whole bytes: the larger of what is asked for and what has been allocated while it grows."""
    wanted = part(part(part(claim, "spec"), "resources"), "requests").get("storage")
    if wanted is None:
        return None
    allocated = part(part(claim, "status"), "allocatedResources").get("storage")
    try:
        written = max((text for text in (wanted, allocated) if text is not None), key=quantity.parse)
        value, notation = quantity.parse_with_format(str(written))
    except (ValueError, TypeError):
        return None
    return amount(-(-value.numerator // value.denominator), notation)


class ResourceClaims(Counted):
    """Claims of devices: how many of each class they may be given."""

    def __init__(self) -> None:
        super().__init__(("resource.k8s.io", "resourceclaims"))

    def handles(self, operation: str, subresource: str, new: Obj, old: Obj) -> bool:
        return not subresource and operation in ("CREATE", "UPDATE")

    def matching(self, names: Iterable[str]) -> set[str]:
        return {name for name in names if name in self._usage or name.endswith(_DEVICE_CLASS)}

    def usage(self, obj: Obj, now: datetime) -> Amounts:
        found: dict[str, int] = {}
        for request in parts(part(part(obj, "spec"), "devices"), "requests"):
            of_request: dict[str, int] = {}
            for choice in (part(request, "exactly"), *parts(request, "firstAvailable")):
                if name := text(choice, "deviceClassName"):
                    many = _ALL_DEVICES if choice.get("allocationMode") == "All" else whole(choice, "count") or 1
                    of_request[name] = max(of_request.get(name, 0), many)
            for name, many in of_request.items():
                found[name] = found.get(name, 0) + many
        return {**self._usage, **{f"{name}{_DEVICE_CLASS}": amount(many) for name, many in found.items()}}


_OWN: Final[Mapping[Resource, Evaluator]] = {
    evaluator.resource: evaluator
    for evaluator in (
        Pods(),
        Services(),
        Claims(),
        ResourceClaims(),
        *(Counted(("", plural), plural) for plural in
          ("configmaps", "secrets", "replicationcontrollers", "resourcequotas")),
    )
}  # fmt: skip


def evaluator_of(resource: Resource) -> Evaluator | None:
    """None: it is never counted."""
    found = _OWN.get(resource)
    if found is not None:
        return found
    return None if resource in IGNORED else Counted(resource)
