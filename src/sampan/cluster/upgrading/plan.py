"""What an upgrade is to do, and what stands against it. Pure.

The version that is installed on this machine is the one that an upgrade brings. What must hold before: every node is
Ready, most members of etcd answer, no component is ahead of what comes, or more than one minor version behind
(kubeadm's skew for control planes; nodes may be three behind).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from sampan.api.reading import part, parts, text
from sampan.api.types import Obj
from sampan.records import dataclass

#: minor versions that a node may be behind the API server
NODE_SKEW = 3
_VERSION = re.compile(r"v?(\d+)\.(\d+)\.(\d+)")


@dataclass(frozen=True, slots=True)
class Component:
    """``machine`` "": the cluster as a whole."""

    name: str
    machine: str
    version: str


@dataclass(frozen=True, slots=True)
class Found:
    """A cluster as an upgrade finds it. ``uses``: what of the API a release up to the target removed, in words."""

    servers: Sequence[Component]
    nodes: Sequence[Obj]
    target: str
    uses: Sequence[str] = ()
    etcd_problems: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """``against``: what has to be mended first. ``breaks``: what goes on otherwise, or no longer, afterwards."""

    components: Sequence[Component]
    target: str
    against: Sequence[str]
    breaks: Sequence[str]


def plan(found: Found) -> Plan:
    nodes = [
        Component(
            "kubelet", str(node["metadata"]["name"]), text(part(part(node, "status"), "nodeInfo"), "kubeletVersion")
        )
        for node in found.nodes
    ]
    against = [f"node {name} is not Ready" for name in not_ready(found.nodes)]
    against += [f"etcd: {problem}" for problem in found.etcd_problems]
    for component in (*found.servers, *nodes):
        if said := _skew(component, found.target):
            against.append(said)
    return Plan([*found.servers, *nodes], found.target, against, list(found.uses))


def not_ready(nodes: Sequence[Obj]) -> list[str]:
    return [str(node["metadata"]["name"]) for node in nodes if not _is_ready(node)]


def _is_ready(node: Obj) -> bool:
    conditions = parts(part(node, "status"), "conditions")
    return any(each.get("type") == "Ready" and each.get("status") == "True" for each in conditions)


def _skew(component: Component, target: str) -> str:
    """What is wrong with its version; "": nothing, or it says none that can be read."""
    had, wanted = numbers(component.version), numbers(target)
    if had is None or wanted is None:
        return ""
    where = f"{component.name} of {component.machine}" if component.machine else component.name
    if had > wanted:
        return f"{where} is {component.version}, which is newer than {target}: nothing is taken back"
    most = NODE_SKEW if component.name == "kubelet" else 1
    if wanted[0] != had[0] or wanted[1] - had[1] > most:
        return (
            f"{where} is {component.version}, more than {most} minor before {target}: upgrade to one in between first"
        )
    return ""


def numbers(version: str) -> tuple[int, int, int] | None:
    match = _VERSION.match(version)
    return (int(match[1]), int(match[2]), int(match[3])) if match else None


def render(made: Plan) -> str:
    rows = [("COMPONENT", "NODE", "CURRENT", "TARGET")]
    rows += [(each.name, each.machine, each.version, made.target) for each in made.components]
    widths = [max(len(row[place]) for row in rows) for place in range(4)]
    lines = ["   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    if made.breaks:
        lines += ["", "What would break:", *(f"  - {each}" for each in made.breaks)]
    if made.against:
        lines += ["", "To be mended first:", *(f"  - {each}" for each in made.against)]
    else:
        lines += [""]
        if all(each.version == made.target for each in made.components):
            lines += [
                f"All of it runs {made.target} already; what is installed may still be newer than what was started.",
            ]
        lines += [
            "Upgrade the control planes one after another, then the workers, each with the new version installed:",
            "  sampan upgrade apply      on the first control plane",
            "  sampan upgrade node       on each other machine",
        ]
    return "\n".join(lines)
