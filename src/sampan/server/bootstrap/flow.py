"""The priority levels and flow schemas of a new cluster, upstream's mandatory and suggested ones, as data. Pure."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from sampan.api.clock import format_time
from sampan.api.groups.flowcontrol import mandatory
from sampan.api.types import Obj

#: who writes these objects, and who says of them what is so (upstream's field managers)
PRODUCER = "api-priority-and-fairness-config-producer-v1"
CONSUMER = "api-priority-and-fairness-config-consumer-v1"
_ALL_GROUPS = ("Group:system:unauthenticated", "Group:system:authenticated")
_SYSTEM_ACCOUNTS = "ServiceAccount:kube-system/*"
#: priority level -> (nominal concurrency shares, lendable percent, queues, hand size)
_LEVELS = {
    "global-default": (20, 50, 128, 6),
    "leader-election": (10, 0, 16, 4),
    "node-high": (40, 25, 64, 6),
    "system": (30, 33, 64, 6),
    "workload-high": (40, 50, 128, 6),
    "workload-low": (100, 90, 128, 6),
}


def flow_control() -> list[Obj]:
    exempt = {**mandatory.LEVELS["exempt"], "exempt": {"nominalConcurrencyShares": 0, "lendablePercent": 0}}
    return [
        _object("PriorityLevelConfiguration", "exempt", exempt),
        _object("PriorityLevelConfiguration", "catch-all", mandatory.LEVELS["catch-all"]),
        *(_object("PriorityLevelConfiguration", name, _level(*values)) for name, values in _LEVELS.items()),
        *_schemas(),
    ]


def _level(shares: int, lendable_percent: int, queues: int, hand_size: int) -> Obj:
    queuing = {"queues": queues, "handSize": hand_size, "queueLengthLimit": 50}
    response = {"type": "Queue", "queuing": queuing}
    limited = {"nominalConcurrencyShares": shares, "lendablePercent": lendable_percent, "limitResponse": response}
    return {"type": "Limited", "limited": limited}


def _schemas() -> list[Obj]:
    managers = ("User:system:kube-controller-manager", "User:system:kube-scheduler")
    leases = _resources("coordination.k8s.io", "leases", verbs=("get", "create", "update"))
    node_leases = _resources("coordination.k8s.io", "leases")
    nodes = _resources("", "nodes", "nodes/status", cluster=True)
    everything = [_resources("*", "*", cluster=True)], [{"verbs": ["*"], "nonResourceURLs": ["*"]}]
    health = [{"verbs": ["get"], "nonResourceURLs": ["/healthz", "/readyz", "/livez"]}]
    by_user, by_namespace = "ByUser", "ByNamespace"
    return [
        *(_object("FlowSchema", name, spec) for name, spec in mandatory.SCHEMAS.items()),
        _schema("probes", "exempt", 2, _ALL_GROUPS, [], health),
        _schema("system-leader-election", "leader-election", 100, (*managers, _SYSTEM_ACCOUNTS), [leases], [], by_user),
        _schema("system-node-high", "node-high", 400, ("Group:system:nodes",), [nodes, node_leases], [], by_user),
        _schema("system-nodes", "system", 500, ("Group:system:nodes",), *everything, by_user),
        _schema("kube-controller-manager", "workload-high", 800, managers[:1], *everything, by_namespace),
        _schema("kube-scheduler", "workload-high", 800, managers[1:], *everything, by_namespace),
        _schema("kube-system-service-accounts", "workload-high", 900, (_SYSTEM_ACCOUNTS,), *everything, by_namespace),
        _schema("service-accounts", "workload-low", 9000, ("Group:system:serviceaccounts",), *everything, by_user),
        _schema("global-default", "global-default", 9900, _ALL_GROUPS, *everything, by_user),
    ]


def _schema(
    name: str,
    level: str,
    precedence: int,
    subjects: tuple[str, ...],
    resources: list[Obj],
    urls: list[Obj],
    distinguisher: str = "",
) -> Obj:
    rule: Obj = {"subjects": [_subject(text) for text in subjects]}
    if resources:
        rule["resourceRules"] = resources
    if urls:
        rule["nonResourceRules"] = urls
    spec: Obj = {
        "priorityLevelConfiguration": {"name": level},
        "matchingPrecedence": precedence,
        "rules": [rule],
    }
    if distinguisher:
        spec["distinguisherMethod"] = {"type": distinguisher}
    return _object("FlowSchema", name, spec)


def _resources(group: str, *resources: str, verbs: tuple[str, ...] = ("*",), cluster: bool = False) -> Obj:
    rule: Obj = {"verbs": list(verbs), "apiGroups": [group], "resources": list(resources), "namespaces": ["*"]}
    return {**rule, "clusterScope": True} if cluster else rule


def _subject(text: str) -> Obj:
    kind, _, name = text.partition(":")
    if kind == "ServiceAccount":
        namespace, _, account = name.partition("/")
        return {"kind": kind, "serviceAccount": {"namespace": namespace, "name": account}}
    return {"kind": kind, kind.lower(): {"name": name}}


def _object(kind: str, name: str, spec: Obj) -> Obj:
    metadata = {"name": name, "annotations": {"apf.kubernetes.io/autoupdate-spec": "true"}}
    return {"kind": kind, "apiVersion": "flowcontrol.apiserver.k8s.io/v1", "metadata": metadata, "spec": spec}


def dangling(schema: Obj, levels: Collection[str], now: datetime) -> Obj | None:
    """The condition Dangling of a FlowSchema: whether its priority level is missing. None: it says so already. Pure."""
    level = ((schema.get("spec") or {}).get("priorityLevelConfiguration") or {}).get("name", "")
    missing = level not in levels
    reference = f'This FlowSchema references the PriorityLevelConfiguration object named "{level}"'
    said = {
        "type": "Dangling",
        "status": "True" if missing else "False",
        "reason": "NotFound" if missing else "Found",
        "message": f"{reference} but there is no such object" if missing else f"{reference} and it exists",
    }
    conditions = (schema.get("status") or {}).get("conditions") or []
    before: Obj = next((condition for condition in conditions if condition.get("type") == "Dangling"), {})
    if all(before.get(key) == value for key, value in said.items()):
        return None
    moment = before.get("lastTransitionTime") if before.get("status") == said["status"] else None
    return {**said, "lastTransitionTime": moment or format_time(now)}
