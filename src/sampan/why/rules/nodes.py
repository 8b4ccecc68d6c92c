"""Nodes that are not ready, or take no pods."""

from __future__ import annotations

from typing import Final

from sampan.api.nodes import taints
from sampan.api.reading import flag, moment, part, text
from sampan.api.resources import LEASES, NODES
from sampan.api.types import Obj
from sampan.why.fit import show_taint
from sampan.why.model import Action, Cause, Fix, ref_of
from sampan.why.states import condition_of
from sampan.why.table import Found, rule
from sampan.why.world import World

_PRESSURES: Final = {
    "MemoryPressure": "memory",
    "DiskPressure": "disk space or inodes",
    "PIDPressure": "process ids",
}


@rule("node-silent", NODES, says="whether its agent is heard of")
def silent(world: World, node: Obj) -> Found:
    ready = condition_of(node, "Ready")
    if ready.get("status") != "Unknown" and ready:
        return
    ref = ref_of(NODES, node)
    lease = world.get(LEASES, ref.name, "kube-node-lease")
    last = text(ready, "lastHeartbeatTime")
    renewed = text(part(lease, "spec"), "renewTime") if lease is not None else ""
    since = moment(part(lease, "spec"), "renewTime") if lease is not None else None
    ago = f", {(world.now - since).total_seconds():.0f} s ago" if since is not None else ""
    yield Cause(
        f"Node {ref.name} is not ready: its agent (kubelet) is not heard of"
        + (f" since {renewed or last}{ago}." if renewed or last else " and never was."),
        (f"condition Ready is {text(ready, 'status') or 'not set'}: {text(ready, 'message')}",),
        Fix(
            "see that its machine is on, that the agent runs (`sampan status`, `journalctl -u kubelet`), and that it "
            "reaches the API server"
        ),
        rank=0,
    )


@rule("node-unready", NODES, says="what its agent says")
def unready(world: World, node: Obj) -> Found:
    ready = condition_of(node, "Ready")
    if ready.get("status") != "False":
        return
    said = text(ready, "message")
    network = "network" in said.lower() or "cni" in said.lower()
    yield Cause(
        f"Node {ref_of(NODES, node).name} is not ready: "
        + ("its pod network is not set up." if network else f"its agent says {text(ready, 'reason')}."),
        (said,),
        Fix(
            "install a network plugin, or see why its DaemonSet has no pod there"
            if network
            else "mend what the message names, on the node itself"
        ),
        rank=0,
    )


@rule("node-pressure", NODES, says="whether it is short of memory, disk or processes")
def pressure(world: World, node: Obj) -> Found:
    for kind, what in _PRESSURES.items():
        found = condition_of(node, kind)
        if found.get("status") == "True":
            yield Cause(
                f"Node {ref_of(NODES, node).name} is short of {what}, and evicts pods.",
                (f"condition {kind}: {text(found, 'message')}",),
                Fix(f"free {what} there, or move pods away: `kubectl top pod -A --sort-by=memory`"),
                rank=1,
            )


@rule("node-cordon", NODES, says="whether it is cordoned")
def cordon(world: World, node: Obj) -> Found:
    if flag(part(node, "spec"), "unschedulable"):
        ref = ref_of(NODES, node)
        yield Cause(
            f"Node {ref.name} takes no new pods: it is cordoned.",
            ("spec.unschedulable is true",),
            Fix("let pods onto it again", (Action("patch", ref, {"spec": {"unschedulable": None}}),)),
            rank=2,
        )


@rule("node-uninitialized", NODES, says="whether somebody still has to set it up")
def uninitialized(world: World, node: Obj) -> Found:
    for taint in taints.of(node):
        if text(taint, "key") == "node.cloudprovider.kubernetes.io/uninitialized":
            yield Cause(
                f"Node {ref_of(NODES, node).name} takes no pods: it waits for a cloud controller to set it up.",
                (f"taint {show_taint(taint)}",),
                Fix(
                    "run that controller, or take the taint away: `kubectl taint nodes "
                    f"{ref_of(NODES, node).name} {text(taint, 'key')}-`"
                ),
                rank=1,
            )
