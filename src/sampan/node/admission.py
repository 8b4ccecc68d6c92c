"""Whether this node takes a pod that was bound to it: the kubelet's own admission. Pure.

Whoever bound the pod may have seen an older Node, another scheduler's view, or nothing at all, so the node judges by
itself. Order of checks, reasons and messages are upstream's (``pkg/kubelet/lifecycle``, ``eviction``, ``sysctl``,
``scheduler.AdmissionCheck``). The topology manager (``topology.aligning``) is asked after these. Used by the
agent, once for each pod that it did not run before.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

from sampan.api.nodes import affinity, taints
from sampan.api.nodes.status import condition
from sampan.api.pods import containers, origin, tolerations
from sampan.api.pods.qos import qos_class
from sampan.api.pods.requests import Amounts, pod_requests
from sampan.api.pods.status import node_name
from sampan.api.reading import part, parts, text
from sampan.api.types import Obj
from sampan.node import sysctls
from sampan.records import dataclass

OS = "linux"
_OS_LABEL = "kubernetes.io/os"
_PRESSURES = ("MemoryPressure", "DiskPressure", "PIDPressure")
_FIRST_RESOURCES = ("cpu", "memory", "ephemeral-storage")


UNEXPECTED = "UnexpectedAdmissionError"


class Refusal(NamedTuple):
    reason: str
    message: str


def allocation_failed(why: str) -> Refusal:
    return Refusal(UNEXPECTED, f"Allocate failed due to {why}, which is unexpected")


@dataclass(frozen=True, slots=True, kw_only=True)
class Grounds:
    """What the node judges by."""

    node: Obj
    #: What pods may have of it, as the Node says in its status.
    allocatable: Amounts
    #: Pods that have a claim on the node already.
    others: Sequence[Obj] = ()
    supplemental_groups_policy: bool = False
    apparmor: bool = False
    selinux: bool = False
    #: Resources of device plug-ins: who gives them out counts them.
    lent: Collection[str] = ()
    allowed_unsafe_sysctls: tuple[str, ...] = ()
    #: What the node is short of, as conditions; None: what the Node says.
    pressures: Sequence[str] | None = None
    #: The pod was taken before, by an agent of before: where it may run is not judged again.
    taken_before: bool = False


def admit(pod: Obj, grounds: Grounds) -> Refusal | None:
    """None: the node takes the pod."""
    for check in _CHECKS:
        refusal = check(pod, grounds)
        if refusal is not None:
            return refusal
    return None


def _pressure(pod: Obj, grounds: Grounds) -> Refusal | None:
    found = [*grounds.pressures] if grounds.pressures is not None else _told(grounds.node)
    if not found or origin.is_critical(pod):
        return None
    if found == ["MemoryPressure"]:
        taint = {"key": taints.MEMORY_PRESSURE, "effect": "NoSchedule"}
        if qos_class(pod) != "BestEffort" or tolerations.first_untolerated(pod, [taint], ["NoSchedule"]) is None:
            return None
    return Refusal("Evicted", f"The node had condition: [{' '.join(found)}]. ")


def _told(node: Obj) -> list[str]:
    return [kind for kind in _PRESSURES if (condition(node, kind) or {}).get("status") == "True"]


def _sysctls(pod: Obj, grounds: Grounds) -> Refusal | None:
    spec = part(pod, "spec")
    for item in parts(part(spec, "securityContext"), "sysctls"):
        why = sysctls.forbidden(
            text(item, "name"),
            grounds.allowed_unsafe_sysctls,
            host_network=containers.is_host_network(pod),
            host_ipc=spec.get("hostIPC") is True,
        )
        if why:
            return Refusal("SysctlForbidden", f"forbidden sysctl: {why}")
    return None


def _os_selector(pod: Obj, grounds: Grounds) -> Refusal | None:
    """Upstream looks at the pod's own label here, and leaves its nodeSelector to the node affinity."""
    if part(part(pod, "metadata"), "labels").get(_OS_LABEL, OS) == OS:
        return None
    return Refusal(
        "PodOSSelectorNodeLabelDoesNotMatch",
        "Failed to admit pod as the `kubernetes.io/os` label doesn't match node label",
    )


def _os_field(pod: Obj, grounds: Grounds) -> Refusal | None:
    named = part(part(pod, "spec"), "os")
    if not named or named.get("name") == OS:
        return None
    return Refusal("PodOSNotSupported", "Failed to admit pod as the OS field doesn't match node OS")


def _supplemental_groups(pod: Obj, grounds: Grounds) -> Refusal | None:
    policy = part(part(pod, "spec"), "securityContext").get("supplementalGroupsPolicy")
    if policy != "Strict" or grounds.supplemental_groups_policy:
        return None
    return Refusal(
        "SupplementalGroupsPolicyNotSupported", "SupplementalGroupsPolicy=Strict is not supported in this node"
    )


