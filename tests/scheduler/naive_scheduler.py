"""A scheduler that looks at one node after the other, told from the documented behaviour of each default plug-in.

An oracle for the arrays: it knows specs as plain values, shares no code with the plug-ins, and is as slow as it is
plain. What volumes mean is in ``naive_volumes.py``; devices have a table of their own.
"""

import math
from collections import Counter
from dataclasses import dataclass, field

from naive_volumes import HOST, UNRESOLVABLE, UNSCHEDULABLE, ZONE, Disks

MIB = 2**20


@dataclass
class Node:
    name: str
    cpu: int = 4000
    memory: int = 8192
    pods: int = 110
    gpus: int | None = None
    labels: dict = field(default_factory=dict)
    taints: list = field(default_factory=list)
    cordoned: bool = False
    images: dict = field(default_factory=dict)

    def to_object(self):
        offered = {"cpu": f"{self.cpu}m", "memory": f"{self.memory}Mi", "pods": str(self.pods)}
        if self.gpus is not None:
            offered["example.com/gpu"] = str(self.gpus)
        taints = [{"key": k, "value": v, "effect": e} for k, v, e in self.taints]
        images = [{"names": [name], "sizeBytes": size} for name, size in self.images.items()]
        return {
            "metadata": {"name": self.name, "labels": self.labels},
            "spec": {"taints": taints, "unschedulable": self.cordoned},
            "status": {"allocatable": offered, "images": images},
        }


@dataclass
class Pod:
    """``terms``: (kind, hard, topology key, label of app, weight); ``spread``: (hard, key, skew, app, min domains)."""

    name: str
    cpu: int = 0
    memory: int = 0
    gpus: int = 0
    labels: dict = field(default_factory=dict)
    priority: int = 0
    tolerations: list = field(default_factory=list)
    selector: dict = field(default_factory=dict)
    required_zones: list | None = None
    preferred: list = field(default_factory=list)
    port: int = 0
    image: str = "none:1"
    terms: list = field(default_factory=list)
    spread: list = field(default_factory=list)
    started: int = 0
    claims: list = field(default_factory=list)
    disk: str = ""

    def to_object(self, node=""):
        requests = {}
        if self.cpu:
            requests["cpu"] = f"{self.cpu}m"
        if self.memory:
            requests["memory"] = f"{self.memory}Mi"
        if self.gpus:
            requests["example.com/gpu"] = str(self.gpus)
        container = {"name": "c", "image": self.image, "resources": {"requests": requests}}
        if self.port:
            container["ports"] = [{"hostPort": self.port, "containerPort": self.port}]
        spec = {
            "containers": [container],
            "priority": self.priority,
            "tolerations": [{"key": k, "operator": "Exists", "effect": e} for k, e in self.tolerations],
        }
        if self.selector:
            spec["nodeSelector"] = self.selector
        if affinity := self._affinity():
            spec["affinity"] = affinity
        if self.spread:
            spec["topologySpreadConstraints"] = [
                {
                    "maxSkew": skew, "topologyKey": key, "labelSelector": {"matchLabels": {"app": app}},
                    "whenUnsatisfiable": "DoNotSchedule" if hard else "ScheduleAnyway",
                    **({"minDomains": domains} if hard and domains else {}),
                } for hard, key, skew, app, domains in self.spread
            ]  # fmt: skip
        volumes = [{"name": name, "persistentVolumeClaim": {"claimName": name}} for name in self.claims]
        if self.disk:
            volumes.append({"name": "disk", "gcePersistentDisk": {"pdName": self.disk}})
        if volumes:
            spec["volumes"] = volumes
        if node:
            spec["nodeName"] = node
        meta = {"name": self.name, "namespace": "d", "uid": self.name, "labels": self.labels}
        started = f"2026-01-01T00:00:{self.started:02}Z"
        return {"metadata": meta, "spec": spec, "status": {"startTime": started} if node else {}}

    def _affinity(self):
        found = {}
        node = {}
        if self.required_zones is not None:
            test = {"key": ZONE, "operator": "In", "values": self.required_zones}
            node["requiredDuringSchedulingIgnoredDuringExecution"] = {
                "nodeSelectorTerms": [{"matchExpressions": [test]}]
            }
        if self.preferred:
            node["preferredDuringSchedulingIgnoredDuringExecution"] = [
                {"weight": w, "preference": {"matchExpressions": [{"key": ZONE, "operator": "In", "values": [z]}]}}
                for z, w in self.preferred
            ]
        if node:
            found["nodeAffinity"] = node
        for kind, hard, key, app, weight in self.terms:
            side = found.setdefault("podAffinity" if kind == "together" else "podAntiAffinity", {})
            term = {"topologyKey": key, "labelSelector": {"matchLabels": {"app": app}}}
            if hard:
                side.setdefault("requiredDuringSchedulingIgnoredDuringExecution", []).append(term)
            else:
                wish = {"weight": weight, "podAffinityTerm": term}
                side.setdefault("preferredDuringSchedulingIgnoredDuringExecution", []).append(wish)
        return found


