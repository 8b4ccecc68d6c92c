"""What can be said of an APIService's backend without asking it, and how that is written down. Pure.

Spec: kube-aggregator's remote availability controller; reasons and messages are its.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sampan.api.groups.apiregistration.apiservice import AVAILABLE
from sampan.api.reading import part, parts, text
from sampan.api.types import Obj
from sampan.records import dataclass
from sampan.server.aggregation.remotes import Remote


@dataclass(frozen=True, slots=True)
class Verdict:
    """The Available condition, without its time."""

    available: bool
    reason: str
    message: str


PASSED = Verdict(True, "Passed", "all checks passed")


def check(remote: Remote, service: Obj | None, slices: Callable[[], Sequence[Obj]]) -> Verdict | None:
    """What the objects say against the backend; None: nothing, it may be asked."""
    where = f'service/{remote.service} in "{remote.namespace}"'
    if service is None:
        return Verdict(False, "ServiceNotFound", f"{where} is not present")
    spec = part(service, "spec")
    if text(spec, "type") not in ("", "ClusterIP"):
        return None
    port = next((each for each in parts(spec, "ports") if each.get("port") == remote.port), None)
    if port is None:
        return Verdict(False, "ServicePortError", f"{where} is not listening on port {remote.port}")
    found = slices()
    if not found:
        return Verdict(False, "EndpointsNotFound", f"cannot find endpointslices for {where}")
    name = text(port, "name")
    if not any(_answers(piece, name) for piece in found):
        message = f'endpointslices for {where} have no addresses with port name "{name}"'
        return Verdict(False, "MissingEndpoints", message)
    return None


def _answers(piece: Obj, port_name: str) -> bool:
    ready = any(part(each, "conditions").get("ready") is not False for each in parts(piece, "endpoints"))
    return ready and any(text(each, "name") == port_name and each.get("port") for each in parts(piece, "ports"))


def failed(message: str) -> Verdict:
    return Verdict(False, "FailedDiscoveryCheck", message)


def with_verdict(obj: Obj, verdict: Verdict, now: str) -> Obj | None:
    """The APIService with this condition, None where it says so already. The time is that of the last change of the
    status, not of the reason."""
    conditions = list(parts(part(obj, "status"), "conditions"))
    status = "True" if verdict.available else "False"
    wanted = {
        "type": AVAILABLE,
        "status": status,
        "lastTransitionTime": now,
        "reason": verdict.reason,
        "message": verdict.message,
    }
    before = next((each for each in conditions if each.get("type") == AVAILABLE), None)
    if before is None:
        conditions.append(wanted)
    else:
        if before.get("status") == status and "lastTransitionTime" in before:
            wanted["lastTransitionTime"] = before["lastTransitionTime"]
        if wanted == before:
            return None
        conditions[conditions.index(before)] = wanted
    return {**obj, "status": {**part(obj, "status"), "conditions": conditions}}
