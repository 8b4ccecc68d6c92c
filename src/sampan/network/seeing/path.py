"""The way of a connection: who sends, which Service it meets, to which endpoints it comes by which policies. Pure."""

from __future__ import annotations

import dataclasses
from typing import Any, Final

from sampan.api.reading import part, parts, text, texts
from sampan.network.policy.model import PodFacts, PodKey
from sampan.network.proxy.endpoints import Place
from sampan.network.proxy.model import ServicePort, service_ports
from sampan.network.proxy.plan import PortPlan, ServiceKey, plan_service
from sampan.network.seeing.judging import Connection, Decision, Verdict, judge
from sampan.network.seeing.world import World, is_address
from sampan.records import dataclass

#: Answered by each node's own DNS server, unless the Service has a selector.
_CLUSTER_DNS = PodKey("kube-system", "kube-dns")


class Unknown(Exception):
    """What was asked for is not in the cluster, or says too little. The message is for people."""


@dataclass(frozen=True, slots=True)
class Stand:
    """Where a connection begins or ends: a pod, a node, a Service, or just an address."""

    name: str
    address: str
    node: str = ""
    service: PodKey | None = None


@dataclass(frozen=True, slots=True)
class Hop:
    """One endpoint that a connection may come to, and what becomes of it there."""

    connection: Connection
    pod: str
    node: str
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Path:
    """``service``: the port of a Service that it meets ("": none). ``fault``: why it ends before policies are asked.
    ``answerer``: who answers it though it is no endpoint ("": nobody)."""

    source: Stand
    target: Stand
    protocol: str
    port: int
    service: str = ""
    hops: tuple[Hop, ...] = ()
    fault: str = ""
    answerer: str = ""

    @property
    def answer(self) -> str:
        if self.answerer:
            return "reaches"
        reached = sum(hop.verdict.allowed for hop in self.hops)
        if not reached:
            return "does not reach"
        return "reaches" if reached == len(self.hops) else "reaches in part"


#: What people write before the name of what makes pods.
_MAKERS: Final = frozenset({
    "deploy", "deployment", "deployments", "rs", "replicaset", "replicasets", "sts", "statefulset", "statefulsets",
    "ds", "daemonset", "daemonsets", "job", "jobs",
})  # fmt: skip


def find(world: World, words: str, namespace: str = "default") -> Stand:
    """``pod/NAME``, ``NAMESPACE/NAME``, ``NAME`` (a pod), ``svc/NAME``, ``svc/NAMESPACE/NAME``, ``node/NAME`` or an
    address. Raises Unknown."""
    if is_address(words):
        return _at(world, words)
    if ":" in words:  # no name has one
        port = words.rpartition(":")[2]
        how = f"; a port is said apart (--port {port})" if port.isdigit() else ""
        raise Unknown(f"{words} is neither a name nor an address{how}")
    kind, _, rest = words.partition("/")
    if kind not in ("pod", "pods", "po", "svc", "service", "services", "node", "nodes", "no"):
        if kind in _MAKERS and PodKey(kind, rest) not in world.pods and PodKey(kind, rest) not in world.waiting:
            raise Unknown(f"{words} makes pods and is no end of a path; ask for one of them, as pod/NAME")
        kind, rest = "pod", words
    if kind.startswith("no"):
        addresses = world.nodes.get(rest)
        if not addresses:
            raise Unknown(f"there is no node {rest} with an address")
        return Stand(f"node {rest}", addresses[0], rest)
    where, slash, name = rest.partition("/")
    key = PodKey(where, name) if slash else PodKey(namespace, where)
    if kind.startswith("s"):
        return _service(world, key)
    facts = world.pods.get(key)
    if facts is None:
        why = world.waiting.get(key)
        raise Unknown(f"pod {key} {why}: no policy concerns it" if why else f"there is no pod {key}")
    return Stand(f"pod {key}", facts.addresses[0], facts.node)


