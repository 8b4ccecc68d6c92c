"""Where a pod, node or Service can be reached, and whether the server may connect there.

Addresses come from statuses and are checked as numbers, then dialled as numbers: no name is resolved twice
(CVE-2020-8562).
"""

from __future__ import annotations

import ipaddress

from sampan.api import errors
from sampan.api.clock import Random
from sampan.api.nodes.endpoint import KUBELET_PORT, agent_address, agent_port
from sampan.api.resources import ENDPOINT_SLICES, NODES, PODS, SERVICES
from sampan.api.types import Obj
from sampan.server.reader import ObjectReader
from sampan.server.streaming.backend import Target
from sampan.server.streaming.tls import NodeTls


def check_address(address: str, *, allow_loopback: bool = False) -> str:
    """The address in canonical form. Raises BadRequest for one the server must not be talked into (CVE-2020-8555)."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError as error:
        raise errors.BadRequest("address not allowed") from error
    mapped = getattr(parsed, "ipv4_mapped", None)
    parsed = mapped or parsed
    if parsed.is_loopback and allow_loopback:
        return str(parsed)
    if parsed.is_loopback or parsed.is_link_local or parsed.is_multicast or parsed.is_unspecified:
        raise errors.BadRequest("address not allowed")
    return str(parsed)


def split_name(name: str) -> tuple[str, str, str]:
    """``[scheme:]name[:port]`` as (scheme, name, port). Raises BadRequest."""
    parts = name.split(":")
    if len(parts) == 1:
        return "", parts[0], ""
    if len(parts) == 2:
        return "", parts[0], parts[1]
    if len(parts) == 3 and parts[0] in ("http", "https"):
        return parts[0], parts[1], parts[2]
    raise errors.BadRequest(f'invalid request "{name}"')


class Locator:
    def __init__(
        self,
        reader: ObjectReader,
        tls: NodeTls,
        random: Random,
        *,
        allow_loopback: bool = False,
        simulated: str = "",
    ) -> None:
        """``allow_loopback``: proxies may reach this machine (tests). ``simulated``: the range of nodes that are
        simulated on this machine: each answers at the loopback address with the same last three numbers."""
        self._reader, self._tls, self._random, self._allow_loopback = reader, tls, random, allow_loopback
        self._simulated = ipaddress.ip_network(simulated) if simulated else None

    async def pod(self, namespace: str, name: str) -> Obj:
        found = self._reader.get(PODS, namespace, name) or await self._reader.fresh(PODS, namespace, name)
        if found is None:
            raise errors.not_found("pods", name)
        return found

    async def node(self, name: str) -> Target:
        """The node API of a node. Raises NotFound, InternalError."""
        found = self._reader.get(NODES, None, name) or await self._reader.fresh(NODES, None, name)
        if found is None:
            raise errors.not_found("nodes", name)
        address = agent_address(found)
        if not address:
            raise errors.InternalError(f'no preferred addresses found; known addresses: [] for node "{name}"')
        if self._is_simulated(address):
            address = f"127.{address.partition('.')[2]}"
        return Target(address, agent_port(found) or KUBELET_PORT, self._tls.kubelet)

    def _is_simulated(self, address: str) -> bool:
        if self._simulated is None:
            return False
        try:
            return ipaddress.ip_address(address) in self._simulated
        except ValueError:
            return False

    async def node_of(self, pod: Obj) -> Target:
        """The node API that has the pod. Raises BadRequest when it is not bound yet."""
        node = pod["spec"].get("nodeName")
        if not node:
            raise errors.BadRequest(f"pod {pod['metadata']['name']} does not have a host assigned")
        return await self.node(node)

    async def node_proxy(self, name: str) -> Target:
        scheme, name, port = split_name(name)
        target = await self.node(name)
        simulated = self._simulated is not None and target.address.startswith("127.")
        address = check_address(target.address, allow_loopback=self._allow_loopback or simulated)
        if simulated and port and int_port(port) != target.port:
            raise errors.BadRequest("address not allowed")  # other ports there are this machine's
        if not port or int_port(port) == target.port:
            return Target(address, target.port, target.tls)
        # Another port of the machine is not the node API: it does not get to see our certificate.
        return Target(address, int_port(port), self._tls.insecure if scheme == "https" else None)

    async def pod_proxy(self, namespace: str, name: str) -> Target:
        scheme, name, port = split_name(name)
        pod = await self.pod(namespace, name)
        number = int_port(port) if port else _first_port(pod)
        address = (pod.get("status") or {}).get("podIP")
        if not address:
            raise errors.BadRequest("address not allowed")
        address = check_address(address, allow_loopback=self._allow_loopback)
        return Target(address, number, self._tls.insecure if scheme == "https" else None)

    async def service_proxy(self, namespace: str, name: str) -> Target:
        """A ready endpoint of the Service, by chance. Raises NotFound, BadRequest, ServiceUnavailable."""
        scheme, name, port = split_name(name)
        service = self._reader.get(SERVICES, namespace, name) or await self._reader.fresh(SERVICES, namespace, name)
        if service is None:
            raise errors.not_found("services", name)
        port_name = _service_port_name(service, port)
        backends = self._backends(namespace, name, port_name)
        if not backends:
            raise errors.ServiceUnavailable(f'no endpoints available for service "{name}"')
        address, number = self._random.choice(backends)
        address = check_address(address, allow_loopback=self._allow_loopback)
        tls = self._tls.insecure if scheme == "https" else None
        return Target(address, number, tls, f"{name}.{namespace}.svc" if tls is not None else "")

    def _backends(self, namespace: str, service: str, port_name: str) -> list[tuple[str, int]]:
        found = []
        for piece in self._reader.list(ENDPOINT_SLICES, namespace):
            if (piece["metadata"].get("labels") or {}).get("kubernetes.io/service-name") != service:
                continue
            numbers = [
                p["port"] for p in piece.get("ports") or () if (p.get("name") or "") == port_name and p.get("port")
            ]
            for endpoint in piece.get("endpoints") or ():
                if (endpoint.get("conditions") or {}).get("ready") is not False:
                    found += [(endpoint["addresses"][0], number) for number in numbers if endpoint.get("addresses")]
        return sorted(set(found))


def int_port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and 0 < int(text) < 65536):
        raise errors.BadRequest(f'invalid port "{text[:64]}"')
    return int(text)


def _first_port(pod: Obj) -> int:
    for container in pod["spec"].get("containers") or ():
        for port in container.get("ports") or ():
            return int(port["containerPort"])
    return 80


def _service_port_name(service: Obj, wanted: str) -> str:
    """The endpoint port name of a Service's port, given by name or number. Raises ServiceUnavailable."""
    ports = service["spec"].get("ports") or []
    if not wanted:
        if len(ports) == 1:
            return ports[0].get("name") or ""
        return ""
    for port in ports:
        if port.get("name") == wanted or str(port.get("port")) == wanted:
            return port.get("name") or ""
    raise errors.ServiceUnavailable(f'no service port "{wanted}" found for service "{service["metadata"]["name"]}"')
