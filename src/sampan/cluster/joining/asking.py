"""The questions that a joining machine asks an API server. Thin: what the answers mean is decided in ``discovery``,
``requests`` and ``admission``; faults are told with their place and what to do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from sampan.api.errors import ApiError, Forbidden, NotFound, ServiceUnavailable, Unauthorized
from sampan.api.resources import CERTIFICATE_SIGNING_REQUESTS, CONFIG_MAPS, NODES
from sampan.api.types import Obj
from sampan.client.client import Client
from sampan.client.http import HttpTransport
from sampan.client.kubeconfig import Connection
from sampan.client.servers import Servers
from sampan.cluster.errors import ClusterError
from sampan.cluster.joining import requests
from sampan.cluster.joining.discovery import NotSigned, Place, Token, pinned, verify
from sampan.cluster.joining.wanted import Wanted
from sampan.cluster.pki import Leaf

#: Between two looks at what is about to be there; grows to the second.
_LOOK_SECONDS, _LONGEST_LOOK_SECONDS = 0.05, 1.0
#: After that a person wants to know what is waited for.
_QUIET_SECONDS = 2.0
#: A token that was made a moment ago is signed with in a moment.
_SIGNED_SECONDS = 10.0


@asynccontextmanager
async def connected(connection: Connection, servers: Servers | None = None) -> AsyncIterator[Client]:
    transport = HttpTransport(connection, user_agent="sampan-join", servers=servers)
    try:
        yield Client(transport)
    finally:
        await transport.close()


async def discover(server: str, token: Token, wanted: Wanted, waits: Callable[[str], None]) -> Place:
    """The cluster at this address, verified as ``discovery`` says. ``waits`` is told why it takes longer. Raises
    ClusterError."""
    place = await _verified(Connection(server, insecure_skip_tls_verify=True), token, wanted, waits)
    # Once more as the pinned CA would have it: what was read came from anybody who has the token, and now from the
    # holder of that CA. Others that are named beside it are believed only then.
    if wanted.pins:
        return await _verified(Connection(server, ca_pem=pinned(place.ca_pem, wanted.pins)), token, wanted, waits)
    return place


async def _verified(connection: Connection, token: Token, wanted: Wanted, waits: Callable[[str], None]) -> Place:
    loop = asyncio.get_running_loop()
    began, pause, told = loop.time(), _LOOK_SECONDS, False
    last: ApiError = ServiceUnavailable(f"no answer within {wanted.discovery_seconds:g} s")
    async with connected(connection) as client:
        while True:
            waited = loop.time() - began
            left = wanted.discovery_seconds - waited
            try:
                # One that is never answered must not take longer than all of them may.
                async with asyncio.timeout(max(left, _LOOK_SECONDS)):
                    found = await client.get(CONFIG_MAPS, "cluster-info", "kube-public")
                return verify(found, token, wanted.pins)
            except TimeoutError:
                raise unreachable(connection.server, last) from None
            except NotSigned:
                if waited > min(_SIGNED_SECONDS, wanted.discovery_seconds):
                    raise
            except (NotFound, Unauthorized, Forbidden) as error:
                raise ClusterError(
                    f"{connection.server} shows nobody its cluster-info: {error.message}",
                    fix="`sampan init phase bootstrap-token`, where the control plane is",
                ) from error
            except ApiError as error:
                last = error
                hopeless = isinstance(error, ServiceUnavailable) and "tls:" in error.message
                if waited > wanted.discovery_seconds or hopeless:
                    raise unreachable(connection.server, error) from error
                if waited > _QUIET_SECONDS and not told:
                    told = True
                    waits(f"{connection.server}: {error.message}; trying for another {left:.0f} s")
            await asyncio.sleep(min(pause, max(left, _LOOK_SECONDS)))
            pause = min(pause * 2, _LONGEST_LOOK_SECONDS)


def unreachable(server: str, error: ApiError) -> ClusterError:
    return ClusterError(
        f"the API server at {server} cannot be used: {error.message}",
        fix="see that the control plane runs (`sampan status` there), that the address is right, and that no firewall "
        "is in between",
    )


async def whoami(client: Client) -> str:
    """The user whom the credentials name. Raises ClusterError."""
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    answer = await told(client, client.raw("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", review))
    return str(((answer.get("status") or {}).get("userInfo") or {}).get("username") or "")


async def config_map(client: Client, name: str) -> dict[str, str]:
    """Its data; empty: there is none, or it is not for us. Raises ClusterError."""
    try:
        found = await client.get(CONFIG_MAPS, name, "kube-system")
    except (NotFound, Forbidden):
        return {}
    except ApiError as error:
        raise explained(client, error) from error
    data = found.get("data") or {}
    return {str(key): str(value) for key, value in data.items()}


async def node(client: Client, name: str) -> Obj | None:
    """Raises ClusterError."""
    try:
        return await client.get(NODES, name)
    except (NotFound, Forbidden):
        return None
    except ApiError as error:
        raise explained(client, error) from error


async def certificate(client: Client, leaf: Leaf, seconds: float, waits: Callable[[str], None]) -> tuple[bytes, bytes]:
    """Certificate and key in PEM, once somebody has approved the request. ``waits`` is told of one that takes longer.
    Raises ClusterError."""
    key = requests.new_key()
    request = await told(client, client.create(CERTIFICATE_SIGNING_REQUESTS, requests.request(leaf, key)))
    name, pause, looks = str(request["metadata"]["name"]), _LOOK_SECONDS, 0
    try:
        async with asyncio.timeout(seconds):
            while True:
                found = requests.verdict(await told(client, client.get(CERTIFICATE_SIGNING_REQUESTS, name)))
                if found.refused:
                    raise ClusterError(
                        f"certificate request {name} for {leaf.common_name!r} was {found.refused}",
                        fix=f"`kubectl describe csr {name}` where the control plane is says who refused it",
                    )
                if found.certificate:
                    return found.certificate, requests.key_pem(key)
                await asyncio.sleep(pause)
                pause, looks = min(pause * 1.5, _LONGEST_LOOK_SECONDS), looks + 1
                if looks == 10:
                    waits(f"Waiting for the approval of certificate request {name} ({leaf.common_name})")
    except TimeoutError:
        raise ClusterError(
            f"nobody approved certificate request {name} for {leaf.common_name!r} within {seconds:.0f} s",
            fix=f"where the control plane is: `kubectl describe csr {name}`, and `kubectl certificate approve {name}` "
            "if this machine may be that node; then join again",
        ) from None


async def told(client: Client, answer: Awaitable[Obj]) -> Obj:
    """The answer; an ApiError as a ClusterError."""
    try:
        return await answer
    except ApiError as error:
        raise explained(client, error) from error


def explained(client: Client, error: ApiError) -> ClusterError:
    server = client.transport.connection.server if isinstance(client.transport, HttpTransport) else "the API server"
    if isinstance(error, Unauthorized):
        return ClusterError(
            f"{server} does not take the token, or the certificate: it has expired or is not of this cluster",
            fix="`sampan token create --print-join-command`, where the control plane is, prints another command",
        )
    if isinstance(error, Forbidden):
        return ClusterError(
            f"{server} does not let this machine join: {error.message}",
            fix="the token needs group system:bootstrappers:kubeadm:default-node-token, and the cluster its rights: "
            "`sampan init phase bootstrap-token`, where the control plane is",
        )
    return unreachable(server, error)