def _at(world: World, address: str) -> Stand:
    pod = world.by_address.get(address)
    if pod is not None:
        return Stand(f"pod {pod.key}", address, pod.node)
    if node := world.node_of(address):
        return Stand(f"node {node}", address, node)
    for key, service in world.services.items():
        spec = part(service, "spec")
        listed = [*texts(spec, "clusterIPs"), text(spec, "clusterIP"), *texts(spec, "externalIPs")]
        listed += [text(each, "ip") for each in parts(part(part(service, "status"), "loadBalancer"), "ingress")]
        if address in listed:
            return Stand(f"Service {key}", address, service=key)
    return Stand(address, address)


def _service(world: World, key: PodKey) -> Stand:
    service = world.services.get(key)
    if service is None:
        raise Unknown(f"there is no Service {key}")
    spec = part(service, "spec")
    address = text(spec, "clusterIP")
    if text(spec, "type") == "ExternalName":
        raise Unknown(f"Service {key} is another name of {text(spec, 'externalName')}; ask for that one's address")
    if not is_address(address):
        raise Unknown(f"Service {key} has no address of its own; ask for one of its pods")
    return Stand(f"Service {key}", address, service=key)


def trace(world: World, source: Stand, target: Stand, protocol: str = "TCP", port: int = 0) -> Path:
    """``port`` 0: the first of the Service, or the first that the pod's containers name, else 80. Never raises for what
    the objects say."""
    source = _in_family(world, source, target.address)
    if target.service is None:
        target = _in_family(world, target, source.address)
    if target.service is None and target.node and target.address not in world.by_address:
        target = _met_at_node(world, target, protocol, port) or target
    if target.service is None:
        chosen = port or _first_port(world.by_address.get(target.address), protocol)
        hop = _hop(world, source, target.address, protocol, chosen)
        return Path(source, target, protocol, chosen, hops=(hop,))
    at_node = bool(target.node)
    try:
        plan = plan_service(
            world.services[target.service],
            world.slices.get(target.service, []),
            Place(target.node if at_node else source.node),
        )
    except (AttributeError, KeyError, TypeError, ValueError):
        return Path(source, target, protocol, port, fault=f"{target.name} is not understood")
    found = _port(plan.ports, protocol, port, target.address, at_node=at_node)
    if found is None:
        asked = f"port {port} of protocol {protocol}" if port else f"port of protocol {protocol}"
        return Path(source, target, protocol, port, fault=f"{target.name} has no {asked}")
    chosen = port if at_node else found.port.port
    local = (
        found.port.external_local and source.address not in world.by_address if at_node else found.port.internal_local
    )
    endpoints = found.choice.local if local else found.choice.cluster
    name = f"{ServiceKey(*target.service).namespace}/{target.service.name}:{found.port.port_name or chosen}"
    if not endpoints:
        if (
            target.service == _CLUSTER_DNS
            and source.node
            and not part(world.services[target.service], "spec").get("selector")
        ):
            who = f"the DNS server of node {source.node}"
            return Path(source, target, protocol, chosen, name, answerer=who)
        where = f" on node {target.node if at_node else source.node}" if local else ""
        return Path(source, target, protocol, chosen, name, fault=f"{target.name} has no ready endpoint{where}")
    hops = tuple(_hop(world, source, endpoint.ip, protocol, endpoint.port) for endpoint in endpoints)
    return Path(source, target, protocol, chosen, name, hops)


def _in_family(world: World, stand: Stand, other: str) -> Stand:
    """With the address by which a pod or node talks to the other one; as it is where it has none of that family."""
    if (":" in stand.address) == (":" in other):
        return stand
    pod = world.by_address.get(stand.address)
    listed = pod.addresses if pod is not None else world.nodes.get(stand.node, ())
    fitting = next((each for each in listed if (":" in each) == (":" in other)), stand.address)
    return dataclasses.replace(stand, address=fitting)