class World:
    """``placed``: (pod, name of its node)."""

    def __init__(self, nodes, placed, disks=None):
        self.nodes = {node.name: node for node in nodes}
        self.placed = list(placed)
        self.disks = disks or Disks()

    def on(self, name):
        return [pod for pod, where in self.placed if where == name]

    def domain(self, key, value):
        """Pods whose node has this value of the label."""
        return [pod for pod, where in self.placed if where in self.nodes and self.nodes[where].labels.get(key) == value]

    def without(self, pods):
        gone = {pod.name for pod in pods}
        rest = [(pod, where) for pod, where in self.placed if pod.name not in gone]
        return World(self.nodes.values(), rest, self.disks)


def tolerates(pod, key, effect):
    return any(k == key and e in ("", None, effect) for k, e in pod.tolerations)


def allows(pod, node):
    """nodeSelector and required node affinity."""
    if any(node.labels.get(key) != value for key, value in pod.selector.items()):
        return False
    return pod.required_zones is None or node.labels.get(ZONE) in pod.required_zones


def verdict(pod, node, world):
    """None: it fits; else its reasons, and whether no preemption could help."""
    if nowhere := world.disks.nowhere(pod):
        return [nowhere], UNRESOLVABLE
    if node.cordoned and not tolerates(pod, "node.kubernetes.io/unschedulable", "NoSchedule"):
        return ["node(s) were unschedulable"], UNRESOLVABLE
    for key, _, effect in node.taints:
        if effect != "PreferNoSchedule" and not tolerates(pod, key, effect):
            return ["node(s) had untolerated taint(s)"], UNRESOLVABLE
    if not allows(pod, node):
        return ["node(s) didn't match Pod's node affinity/selector"], UNRESOLVABLE
    here = world.on(node.name)
    if pod.port and any(other.port == pod.port for other in here):
        return ["node(s) didn't have free ports for the requested pod ports"], UNSCHEDULABLE
    if found := _short(pod, node, here):
        return found
    everybody = [other for other, where in world.placed if where in world.nodes]
    if found := world.disks.verdict(pod, node, here, everybody):
        return found
    return _uneven(pod, node, world) or _company(pod, node, world)


def _short(pod, node, here):
    reasons, never = [], False
    if len(here) + 1 > node.pods:
        reasons.append("Too many pods")
    for name, asked, used, offered in (
        ("cpu", pod.cpu, sum(p.cpu for p in here), node.cpu),
        ("memory", pod.memory, sum(p.memory for p in here), node.memory),
        ("example.com/gpu", pod.gpus, sum(p.gpus for p in here), node.gpus or 0),
    ):
        if asked and used + asked > offered:
            reasons.append(f"Insufficient {name}")
            never = never or asked > offered
    return (reasons, never) if reasons else None


def _uneven(pod, node, world):
    hard = [rule for rule in pod.spread if rule[0]]
    counted = [n for n in world.nodes.values() if allows(pod, n) and all(key in n.labels for _, key, *_ in hard)]
    for _, key, skew, app, domains in hard:
        value = node.labels.get(key)
        if value is None:
            return ["node(s) didn't match pod topology spread constraints (missing required label)"], UNRESOLVABLE
        counts = Counter({n.labels[key]: 0 for n in counted})
        for other in counted:
            counts[other.labels[key]] += sum(p.labels.get("app") == app for p in world.on(other.name))
        lowest = (
            min(counts.values()) if counts and len(counts) >= (domains or 1) else (0 if counts or domains else None)
        )
        own = pod.labels.get("app") == app
        if lowest is not None and counts.get(value, 0) + own - lowest > skew:
            return ["node(s) didn't match pod topology spread constraints"], UNSCHEDULABLE
    return None


