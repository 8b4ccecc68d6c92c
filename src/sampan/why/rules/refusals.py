"""What the API server refused: quotas, Pod Security, webhooks, policies, limits, missing names, missing rights.

The words of a refusal are the evidence, whether they stand in an Event of a controller (FailedCreate), in a condition,
or were given on the command line (``sampan why 'Error from server ...'``: the kind ``REFUSAL``).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Final

from sampan.api import quantity
from sampan.api.objects import deep_copy
from sampan.api.podsecurity.policies import LATEST, Standard, parse_level
from sampan.api.podsecurity.standards import judge
from sampan.api.reading import part, parts, text, whole
from sampan.api.resources import (
    LIMIT_RANGES,
    NAMESPACES,
    PRIORITY_CLASSES,
    RESOURCE_QUOTAS,
    RUNTIME_CLASSES,
    SERVICE_ACCOUNTS,
    SERVICES,
    Resource,
)
from sampan.api.types import Obj
from sampan.records import dataclass
from sampan.why.model import Action, Cause, Fix, Lead, Ref
from sampan.why.states import condition_of
from sampan.why.subjects import MUTATING_WEBHOOKS, REFUSAL, VALIDATING_BINDINGS, VALIDATING_WEBHOOKS
from sampan.why.table import Found, rule
from sampan.why.templates import WORKLOADS, Holder, change, holder
from sampan.why.world import World

_ANY: Final = "."
#: what some rule knows
_known: list[re.Pattern[str]] = []


@dataclass(frozen=True, slots=True)
class Refused:
    """``who``: whose request it was, as a sentence begins. ``held``: where the pods' template is, if there is one;
    ``short``: how many of them are missing; ``heard``: of an Event, which whoever may write Events of the namespace
    can have made up."""

    who: str
    namespace: str
    message: str
    held: Holder | None = None
    short: int = 1
    heard: bool = False


Say = Callable[[World, Refused, "re.Match[str]"], Iterator["Cause | Lead"]]


def told(world: World, obj: Obj) -> Iterator[Refused]:
    """What was refused of late, and is not past."""
    ref = world.about
    assert ref is not None
    if ref.resource == REFUSAL:
        namespace = re.search(r'namespace "?([a-z0-9-]+)', text(obj, "message"))
        yield Refused("The request", namespace[1] if namespace else text(obj, "namespace"), text(obj, "message"))
        return
    said = [
        text(found, "message")
        for kind in ("ReplicaFailure", "FailedCreate")
        if (found := condition_of(obj, kind)).get("status") == "True"
    ]
    heard = not said
    if not said:
        for event in world.events_of(ref.resource, obj):
            reason = text(event, "reason")
            if reason in ("SuccessfulCreate", "Completed"):
                break  # since then it went well
            if reason == "FailedCreate":
                said = [text(event, "message")]
                break
    if not said:
        return
    wanted = whole(part(obj, "spec"), "replicas")
    short = max((1 if wanted is None else wanted) - (whole(part(obj, "status"), "replicas") or 0), 1)
    held = holder(world, ref.resource, obj)
    who = f"{ref.place} cannot make its pods"
    yield Refused(who, ref.namespace, said[0], held, short, heard)


def refusal(name: str, pattern: str, says: str) -> Callable[[Say], Say]:
    compiled = re.compile(pattern, re.DOTALL)
    if pattern != _ANY:
        _known.append(compiled)

    def add(say: Say) -> Say:
        def judge_(world: World, obj: Obj) -> Found:
            for refused in told(world, obj):
                found = compiled.search(refused.message)
                if found is not None:
                    yield from say(world, refused, found)

        rule(name, *WORKLOADS, REFUSAL, says=says)(judge_)
        return say

    return add


def _said(refused: Refused) -> str:
    return f"refused: {refused.message[:600]}"


def _amounts(words: str) -> dict[str, str]:
    return dict(each.split("=", 1) for each in words.split(",") if "=" in each)


@refusal(
    "quota",
    r"exceeded quota: ([^,\s]+), requested: (\S+), used: (\S+), limited: ([^\s;]+)",
    "ResourceQuotas",
)
def quota(world: World, refused: Refused, found: re.Match[str]) -> Found:
    name, requested, used, hard = found[1], _amounts(found[2]), _amounts(found[3]), _amounts(found[4].rstrip("."))
    needed: dict[str, str] = {}
    for resource, amount in requested.items():
        total = used.get(resource, "0")
        for _ in range(min(refused.short, 1000)):
            total = quantity.add(total, amount)
        needed[resource] = total
    ref = Ref(RESOURCE_QUOTAS, name, refused.namespace)
    full = ", ".join(f"{resource} {used.get(resource, '0')} of {hard.get(resource, '?')}" for resource in requested)
    yield Cause(
        f"{refused.who}: the ResourceQuota {name} of namespace {refused.namespace} is used up ({full}).",
        (_said(refused), f"it asked for {', '.join(f'{k} {v}' for k, v in requested.items())} more"),
        Fix(
            f"raise the quota to {', '.join(f'{k} {v}' for k, v in needed.items())}, or ask for less",
            (Action("patch", ref, {"spec": {"hard": needed}}),),
        ),
        rank=1,
    )


@refusal("quota-asks", r"failed quota: ([^:\s]+): must specify ([^\n]+)", "what ResourceQuotas ask of each pod")
def quota_asks(world: World, refused: Refused, found: re.Match[str]) -> Found:
    asked = re.findall(r"([a-z./-]+) for: ([a-z0-9,-]+)", found[2])
    names = ", ".join(resource for resource, _ in asked) or found[2]
    fix = Fix(f"say {names} in the pod's containers, or have a LimitRange give defaults")
    if refused.held is not None and asked:

        def edit(template: Obj) -> None:
            for each in template["spec"]["containers"]:
                own = each.setdefault("resources", {})
                for written, _ in asked:
                    sort, _, resource = written.rpartition(".")
                    given = own.setdefault(sort or "requests", {})
                    given.setdefault(resource, "100m" if resource == "cpu" else "128Mi")

        fix = change(refused.held, f"{fix.text}; as a beginning 100m and 128Mi", edit)
    yield Cause(
        f"{refused.who}: the ResourceQuota {found[1]} asks every container for {names}, and they say nothing of it.",
        (_said(refused),),
        fix,
        rank=1,
    )


@refusal("pod-security", r'violates PodSecurity "([a-z]+):([^"]+)": (.*)', "the Pod Security of the namespace")
def pod_security(world: World, refused: Refused, found: re.Match[str]) -> Found:
    level, faults = found[1], found[3]
    label = {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "privileged"}}}
    relabel = Action("patch", Ref(NAMESPACES, refused.namespace), label)
    fix = Fix(
        "let the pod do without, or let the namespace allow it",
        (relabel,) if refused.namespace else (),
        "whoever may make pods in the namespace can then take over the nodes they run on",
    )
    if refused.held is not None:
        hardened = deep_copy(refused.held.template)
        _harden(hardened, level)
        if not judge(Standard(parse_level(level), LATEST), part(hardened, "metadata"), hardened["spec"]):
            words = "let the pod do without what is forbidden (its image must be able to run as another user than root)"
            fix = change(refused.held, words, lambda template: _harden(template, level))
    yield Cause(
        f"{refused.who}: namespace {refused.namespace} enforces the Pod Security level {level}, and the pod breaks it.",
        (f"forbidden: {faults[:500]}",),
        fix,
        rank=1,
    )


def _harden(template: Obj, level: str) -> None:
    """The least that the level asks for, as far as a template can be made so."""
    spec = template["spec"]
    for host in ("hostNetwork", "hostPID", "hostIPC"):
        spec.pop(host, None)
    listed = [*spec.get("containers", ()), *(spec.get("initContainers") or ())]
    for each in listed:
        own = each["securityContext"] = dict(each.get("securityContext") or {})
        own.pop("privileged", None)
        if own.get("procMount") not in (None, "Default"):
            own.pop("procMount")
        for port in each.get("ports") or ():
            port.pop("hostPort", None)
        added = (own.get("capabilities") or {}).get("add")
        if added and level != "restricted":
            own["capabilities"] = {key: value for key, value in own["capabilities"].items() if key != "add"}
        if level == "restricted":
            own["allowPrivilegeEscalation"] = False
            kept = [name for name in added or () if name == "NET_BIND_SERVICE"]
            own["capabilities"] = {"drop": ["ALL"], **({"add": kept} if kept else {})}
            if own.get("runAsUser") == 0:
                own.pop("runAsUser")
            if own.get("runAsNonRoot") is False:
                own.pop("runAsNonRoot")
        if not own:
            del each["securityContext"]
    if level == "restricted":
        pod = spec["securityContext"] = dict(spec.get("securityContext") or {})
        pod["runAsNonRoot"] = True
        if not pod.get("runAsUser"):
            pod["runAsUser"] = 1000
        pod.setdefault("seccompProfile", {"type": "RuntimeDefault"})


@refusal(
    "webhook-refuses", r'admission webhook "([^"]+)" denied the request(?:: (.*)|)', "admission webhooks that refuse"
)
def webhook_refuses(world: World, refused: Refused, found: re.Match[str]) -> Found:
    where = _webhook(world, found[1])
    yield Cause(
        f"{refused.who}: the admission webhook {found[1]} refuses it"
        + (f": {found[2].strip()[:200]}." if found[2] else "."),
        (_said(refused), *((f"configured in {where[0].place}",) if where else ())),
        Fix("change what the webhook names; what it asks for is its owner's to say"),
        rank=1,
    )


@refusal("webhook-fails", r'failed calling webhook "([^"]+)": (.*)', "admission webhooks that do not answer")
def webhook_fails(world: World, refused: Refused, found: re.Match[str]) -> Found:
    name, why = found[1], found[2]
    where = _webhook(world, name)
    if where is None:
        yield Cause(
            f"{refused.who}: the admission webhook {name} does not answer.",
            (_said(refused),),
            Fix("bring its service back, or delete its configuration, which may be gone by now"),
            rank=1,
        )
        return
    ref, index, hook = where
    service = part(part(hook, "clientConfig"), "service")
    served = f"service {text(service, 'namespace')}/{text(service, 'name')}" if service else "its url"
    patch = [{"op": "replace", "path": f"/webhooks/{index}/failurePolicy", "value": "Ignore"}]
    yield Cause(
        f"{refused.who}: the admission webhook {name} does not answer, and nothing is let by without it.",
        (why[:400], f"configured in {ref.place}, failurePolicy Fail, answered by {served}"),
        Fix(
            "bring the webhook's program back; or let requests by while it is away",
            (Action("json", ref, patch),),
            f"while it is away nothing is checked (or changed) that {name} is there for, of anybody",
        ),
        rank=1,
    )


def _webhook(world: World, name: str) -> tuple[Ref, int, Obj] | None:
    for resource in (VALIDATING_WEBHOOKS, MUTATING_WEBHOOKS):
        for config in world.all(resource):
            for index, hook in enumerate(parts(config, "webhooks")):
                if text(hook, "name") == name:
                    return Ref(resource, text(part(config, "metadata"), "name")), index, hook
    return None


@refusal(
    "policy", r"ValidatingAdmissionPolicy '([^']+)' with binding '([^']+)' denied request: (.*)", "admission policies"
)
def policy(world: World, refused: Refused, found: re.Match[str]) -> Found:
    binding = Ref(VALIDATING_BINDINGS, found[2])
    yield Cause(
        f"{refused.who}: the ValidatingAdmissionPolicy {found[1]} refuses it: {found[3].strip()[:200]}",
        (_said(refused), f"it applies by its binding {found[2]}"),
        Fix(
            "change what the policy names; or let it only warn",
            (Action("patch", binding, {"spec": {"validationActions": ["Warn"]}}),),
            f"the policy {found[1]} then stops nobody",
        ),
        rank=1,
    )


@refusal(
    "service-account", r"error looking up service account ([^/]+)/([^:\s]+): .*not found", "ServiceAccounts of pods"
)
def service_account(world: World, refused: Refused, found: re.Match[str]) -> Found:
    namespace, name = found[1], found[2]
    made = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": namespace}}
    yield Cause(
        f"{refused.who}: the ServiceAccount {name} does not exist in namespace {namespace}.",
        (_said(refused),),
        Fix("create it", (Action("create", Ref(SERVICE_ACCOUNTS, name, namespace), made),)),
        rank=1,
    )


@refusal("priority-class", r"no PriorityClass with name (\S+) was found", "PriorityClasses of pods")
def priority_class(world: World, refused: Refused, found: re.Match[str]) -> Found:
    name = found[1]
    made = {
        "apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": name}, "value": 1000,
    }  # fmt: skip
    yield Cause(
        f"{refused.who}: there is no PriorityClass {name}.",
        (_said(refused), f"there are {_names(world, PRIORITY_CLASSES)}"),
        Fix("create it, with the value that it should have", (Action("create", Ref(PRIORITY_CLASSES, name), made),)),
        rank=1,
    )


def _names(world: World, resource: Resource) -> str:
    return ", ".join(text(part(each, "metadata"), "name") for each in world.all(resource)[:8]) or "none"


@refusal("runtime-class", r'RuntimeClass "([^"]+)" not found', "RuntimeClasses of pods")
def runtime_class(world: World, refused: Refused, found: re.Match[str]) -> Found:
    name = found[1]
    fix = Fix("create the RuntimeClass, with the handler that nodes have")
    if refused.held is not None:
        fix = change(
            refused.held, f"{fix.text}; or do without", lambda template: template["spec"].pop("runtimeClassName")
        )
    yield Cause(
        f"{refused.who}: there is no RuntimeClass {name}.",
        (_said(refused), f"there are {_names(world, RUNTIME_CLASSES)}"),
        fix,
        rank=1,
    )


_LIMIT: Final = re.compile(
    r"(maximum|minimum) (\S+) usage per (\w+) is (\S+?), but (?:limit|request) is (\S+?)(?:[,\]]|\.?$|\. )"
)


@refusal("limit-range", r"(maximum|minimum) (\S+) usage per (\w+) is (\S+)[,.]? ", "LimitRanges")
def limit_range(world: World, refused: Refused, found: re.Match[str]) -> Found:
    bound, resource, sort, amount = found[1], found[2], found[3], found[4].rstrip(".,")
    fix = Fix(f"stay within it, or change the LimitRange of namespace {refused.namespace}")
    if refused.held is not None and sort == "Container":

        def beyond(given: Obj) -> bool:
            order = quantity.compare(given[resource], amount)
            return order > 0 if bound == "maximum" else order < 0

        def edit(template: Obj) -> None:
            for each in template["spec"]["containers"]:
                own = each.setdefault("resources", {})
                for kind in ("limits", "requests"):
                    given = own.get(kind) or {}
                    if resource in given and beyond(given):
                        own[kind] = {**given, resource: amount}
                if bound == "maximum" and resource not in (own.get("limits") or {}):
                    own["limits"] = {**(own.get("limits") or {}), resource: amount}

        fix = change(refused.held, f"let containers have {amount} {resource}", edit)
    limits = [text(part(each, "metadata"), "name") for each in world.all(LIMIT_RANGES, refused.namespace)]
    yield Cause(
        f"{refused.who}: a LimitRange of namespace {refused.namespace} allows a {sort.lower()} "
        f"{'at most' if bound == 'maximum' else 'no less than'} {amount} {resource}.",
        (_said(refused), f"the LimitRanges there: {', '.join(limits) or 'none'}"),
        fix,
        rank=1,
    )


@refusal(
    "namespace-ends", r"namespace (\S+) because it is being terminated|namespace (\S+) is being terminated",
    "whether the namespace is being deleted",
)  # fmt: skip
def namespace_ends(world: World, refused: Refused, found: re.Match[str]) -> Found:
    name = found[1] or found[2]
    yield Cause(
        f"{refused.who}: namespace {name} is being deleted, and takes nothing new.",
        (_said(refused),),
        Fix("wait until it is gone and make it anew, or use another"),
        rank=2,
    )
    yield Lead(Ref(NAMESPACES, name), "in namespace")


@refusal("invalid", r"is invalid: (.*)", "whether what was sent is valid")
def invalid(world: World, refused: Refused, found: re.Match[str]) -> Found:
    if "field is immutable" in refused.message or "may not change fields" in refused.message:
        field = re.search(r"([\w.\[\]]+): (?:Invalid value|Forbidden)", refused.message)
        yield Cause(
            f"{refused.who}: {field[1] if field else 'a field'} cannot be changed once the object is there.",
            (_said(refused),),
            Fix("delete the object and make it anew: `kubectl replace --force -f FILE`"),
            rank=2,
        )
        return
    yield Cause(
        f"{refused.who}: what was sent is not valid: {found[1].strip()[:300]}",
        (_said(refused),),
        Fix("mend the field that is named: `kubectl explain` says what may stand there"),
        rank=3,
    )


@refusal("no-kind", r'no matches for kind "([^"]+)" in version "([^"]+)"', "whether the kind is known")
def no_kind(world: World, refused: Refused, found: re.Match[str]) -> Found:
    kind, version = found[1], found[2]
    group = version.partition("/")[0] if "/" in version else ""
    from sampan.api.resources import CUSTOM_RESOURCE_DEFINITIONS

    crds = [text(part(part(each, "spec"), "names"), "kind") for each in world.all(CUSTOM_RESOURCE_DEFINITIONS)]
    from sampan.why.near import nearest

    near = nearest(kind, crds)
    yield Cause(
        f"{refused.who}: the cluster does not know the kind {kind} of {version}"
        + (", for its CustomResourceDefinition is not there." if "." in group else "."),
        (_said(refused), *((f"there are of like names: {', '.join(near)}",) if near else ())),
        Fix(
            "apply the definitions first (of a Helm chart: its folder crds/), and wait for them: "
            "`kubectl wait --for=condition=Established crd/NAME`; of a version that was removed: `sampan api report`"
        ),
        rank=1,
    )


@refusal("other-refusal", _ANY, "other refusals")
def other(world: World, refused: Refused, found: re.Match[str]) -> Found:
    """What no other rule knows, in its own words."""
    if any(pattern.search(refused.message) for pattern in _known):
        return
    if world.about is not None and world.about.resource == REFUSAL:
        yield Cause(
            f"No rule knows these words: {refused.message[:300]}",
            (),
            Fix("ask about the object itself, as `sampan why pod/NAME`, or give the whole message of the refusal"),
            "possible",
            rank=90,
        )
        return
    yield Cause(
        f"{refused.who}: {refused.message[:300]}",
        (),
        Fix("mend what the message names"),
        "likely",
        rank=90,
    )


__all__ = ["SERVICES", "told"]