def _port(
    ports: tuple[PortPlan, ...], protocol: str, port: int, address: str, *, at_node: bool = False
) -> PortPlan | None:
    family = 6 if ":" in address else 4
    listed = [each for each in ports if each.port.protocol == protocol.lower() and each.port.family == family]
    if at_node:
        return next((each for each in listed if _meets(each.port, address, port)), None)
    return next((each for each in listed if port in (0, each.port.port)), None)


def _meets(served: ServicePort, address: str, port: int) -> bool:
    """Whether it is a port of a node's address that leads to the Service."""
    if port == served.node_port:
        return True
    return port == served.port and address in (*served.external_ips, *served.load_balancer_ips)


def _met_at_node(world: World, node: Stand, protocol: str, port: int) -> Stand | None:
    """The Service whose node port it is, or to which this port of the node's address leads."""
    family = 6 if ":" in node.address else 4
    for key, service in world.services.items() if port else ():
        try:
            served = service_ports(service)
        except (AttributeError, KeyError, TypeError, ValueError):
            continue
        for each in served:
            if (each.protocol, each.family) == (protocol.lower(), family) and _meets(each, node.address, port):
                return Stand(f"Service {key}", node.address, node.node, key)
    return None


def _first_port(pod: PodFacts | None, protocol: str) -> int:
    listed = [number for _, kind, number in pod.ports if kind == protocol.lower()] if pod is not None else []
    return listed[0] if listed else 80


def _hop(world: World, source: Stand, target: str, protocol: str, port: int) -> Hop:
    connection = Connection(source.address, target, protocol, port)
    pod = world.by_address.get(target)
    name = str(pod.key) if pod is not None else ""
    return Hop(connection, name, pod.node if pod is not None else world.node_of(target), judge(world, connection))


# -- For people and programs -------------------------------------------------------------------------------------


def words(path: Path) -> str:
    lines = [
        f"{path.source.name} ({path.source.address})" + (f" on node {path.source.node}" if path.source.node else "")
    ]
    if path.target.service is not None:
        lines.append(f"  to {path.target.name} ({path.target.address}) port {path.port} {path.protocol}")
    for hop in path.hops:
        where = f"pod {hop.pod} " if hop.pod else ""
        on = f" on node {hop.node}" if hop.node else ""
        lines.append(f"  to {where}({hop.connection.target}) port {hop.connection.port} {path.protocol}{on}")
        for direction, decision in (("egress", hop.verdict.egress), ("ingress", hop.verdict.ingress)):
            lines.append(f"    {direction:8}{'allowed' if decision.allowed else 'dropped'}: {decision.because}")
    if path.answerer:
        lines.append(f"  {path.answerer} answers; no policy restricts what a pod asks its own node")
    if path.fault:
        lines.append(f"  {path.fault}")
    lines.append(f"{path.source.name} {path.answer} {path.target.name}")
    return "\n".join(lines)


def wire(path: Path) -> dict[str, Any]:
    return {
        "source": _stand(path.source),
        "target": _stand(path.target),
        "protocol": path.protocol,
        "port": path.port,
        "answer": path.answer,
        **({"service": path.service} if path.service else {}),
        **({"fault": path.fault} if path.fault else {}),
        **({"answerer": path.answerer} if path.answerer else {}),
        "endpoints": [
            {
                "address": hop.connection.target,
                "port": hop.connection.port,
                **({"pod": hop.pod} if hop.pod else {}),
                **({"node": hop.node} if hop.node else {}),
                "allowed": hop.verdict.allowed,
                "egress": _decision(hop.verdict.egress),
                "ingress": _decision(hop.verdict.ingress),
            }
            for hop in path.hops
        ],
    }


def _stand(stand: Stand) -> dict[str, Any]:
    return {"name": stand.name, "address": stand.address, **({"node": stand.node} if stand.node else {})}


def _decision(decision: Decision) -> dict[str, Any]:
    made: dict[str, Any] = {"allowed": decision.allowed, "because": decision.because}
    if decision.policy is not None:
        made["policy"] = decision.policy._asdict()
        made["rule"] = decision.rule
    if decision.selecting:
        made["selecting"] = [str(key) for key in decision.selecting]
    return made