def _resources(pod: Obj, grounds: Grounds) -> Refusal | None:
    room = grounds.allocatable
    if len(grounds.others) + 1 > room.get("pods", 0):
        return _out_of("pods", 1, len(grounds.others), room.get("pods", 0))
    # What no node says it has (resources of the cluster, or of drivers) is not the node's to refuse.
    asked = pod_requests(pod).items()
    requests = {
        name: amount
        for name, amount in asked
        if amount > 0 and name not in grounds.lent and (name in room or not _extended(name))
    }
    if not requests:
        return None
    used: Amounts = {}
    for other in grounds.others:
        for name, amount in pod_requests(other).items():
            used[name] = used.get(name, 0) + amount
    for name in (*_FIRST_RESOURCES, *sorted(requests.keys() - set(_FIRST_RESOURCES))):
        if requests.get(name, 0) > room.get(name, 0) - used.get(name, 0):
            return _out_of(name, requests[name], used.get(name, 0), room.get(name, 0))
    return None


def _out_of(name: str, requested: int, used: int, capacity: int) -> Refusal:
    return Refusal(
        f"OutOf{name}",
        f"Node didn't have enough resource: {name}, requested: {requested}, used: {used}, capacity: {capacity}",
    )


def _extended(resource: str) -> bool:
    return "/" in resource and "kubernetes.io/" not in resource and not resource.startswith("requests.")


def _affinity(pod: Obj, grounds: Grounds) -> Refusal | None:
    if grounds.taken_before or affinity.allows(pod, grounds.node):
        return None
    return _failed("NodeAffinity", "node(s) didn't match Pod's node affinity/selector")


def _name(pod: Obj, grounds: Grounds) -> Refusal | None:
    if node_name(pod) in ("", text(part(grounds.node, "metadata"), "name")):
        return None
    return _failed("NodeName", "node(s) didn't match the requested node name")


def _ports(pod: Obj, grounds: Grounds) -> Refusal | None:
    wanted = list(containers.host_ports(pod))
    if not wanted:
        return None
    taken = [port for other in grounds.others for port in containers.host_ports(other)]
    if not any(_clash(one, other) for one in wanted for other in taken):
        return None
    return _failed("NodePorts", "node(s) didn't have free ports for the requested pod ports")


def _clash(one: containers.HostPort, other: containers.HostPort) -> bool:
    if (one.protocol, one.port) != (other.protocol, other.port):
        return False
    return one.ip == other.ip or "0.0.0.0" in (one.ip, other.ip)


def _taints(pod: Obj, grounds: Grounds) -> Refusal | None:
    """Only those that end what runs: whoever bound the pod past NoSchedule meant it."""
    if grounds.taken_before or origin.is_static(pod):
        return None
    if tolerations.first_untolerated(pod, taints.of(grounds.node), ["NoExecute"]) is None:
        return None
    return _failed("TaintToleration", "node(s) had taints that the pod didn't tolerate")


def _failed(predicate: str, why: str) -> Refusal:
    return Refusal(predicate, f"Predicate {predicate} failed: {why}")


def _apparmor(pod: Obj, grounds: Grounds) -> Refusal | None:
    holders = (part(pod, "spec"), *(container for _, container in containers.walk(pod)))
    profiles = [part(part(holder, "securityContext"), "appArmorProfile") for holder in holders]
    wanted = [profile for profile in profiles if profile and profile.get("type") != "Unconfined"]
    if not wanted:
        return None
    if not grounds.apparmor:
        return Refusal("AppArmor", "Cannot enforce AppArmor: AppArmor is not enabled on the host")
    if any(profile.get("type") == "Localhost" and not text(profile, "localhostProfile").strip() for profile in wanted):
        return Refusal("AppArmor", 'Cannot enforce AppArmor: invalid empty AppArmor profile name: ""')
    return None


def _selinux(pod: Obj, grounds: Grounds) -> Refusal | None:
    """Not upstream's: there the runtime labels. Ours does not (docs/known-flaws.md), so where the kernel would enforce
    a label the pod is refused; where it would not, a label means nothing."""
    holders = (part(pod, "spec"), *(container for _, container in containers.walk(pod)))
    if not grounds.selinux or not any(part(part(each, "securityContext"), "seLinuxOptions") for each in holders):
        return None
    return Refusal("PodFeatureUnsupported", "Pod requires node features that are not available: SELinux labels")


_CHECKS: tuple[Callable[[Obj, Grounds], Refusal | None], ...] = (
    _pressure,
    _sysctls,
    _os_selector,
    _os_field,
    _supplemental_groups,
    _resources,
    _affinity,
    _name,
    _ports,
    _taints,
    _apparmor,
    _selinux,
)