def _company(pod, node, world):
    together = [term for term in pod.terms if term[0] == "together" and term[1]]
    if together:
        apps = [app for _, _, _, app, _ in together]
        labelled = all(key in node.labels for _, _, key, _, _ in together)
        matching = [(p, w) for p, w in world.placed if w in world.nodes and all(p.labels.get("app") == a for a in apps)]
        met = labelled and all(
            any(world.nodes[w].labels.get(key) == node.labels[key] for _, w in matching) for _, _, key, _, _ in together
        )
        counted = any(key in world.nodes[w].labels for _, _, key, _, _ in together for _, w in matching)
        first = not counted and all(pod.labels.get("app") == app for app in apps)
        if not (met or (first and labelled)):
            return ["node(s) didn't match pod affinity rules"], UNRESOLVABLE
    for kind, hard, key, app, _ in pod.terms:
        value = node.labels.get(key)
        apart = kind == "apart" and hard and value is not None
        if apart and any(other.labels.get("app") == app for other in world.domain(key, value)):
            return ["node(s) didn't match pod anti-affinity rules"], UNSCHEDULABLE
    for other, where in world.placed:
        for kind, hard, key, app, _ in other.terms if where in world.nodes else ():
            value = world.nodes[where].labels.get(key)
            near = value is not None and node.labels.get(key) == value
            if near and kind == "apart" and hard and pod.labels.get("app") == app:
                return ["node(s) didn't satisfy existing pods anti-affinity rules"], UNSCHEDULABLE
    return None


# Scores: of the nodes that fit, each plug-in's number from 0 to 100, times its weight


def totals(pod, names, world):
    nodes = [world.nodes[name] for name in names]
    columns = (
        (3, _taints(pod, nodes)), (2, _wanted_zones(pod, nodes)), (1, _free(pod, nodes, world)),
        (2, _even(pod, nodes, world)), (2, _near(pod, nodes, world)), (1, _balanced(pod, nodes, world)),
        (1, _images(pod, nodes, world)),
    )  # fmt: skip
    return {name: sum(w * column[i] for w, column in columns) for i, name in enumerate(names)}


