"""From the words of a command line to an object's address. Pure; a cluster is asked for kinds unknown here."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Final

from sampan.api import resources
from sampan.api.reading import text
from sampan.api.resources import Resource
from sampan.api.types import Obj

_ADMISSION = "admissionregistration.k8s.io"
VALIDATING_WEBHOOKS: Final = Resource(
    _ADMISSION, "v1", "validatingwebhookconfigurations", "ValidatingWebhookConfiguration", False
)
MUTATING_WEBHOOKS: Final = Resource(
    _ADMISSION, "v1", "mutatingwebhookconfigurations", "MutatingWebhookConfiguration", False
)
NETWORK_POLICIES: Final = Resource("networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy", True)
VALIDATING_POLICIES: Final = Resource(
    _ADMISSION, "v1", "validatingadmissionpolicies", "ValidatingAdmissionPolicy", False
)
VALIDATING_BINDINGS: Final = Resource(
    _ADMISSION, "v1", "validatingadmissionpolicybindings", "ValidatingAdmissionPolicyBinding", False
)

#: no kind of the API: the words of a refusal, given on the command line
REFUSAL: Final = Resource("", "", "", "Refusal", False)

#: as kubectl has them
_SHORT: Final = {
    "po": "pods", "deploy": "deployments", "rs": "replicasets", "sts": "statefulsets", "ds": "daemonsets",
    "svc": "services", "ing": "ingresses", "ns": "namespaces", "no": "nodes", "pv": "persistentvolumes",
    "pvc": "persistentvolumeclaims", "sc": "storageclasses", "cm": "configmaps", "sa": "serviceaccounts",
    "hpa": "horizontalpodautoscalers", "pdb": "poddisruptionbudgets", "cj": "cronjobs", "quota": "resourcequotas",
    "limits": "limitranges", "csr": "certificatesigningrequests", "crd": "customresourcedefinitions",
    "crds": "customresourcedefinitions", "rc": "replicationcontrollers", "ep": "endpoints", "ev": "events",
    "netpol": "networkpolicies", "pc": "priorityclasses",
}  # fmt: skip


@cache
def known() -> dict[str, Resource]:
    """Every name of the kinds that rules know: plural, singular, short, and plural.group."""
    found: dict[str, Resource] = {}
    own = [each for each in vars(resources).values() if isinstance(each, Resource)]
    own += [VALIDATING_WEBHOOKS, MUTATING_WEBHOOKS, NETWORK_POLICIES, VALIDATING_POLICIES, VALIDATING_BINDINGS]
    for each in own:
        for name in (each.plural, each.kind.lower()):
            found.setdefault(name, each)
            if each.group:
                found.setdefault(f"{name}.{each.group}", each)
    return found | {short: found[plural] for short, plural in _SHORT.items()}


def kind_named(word: str) -> Resource | None:
    """None: nobody here knows it; the cluster may."""
    lower = word.lower()
    if (found := known().get(lower)) is not None:
        return found
    return _registered(lower)


@cache
def _all() -> dict[str, Resource]:
    from sampan.api.registry import registry  # late: a second's work, and rarely needed

    found: dict[str, Resource] = {}
    for kind in registry().today().stored():
        for name in (kind.plural, kind.singular, *kind.short_names, f"{kind.plural}.{kind.group}"):
            found.setdefault(name.lower(), kind.resource)
    return found


def _registered(word: str) -> Resource | None:
    return _all().get(word)


def from_discovery(word: str, lists: Iterable[Obj]) -> Resource | None:
    """Of what a cluster says that it serves (APIResourceList)."""
    lower = word.lower()
    for listed in lists:
        group, _, version = text(listed, "groupVersion").rpartition("/")
        for each in listed.get("resources") or ():
            plural, kind = text(each, "name"), text(each, "kind")
            names = {plural, text(each, "singularName") or kind.lower(), kind.lower(), f"{plural}.{group}"}
            if "/" not in plural and lower in {name.lower() for name in (*names, *(each.get("shortNames") or ()))}:
                return Resource(group, version, plural, kind, bool(each.get("namespaced")))
    return None
