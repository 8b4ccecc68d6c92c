"""What a repair pass found, as Events and log lines with upstream's reasons and messages.

A standing fault is told once an hour, for an Event lives no longer; no more than ``MOST_EVENTS`` a pass are written.
"""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Sequence

from sampan.api.clock import Clock, Random, format_time
from sampan.api.errors import ApiError
from sampan.api.resources import EVENTS, IP_ADDRESSES, SERVICES
from sampan.api.transport import Call, Transport
from sampan.api.types import Obj
from sampan.server.allocators.addresses import family_of
from sampan.server.allocators.repair import Fault, Finding
from sampan.server.reader import ObjectReader

log = logging.getLogger(__name__)

MOST_EVENTS = 50
AGAIN_SECONDS = 3600.0
_REASONS: dict[Fault, tuple[str, str]] = {
    "missing": ("ClusterIPNotAllocated", "PortNotAllocated"),
    "wrong": ("ClusterIPNotAllocated", "PortNotAllocated"),
    "clashing": ("ClusterIPAlreadyAllocated", "PortAlreadyAllocated"),
    "out of range": ("ClusterIPOutOfRange", "PortOutOfRange"),
    "leaked": ("IPAddressNotAllocated", ""),
}


def reason_and_message(finding: Finding, port_range: tuple[int, int]) -> tuple[str, str]:
    """An empty reason: it is for the log only. Pure."""
    name, owner, port = finding.name, finding.owner, finding.name.isdigit()
    reason = _REASONS[finding.fault][port]
    where = f"Service {owner.namespace}/{owner.name}" if owner is not None else "a Service"
    if port:
        match finding.fault:
            case "missing" | "wrong":
                return reason, f"Port {name} is not allocated; repairing"
            case "clashing":
                return reason, f"Port {name} was assigned to multiple services; please recreate service"
            case "out of range":
                text = f"the port range {port_range[0]}-{port_range[1]}"
                return reason, f"Port {name} is not within {text}; please recreate service"
            case "leaked":
                return reason, f"the node port {name} for {where} appears to have leaked: cleaning up"
    family = family_of(ipaddress.ip_address(name).version)
    match finding.fault:
        case "missing":
            return reason, f"Cluster IP [{family}]: {name} is not allocated; repairing"
        case "wrong":
            return reason, f"the ClusterIP [{family}]: {name} for {where} has a wrong reference; repairing"
        case "clashing":
            return reason, f"Cluster IP [{family}]:{name} was assigned to multiple services; please recreate service"
        case "out of range":
            text = "is not within any configured Service CIDR; please recreate service"
            return reason, f"Cluster IP [{family}]: {name} {text}"
        case "leaked" if owner is None:
            text = "appears to have been modified, not referencing a Service: cleaning up"
            return reason, f"IPAddress {name} {text}"
        case "leaked":
            return reason, f"IPAddress: {name} for {where} appears to have leaked: cleaning up"


class Reporter:
    def __init__(
        self, writer: Transport, reader: ObjectReader, port_range: tuple[int, int], clock: Clock, random: Random
    ) -> None:
        self._writer, self._reader, self._port_range = writer, reader, port_range
        self._clock, self._random = clock, random
        self._told: dict[Finding, float] = {}

    async def report(self, findings: Sequence[Finding], now: float) -> None:
        """Never raises ApiError: losing an Event is allowed. ``now`` is of the loop's clock."""
        told = {finding: when for finding in findings if (when := self._told.get(finding)) is not None}
        self._told = {finding: when for finding, when in told.items() if now - when < AGAIN_SECONDS}
        fresh = [finding for finding in findings if finding not in self._told]
        for finding in fresh[:MOST_EVENTS]:
            self._told[finding] = now
            reason, message = reason_and_message(finding, self._port_range)
            log.warning("%s", message)
            if not reason:
                continue
            try:
                event = self._event(finding, reason, message)
                await self._writer.call(Call("POST", EVENTS.path(event["metadata"]["namespace"]), body=event))
            except ApiError as error:
                log.warning("event %s: %s", reason, error)
        if len(fresh) > MOST_EVENTS:
            log.warning("%d more faults of addresses and ports of services", len(fresh) - MOST_EVENTS)

    def _event(self, finding: Finding, reason: str, message: str) -> Obj:
        about = self._about(finding)
        port = finding.name.isdigit()
        component = f"{'port' if port else 'ip'}allocator-repair-controller"
        now = format_time(self._clock.now())
        namespace = about.get("namespace", "default")
        return {
            "kind": "Event",
            "apiVersion": "v1",
            "metadata": {"name": f"{about['name']}.{self._random.getrandbits(64):016x}", "namespace": namespace},
            "involvedObject": about,
            "reason": reason,
            "message": message,
            "type": "Warning",
            "source": {"component": component},
            "reportingComponent": component,
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }

    def _about(self, finding: Finding) -> Obj:
        if finding.fault == "leaked" or finding.owner is None:
            return {"kind": IP_ADDRESSES.kind, "apiVersion": IP_ADDRESSES.api_version, "name": finding.name}
        owner = finding.owner
        about = {"kind": "Service", "apiVersion": "v1", "namespace": owner.namespace, "name": owner.name}
        service = self._reader.get(SERVICES, owner.namespace, owner.name)
        if service is not None:
            about["uid"] = service["metadata"].get("uid", "")
            about["resourceVersion"] = service["metadata"].get("resourceVersion", "")
        return about
