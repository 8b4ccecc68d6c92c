"""What objects of the Gateway API are told: statuses, whole, of those whose status is to be another. Pure.

What other controllers wrote stays where it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from sampan.api.objects import deep_copy
from sampan.api.reading import part, parts, text, whole
from sampan.api.types import Obj
from sampan.edge.gateway import names
from sampan.edge.gateway.attachment import Attachment
from sampan.edge.gateway.conditions import Condition, merged
from sampan.edge.gateway.listeners import Gateway
from sampan.edge.gateway.observed import Key
from sampan.edge.gateway.policies import Policies
from sampan.records import dataclass

#: releases of the definitions whose fields are known
_KNOWN_RELEASES: Final = re.compile(r"v1\.[0-6]\.\d{1,3}(-[0-9a-z.]{1,20})?")
#: entries of a route and of a policy; the API takes no more
_MOST_PARENTS: Final = 32
_MOST_ANCESTORS: Final = 16


@dataclass(frozen=True, slots=True)
class StatusWrite:
    """``status``: the object's, whole; it differs from the one it has."""

    obj: Obj
    status: Obj


def of_classes(classes: Iterable[Obj], bundles: Mapping[str, str], now: str) -> Iterator[StatusWrite]:
    """``classes``: those of this controller."""
    unknown = [
        f"{kind} {release or '(none)'}"
        for kind, release in sorted(bundles.items())
        if not _KNOWN_RELEASES.fullmatch(release)
    ]
    version = (
        Condition("SupportedVersion", False, "UnsupportedVersion", f"releases not known: {', '.join(unknown)}")
        if unknown
        else Condition("SupportedVersion", True, "SupportedVersion", "the definitions are of a release that is known")
    )
    for each in classes:
        accepted = Condition("Accepted", True, "Accepted", "the class is served")
        if part(part(each, "spec"), "parametersRef"):
            said = "spec.parametersRef is not supported: there are no parameters"
            accepted = Condition("Accepted", False, "InvalidParameters", said)
        old = part(each, "status")
        status: Obj = {
            **old,
            "conditions": merged(old.get("conditions"), (accepted, version), _generation(each), now),
            "supportedFeatures": [{"name": name} for name in names.FEATURES],
        }
        if status != old:
            yield StatusWrite(each, status)


def of_gateway(gateway: Gateway, attached: Mapping[tuple[Key, str], int], now: str) -> Iterator[StatusWrite]:
    old = part(gateway.obj, "status")
    generation = _generation(gateway.obj)
    before = {text(each, "name"): each for each in parts(old, "listeners")}
    told: list[Obj] = [
        {
            "attachedRoutes": attached.get((each.gateway, each.name), 0),
            "conditions": merged(
                before.get(each.name, {}).get("conditions"), each.conditions, generation, now, others=False
            ),
            "name": each.name,
            "supportedKinds": [{"group": names.GROUP, "kind": kind} for kind in each.kinds],
        }
        for each in gateway.listeners
    ]
    status: Obj = {
        **old,
        "addresses": [{"type": "IPAddress", "value": each} for each in gateway.addresses[:16]],
        "conditions": merged(old.get("conditions"), gateway.conditions, generation, now),
        "listeners": told,
    }
    if status != old:
        yield StatusWrite(gateway.obj, status)


def parent_entry(route: Obj, attachment: Attachment, told: Sequence[Condition], now: str) -> Obj:
    before = next(
        (
            each
            for each in parts(part(route, "status"), "parents")
            if each.get("parentRef") == attachment.parent and text(each, "controllerName") == names.CONTROLLER
        ),
        {},
    )
    return {
        "conditions": merged(before.get("conditions"), told, _generation(route), now, others=False),
        "controllerName": names.CONTROLLER,
        "parentRef": deep_copy(attachment.parent),
    }


def of_route(route: Obj, entries: list[Obj]) -> Iterator[StatusWrite]:
    """Other controllers' entries stay as they are."""
    old = part(route, "status")
    theirs = [each for each in parts(old, "parents") if text(each, "controllerName") != names.CONTROLLER]
    wanted = [*theirs, *entries][:_MOST_PARENTS]
    if wanted != (old.get("parents") or []):
        yield StatusWrite(route, {**old, "parents": wanted})


def of_policies(
    objects: Iterable[Obj], policies: Policies, used: Mapping[Key, Iterable[Key]], now: str
) -> Iterator[StatusWrite]:
    """``used``: by which Gateways a policy is reached."""
    for each in objects:
        meta, old = part(each, "metadata"), part(each, "status")
        key = text(meta, "namespace"), text(meta, "name")
        policy = policies.all[key]
        theirs = [one for one in parts(old, "ancestors") if text(one, "controllerName") != names.CONTROLLER]
        mine: list[Obj] = []
        for namespace, name in sorted(used.get(key, ())):
            ancestor = {"group": names.GROUP, "kind": "Gateway", "name": name, "namespace": namespace}
            before = next((one for one in parts(old, "ancestors") if one.get("ancestorRef") == ancestor), {})
            mine.append(
                {
                    "ancestorRef": ancestor,
                    "conditions": merged(
                        before.get("conditions"), policy.conditions, _generation(each), now, others=False
                    ),
                    "controllerName": names.CONTROLLER,
                }
            )
        wanted = [*theirs, *mine][:_MOST_ANCESTORS]
        if wanted != (old.get("ancestors") or []):
            yield StatusWrite(each, {**old, "ancestors": wanted})


def _generation(obj: Obj) -> int:
    return whole(part(obj, "metadata"), "generation") or 0
