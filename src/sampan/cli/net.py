"""``sampan net``: the network of a cluster as its objects have it: paths of connections, and who reaches whom."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

from sampan.cli.commands import Argument, Group, Option
from sampan.cli.options import Output, printer
from sampan.cluster.errors import ClusterError, WrongUsage

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sampan.api.resources import Resource
    from sampan.api.types import Obj
    from sampan.client.client import Client
    from sampan.network.seeing.world import World

T = TypeVar("T")

# What takes long to load is imported by the command that needs it.

app = Group("The network: the path of a connection, who reaches whom, and by which policy.")

Kubeconfig = Annotated[Path | None, Option("--kubeconfig", help="Of the cluster to look at. Default: as kubectl.")]
Namespace = Annotated[str, Option("--namespace", "-n", help="Where names without a namespace are.")]
Port = Annotated[int, Option("--port", help="0: the first that the target names.", min=0)]
Protocol = Annotated[str, Option("--protocol", help="TCP, UDP or SCTP.")]


@app.command()
def path(
    source: Annotated[str, Argument(help="Who connects: a pod (NAME or NAMESPACE/NAME), node/NAME or an address.")],
    target: Annotated[str, Argument(help="To whom: svc/NAME, a pod, node/NAME or an address.")],
    namespace: Namespace = "default",
    port: Port = 0,
    protocol: Protocol = "TCP",
    output: Output = "",
    kubeconfig: Kubeconfig = None,
) -> None:
    """Show the path of a connection: the Service it meets, its endpoints, and which policy allows or drops it.

    It is worked out from the cluster's objects; no packet is sent. Exit codes: 0 it arrives, 1 it does not, or not at
    every endpoint, 2 wrong usage.
    """
    from sampan.network.seeing import path as paths

    show = printer(output)
    kind = _protocol(protocol, port)
    world = _world(kubeconfig)
    try:
        ends = paths.find(world, source, namespace), paths.find(world, target, namespace)
    except paths.Unknown as error:
        raise WrongUsage(str(error), fix="kubectl get pods,services,nodes --all-namespaces") from None
    found = paths.trace(world, *ends, kind, port)
    if show is None:
        print(paths.words(found))
    else:
        show(paths.wire(found))
    if found.answer != "reaches":
        sys.exit(1)


@app.command()
def reach(
    namespace: Annotated[
        str, Option("--namespace", "-n", help="Only pods of these namespaces, separated by commas.", show_default=False)
    ] = "",
    port: Port = 0,
    protocol: Protocol = "TCP",
    outside: Annotated[str, Option("--outside", help="The address that stands for the world.")] = "192.0.2.1",
    output: Output = "",
    kubeconfig: Kubeconfig = None,
) -> None:
    """Show who reaches whom. Pods that no policy can tell apart are one row."""
    from sampan.network.seeing import reach as reaching
    from sampan.network.seeing.world import is_address

    if not is_address(outside):
        raise WrongUsage(f"--outside {outside!r} is no address", fix="write it like 192.0.2.1")
    show = printer(output)
    wanted = [each for each in namespace.split(",") if each]
    kind = _protocol(protocol, port)
    world = _world(kubeconfig)
    for each in wanted:
        if each not in world.namespaces:
            raise WrongUsage(f"there is no namespace {each}", fix="kubectl get namespaces")
    found = reaching.matrix(world, namespaces=wanted, protocol=kind, port=port, outside=outside)
    if show is None:
        print(reaching.words(found))
    else:
        show(reaching.wire(found))


@app.command()
def drops(
    node: Annotated[str, Option("--node", help="Only of this node.", show_default=False)] = "",
    output: Output = "",
    kubeconfig: Kubeconfig = None,
) -> None:
    """Show the last connections that network policies dropped, and whose policies they are.

    Each node remembers 256 of them, and counts all (`sampan_network_policy_dropped_packets_total` among its metrics).
    """
    from sampan.network.seeing import drops as seen

    show = printer(output)
    reports = _ask(kubeconfig, lambda client: _reports(client, node))
    found = seen.listed(reports)
    silent = {name: report["fault"] for name, report in reports.items() if "fault" in report}
    if show is not None:
        show(found)
    elif found or not silent:
        print(seen.words(found))
    for name, fault in silent.items():
        print(f"node {name} did not say: {fault}", file=sys.stderr)
    if silent:
        sys.exit(1)


@app.command("policy-crds")
def policy_crds() -> None:
    """Print the definition of ClusterNetworkPolicy, for `kubectl apply -f -`: nodes enforce what a cluster has."""
    import orjson
    import yaml

    from sampan.network.policy.definitions import definitions

    # Through JSON: what is the same object in several places would come out as an alias.
    plain = orjson.loads(orjson.dumps(definitions()))
    print(yaml.safe_dump_all(plain, sort_keys=False, explicit_start=True), end="")


async def _reports(client: Client, only: str) -> dict[str, Obj]:
    """What each node says; ``fault`` where it says nothing."""
    import asyncio

    from sampan.api.errors import ApiError
    from sampan.api.resources import NODES

    names = [only] if only else [node["metadata"]["name"] for node in await _all(client, NODES)]
    few = asyncio.Semaphore(16)

    async def ask(name: str) -> Obj:
        try:
            async with few, asyncio.timeout(10):
                answer: Obj = await client.raw("GET", f"{NODES.path(name=name)}/proxy/networkpolicy")
                return answer
        except ApiError as error:
            return {"fault": error.message}
        except TimeoutError:
            return {"fault": "it did not answer within 10 s"}

    return dict(zip(names, await asyncio.gather(*map(ask, names)), strict=True))


def _protocol(words: str, port: int) -> str:
    if port > 65535:
        raise WrongUsage(f"--port {port} is none", fix="1 to 65535")
    if words.upper() not in ("TCP", "UDP", "SCTP"):
        raise WrongUsage(f"--protocol {words!r} is none", fix="TCP, UDP or SCTP")
    return words.upper()


def _world(kubeconfig: Path | None) -> World:
    from sampan.api.resources import ENDPOINT_SLICES, NAMESPACES, NODES, PODS, SERVICES
    from sampan.network.policy.enforcer import CLUSTER_KINDS, NETWORK_POLICIES
    from sampan.network.seeing import world

    async def look(client: Client) -> World:
        objects: list[Obj] = []
        for resource in (NAMESPACES, NODES, PODS, SERVICES, ENDPOINT_SLICES, NETWORK_POLICIES):
            objects += await _all(client, resource)
        for resource in CLUSTER_KINDS:
            objects += await _all(client, resource, optional=True)
        return world.read(objects)

    return _ask(kubeconfig, look)


async def _all(client: Client, resource: Resource, *, optional: bool = False) -> list[Obj]:
    """``optional``: a cluster may not have the kind."""
    from sampan.api.errors import NotFound

    found: list[Obj] = []
    token = ""
    while True:
        try:
            page = await client.list(resource, limit=500, continue_token=token)
        except NotFound:
            if optional:
                return []
            raise
        found += [{**item, "kind": resource.kind} for item in page.get("items") or ()]
        token = page.get("metadata", {}).get("continue", "")
        if not token:
            return found


def _ask(kubeconfig: Path | None, look: Callable[[Client], Awaitable[T]]) -> T:
    import asyncio

    from sampan.api.errors import ApiError
    from sampan.client.client import Client
    from sampan.client.http import HttpTransport
    from sampan.client.kubeconfig import KubeConfig, KubeConfigError

    try:
        connection = KubeConfig.load(kubeconfig).connection()
    except KubeConfigError as error:
        raise WrongUsage(str(error), fix="name a kubeconfig with --kubeconfig") from None

    async def ask() -> T:
        transport = HttpTransport(connection)
        try:
            return await look(Client(transport))
        finally:
            await transport.close()

    try:
        return asyncio.run(ask())
    except ApiError as error:
        raise ClusterError(f"the cluster did not say: {error.message}", fix="sampan status") from None
