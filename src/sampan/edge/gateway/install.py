"""Gives a cluster the definitions of the Gateway API and its class, as ``sampan up`` does, once a node is ready.

What somebody else installed, of whichever release, is left as it is; what this put there in an older release is brought
forward. One look at a start; nothing is watched afterwards: whoever deletes the definitions is rid of them until then.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Final

from sampan.api.clock import SystemClock, format_time
from sampan.api.errors import AlreadyExists, ApiError, Conflict, NotFound
from sampan.api.nodes.status import is_ready
from sampan.api.objects import deep_copy
from sampan.api.reading import part, parts, text, text_map, whole
from sampan.api.resources import CUSTOM_RESOURCE_DEFINITIONS, NODES
from sampan.api.transport import Call
from sampan.api.types import Obj
from sampan.client.client import Client
from sampan.edge.gateway import names
from sampan.edge.gateway.conditions import Condition, merged
from sampan.edge.gateway.definitions import BUNDLE_VERSION, definitions, is_older
from sampan.edge.gateway.definitions.bundle import VERSION_KEY

log = logging.getLogger(__name__)

#: on what this installed: the release of it
INSTALLED_KEY: Final = "gateway.sampan.io/installed"
#: By whom they are applied: as kubectl would, so that who applies another release with it (``--server-side``, as the
#: project tells to) meets no conflict, and has them for his own from then on.
MANAGER: Final = "kubectl"
#: the definitions come then, node or not
LATEST_SECONDS: Final = 20.0
#: how long the class waits for its definition to be served, and between two looks
_SERVED_SECONDS: Final = 10.0
_LOOK_SECONDS: Final = 0.1


async def install_when_ready(client: Client, *, with_class: bool) -> None:
    """Waits for a node that is ready: a machine that starts has better things to do. ``with_class``: somebody here
    serves Gateways."""
    try:
        async with asyncio.timeout(LATEST_SECONDS):
            await _wait_ready_node(client)
    except TimeoutError:
        pass
    await install(client)
    if with_class:
        await install_class(client)


async def install(client: Client) -> None:
    """One definition after the other, each in a turn of its own."""
    for definition in definitions():
        await asyncio.sleep(0)
        await _ensure(client, definition)


async def install_class(client: Client) -> None:
    """The class that this controller serves, accepted: nobody else runs before there is a Gateway. One that is there is
    left as it is, but for that."""
    resource = names.GATEWAY_CLASSES
    spec = {"controllerName": names.CONTROLLER, "description": "Served by the data plane of each node, beside Ingress"}
    wanted = {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": {"name": names.CLASS_NAME},
        "spec": spec,
    }
    try:
        async with asyncio.timeout(_SERVED_SECONDS):
            while True:
                try:
                    made = await client.create(resource, wanted)
                except AlreadyExists:
                    made = await client.get(resource, names.CLASS_NAME)
                except NotFound:  # its definition is not served yet
                    await asyncio.sleep(_LOOK_SECONDS)
                    continue
                if is_unanswered(made):
                    with contextlib.suppress(Conflict):  # then the edge runs, and tells it
                        await client.update_status(resource, accepted(made, format_time(SystemClock().now())))
                return
    except (TimeoutError, ApiError) as error:
        log.warning("there is no GatewayClass %s: %s", names.CLASS_NAME, error or "its definition is not served")


def is_unanswered(present: Obj) -> bool:
    """Whether a class of ours waits for its controller. Pure."""
    spec = part(present, "spec")
    waits = all(
        text(each, "type") != "Accepted" or text(each, "status") == "Unknown"
        for each in parts(part(present, "status"), "conditions")
    )
    return text(spec, "controllerName") == names.CONTROLLER and not part(spec, "parametersRef") and waits


def accepted(present: Obj, now: str) -> Obj:
    """Pure. Which release of the definitions there is, the edge tells."""
    old, generation = part(present, "status"), whole(part(present, "metadata"), "generation") or 0
    told = (Condition("Accepted", True, "Accepted", "the class is served"),)
    conditions = merged(old.get("conditions"), told, generation, now)
    features = [{"name": name} for name in names.FEATURES]
    return {**present, "status": {**old, "conditions": conditions, "supportedFeatures": features}}


async def _wait_ready_node(client: Client) -> None:
    while True:
        async with client.watch(NODES) as events:
            async for event in events:
                if event.type in ("ADDED", "MODIFIED") and is_ready(event.object):
                    return


async def _ensure(client: Client, definition: Obj) -> None:
    resource = CUSTOM_RESOURCE_DEFINITIONS
    wanted: Obj = {"apiVersion": resource.api_version, "kind": resource.kind, **deep_copy(definition)}
    wanted["metadata"]["annotations"][INSTALLED_KEY] = BUNDLE_VERSION
    name = wanted["metadata"]["name"]
    try:
        if not may_write(await client.get(resource, name)):
            return
    except NotFound:
        pass
    apply = Call("PATCH", resource.path(None, name), {"fieldManager": MANAGER}, wanted, "application/apply-patch+yaml")
    try:
        await client.transport.call(apply)
    except Conflict:
        pass  # somebody else is at it, or changed it
    except ApiError as error:  # such as a version that objects are still stored in
        log.warning("the definition %s stays as it is: %s", name, error)


def may_write(present: Obj) -> bool:
    """Whether a definition is an older one of ours. Pure."""
    annotations = text_map(part(present, "metadata"), "annotations")
    version = annotations.get(VERSION_KEY, "")
    return version == annotations.get(INSTALLED_KEY) and is_older(version, BUNDLE_VERSION)