def _taints(pod, nodes):
    soft = Pod("soft", tolerations=[(k, e) for k, e in pod.tolerations if e in ("", None, "PreferNoSchedule")])
    raw = [sum(e == "PreferNoSchedule" and not tolerates(soft, k, e) for k, _, e in node.taints) for node in nodes]
    most = max(raw)
    return [100 if not most else 100 - 100 * count // most for count in raw]


def _wanted_zones(pod, nodes):
    raw = [sum(weight for zone, weight in pod.preferred if node.labels.get(ZONE) == zone) for node in nodes]
    most = max(raw)
    return raw if not most else [100 * count // most for count in raw]


def _free(pod, nodes, world):
    """LeastAllocated; what asks for nothing counts as 100m and 200 MiB."""
    found = []
    for node in nodes:
        everybody = [*world.on(node.name), pod]
        parts = []
        for offered, used in (
            (node.cpu, sum(p.cpu or 100 for p in everybody)), (node.memory, sum(p.memory or 200 for p in everybody))
        ):  # fmt: skip
            if offered:
                parts.append(0 if used > offered else (offered - used) * 100 // offered)
        found.append(sum(parts) // len(parts) if parts else 0)
    return found


def _balanced(pod, nodes, world):
    if not pod.cpu and not pod.memory:
        return [0] * len(nodes)
    found = []
    for node in nodes:
        others = world.on(node.name)
        change = _evenness(node, [*others, pod]) - _evenness(node, others)
        found.append(50 + (50 + change) // 2)
    return found


def _evenness(node, pods):
    parts = [
        min(used / offered, 1.0)
        for offered, used in ((node.cpu, sum(p.cpu for p in pods)), (node.memory, sum(p.memory for p in pods)))
        if offered
    ]
    deviation = abs((parts[0] - parts[1]) / 2) if len(parts) == 2 else 0.0
    return int((1 - deviation) * 100)


def _images(pod, nodes, world):
    holders = [node for node in world.nodes.values() if pod.image in node.images]
    found = []
    for node in nodes:
        size = node.images.get(pod.image, 0)
        # Of several sizes told for one image, that of the last node counts for all.
        scaled = int(size * (len(holders) / len(world.nodes))) if size else 0
        bounded = min(max(scaled, 23 * MIB), 1000 * MIB)
        found.append(100 * (bounded - 23 * MIB) // (1000 * MIB - 23 * MIB))
    return found


def _even(pod, nodes, world):
    soft = [rule for rule in pod.spread if not rule[0]]
    if not soft:
        return [0] * len(nodes)
    keys = [key for _, key, *_ in soft]
    scored = [node for node in nodes if all(key in node.labels for key in keys)]
    raw = {}
    for node in scored:
        total = 0.0
        for _, key, skew, app, _ in soft:
            if key == HOST:
                size = len(scored)
                count = sum(p.labels.get("app") == app for p in world.on(node.name))
            else:
                size = len({n.labels[key] for n in scored})
                counted = [
                    n for n in world.nodes.values()
                    if allows(pod, n) and all(k in n.labels for k in keys) and n.labels[key] == node.labels[key]
                ]  # fmt: skip
                count = sum(p.labels.get("app") == app for n in counted for p in world.on(n.name))
            total += count * math.log(size + 2) + (skew - 1)
        raw[node.name] = math.floor(total + 0.5)
    if not raw:
        return [0] * len(nodes)
    lowest, highest = min(raw.values()), max(raw.values())
    return [
        0 if node.name not in raw else 100 if not highest else 100 * (highest + lowest - raw[node.name]) // highest
        for node in nodes
    ]


def _near(pod, nodes, world):
    raw = []
    for node in nodes:
        total = 0
        for other, where in world.placed:
            if where not in world.nodes:
                continue
            there = world.nodes[where].labels
            for kind, hard, key, app, weight in pod.terms:
                if not hard and other.labels.get("app") == app and _same(key, node.labels, there):
                    total += weight if kind == "together" else -weight
            for kind, hard, key, app, weight in other.terms:
                if pod.labels.get("app") == app and _same(key, node.labels, there):
                    if hard:
                        total += kind == "together"  # hardPodAffinityWeight
                    else:
                        total += weight if kind == "together" else -weight
        raw.append(total)
    lowest, highest = min(raw), max(raw)
    return [int(100 * (value - lowest) / (highest - lowest)) if highest > lowest else 0 for value in raw]


def _same(key, one, other):
    return key in one and one.get(key) == other.get(key)


# Preemption


def preempt(pod, world, budgets=()):
    """By node: the pods that would have to leave it, the fewest and least important, and how many of them a budget
    protects. ``budgets``: (label of app, how many may go)."""
    found = {}
    for node in world.nodes.values():
        told = verdict(pod, node, world)
        if told is None or told[1]:
            continue
        lower = [other for other in world.on(node.name) if other.priority < pod.priority]
        if not lower or verdict(pod, node, world.without(lower)) is not None:
            continue
        gone = sorted(lower, key=lambda p: (-p.priority, p.started))
        protected = _protected(gone, budgets)
        for other in sorted(gone, key=lambda p: p.name not in protected):
            rest = [p for p in gone if p.name != other.name]
            if verdict(pod, node, world.without(rest)) is None:
                gone = rest
        if gone:
            found[node.name] = gone, sum(p.name in protected for p in gone)
    return found


def _protected(pods, budgets):
    """Those whose going would break a budget if all went, one after the other."""
    found, left = set(), [allowed for _, allowed in budgets]
    for pod in pods:
        for number, (app, _) in enumerate(budgets):
            if pod.labels.get("app") == app:
                left[number] -= 1
                if left[number] < 0:
                    found.add(pod.name)
    return found


def best_victims(candidates):
    """The nodes that are as good as the best one."""

    def cost(found):
        pods, broken = found
        highest = max(p.priority for p in pods)
        return broken, highest, sum(p.priority + 2**31 for p in pods), len(pods)

    def earliest(found):
        highest = max(p.priority for p in found[0])
        return min(p.started for p in found[0] if p.priority == highest)

    best = min(map(cost, candidates.values()))
    equal = {name: found for name, found in candidates.items() if cost(found) == best}
    latest = max(map(earliest, equal.values()))
    return {name for name, found in equal.items() if earliest(found) == latest}
