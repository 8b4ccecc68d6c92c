"""A node that is to be taken out of service: no new pods come to it, and those on it move elsewhere.

As kubectl drain does it, by the Eviction API, so that disruption budgets hold; called by ``sampan drain``. ``plan`` is
pure. What the plan refuses it refuses before anything is evicted.
Source: kubectl's drain (its filters and their order).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Sequence

from sampan.api.errors import ApiError, NotFound, TooManyRequests
from sampan.api.reading import part, parts, text
from sampan.api.resources import DAEMON_SETS, NODES, PODS
from sampan.api.types import Obj
from sampan.client.client import Client
from sampan.cluster.errors import ClusterError
from sampan.records import dataclass

_MIRROR = "kubernetes.io/config.mirror"
#: so many evictions are under way together
_TOGETHER = 50
#: after a budget said no; between two looks at a pod that ends
_AGAIN_SECONDS, _LOOK_SECONDS = 5.0, 1.0


@dataclass(frozen=True, slots=True)
class Options:
    """``grace_seconds`` None: what each pod asks for. ``timeout_seconds`` 0: without an end."""

    force: bool = False
    ignore_daemonsets: bool = False
    delete_emptydir_data: bool = False
    grace_seconds: int | None = None
    timeout_seconds: float = 0.0
    pod_selector: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """``refused``: why not, and the pods; ``ignored``: they stay; ``warned``: they go, and nobody makes them anew."""

    evicted: tuple[Obj, ...]
    refused: tuple[tuple[str, tuple[str, ...]], ...]
    ignored: tuple[str, ...] = ()
    warned: tuple[str, ...] = ()


def plan(pods: Iterable[Obj], daemon_sets: Collection[str], options: Options) -> Plan:
    """``daemon_sets``: ``namespace/name`` of those that there are."""
    evicted, ignored, warned = [], [], []
    refused: dict[str, list[str]] = {}
    for pod in pods:
        name = named(pod)
        if _MIRROR in part(part(pod, "metadata"), "annotations"):
            continue
        finished = text(part(pod, "status"), "phase") in ("Succeeded", "Failed")
        owner = _controller(pod)
        if text(owner, "kind") == "DaemonSet" and not finished:
            there = f"{pod['metadata']['namespace']}/{text(owner, 'name')}" in daemon_sets
            if there and options.ignore_daemonsets:
                ignored.append(name)
                continue
            if there or not options.force:
                what = "DaemonSet-managed Pods (use --ignore-daemonsets to ignore)"
                what = what if there else "Pods whose DaemonSet is not there (use --force to override)"
                refused.setdefault(f"cannot delete {what}", []).append(name)
                continue
        if not finished and not options.delete_emptydir_data and _has_local_data(pod):
            what = "cannot delete Pods with local storage (use --delete-emptydir-data to override)"
            refused.setdefault(what, []).append(name)
            continue
        if not owner and not finished:
            if not options.force:
                what = "cannot delete Pods that declare no controller (use --force to override)"
                refused.setdefault(what, []).append(name)
                continue
            warned.append(name)
        evicted.append(pod)
    return Plan(tuple(evicted), tuple((why, tuple(those)) for why, those in refused.items()), (*ignored,), (*warned,))


def named(pod: Obj) -> str:
    return f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"


def _controller(pod: Obj) -> Obj:
    owners = parts(part(pod, "metadata"), "ownerReferences")
    return next((owner for owner in owners if owner.get("controller") is True), {})


def _has_local_data(pod: Obj) -> bool:
    return any("emptyDir" in volume for volume in parts(part(pod, "spec"), "volumes"))


async def cordon(client: Client, name: str, *, wanted: bool = True) -> bool:
    """No new pods come, or (``wanted`` False) they come again. False: it was so already. Raises ClusterError."""
    try:
        node = await client.get(NODES, name)
        if bool(part(node, "spec").get("unschedulable")) is wanted:
            return False
        await client.patch(NODES, name, {"spec": {"unschedulable": True if wanted else None}})
    except NotFound:
        raise ClusterError(f"there is no node {name!r}", fix="`kubectl get nodes` shows those there are") from None
    return True


async def drain(client: Client, name: str, options: Options, say: Callable[[str], None]) -> None:
    """Returns when the pods are gone. Raises ClusterError, which says what of the node's pods hinders it."""
    say(f"node/{name} {'cordoned' if await cordon(client, name) else 'already cordoned'}")
    listed = await client.list(PODS, field_selector=f"spec.nodeName={name}", label_selector=options.pod_selector)
    known = await _daemon_sets(client, listed["items"])
    todo = plan(listed["items"], known, options)
    if todo.refused:
        told = "; ".join(f"{why}: {', '.join(pods)}" for why, pods in todo.refused)
        raise ClusterError(
            f"unable to drain node {name!r}: {told}",
            fix=f"give the option that is named; the node stays cordoned (`kubectl uncordon {name}`)",
        )
    if todo.ignored:
        say(f"Warning: ignoring DaemonSet-managed Pods: {', '.join(todo.ignored)}")
    if todo.warned:
        say(f"Warning: deleting Pods that declare no controller: {', '.join(todo.warned)}")
    left = {named(pod) for pod in todo.evicted}
    turns = asyncio.Semaphore(_TOGETHER)

    async def one(pod: Obj) -> None:
        async with turns:
            await _evict(client, pod, options, say)
        left.discard(named(pod))

    try:
        async with asyncio.timeout(options.timeout_seconds or None), asyncio.TaskGroup() as group:
            for pod in todo.evicted:
                group.create_task(one(pod), name=f"evict {named(pod)}")
    except TimeoutError:
        raise ClusterError(
            f"node {name!r} was not drained within {options.timeout_seconds:.0f} s: {_some(sorted(left))} still there",
            fix="`kubectl get pdb -A` shows whether a budget holds them; try again, with a longer --timeout",
        ) from None
    except BaseExceptionGroup as error:
        first = next((each for each in error.exceptions if isinstance(each, ApiError)), None)
        if first is None:
            raise
        raise ClusterError(f"node {name!r} is not drained: {first.message}", fix="mend that, and try again") from error
    say(f"node/{name} drained")


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return f"{', '.join(names[:5])}{more}"


async def _daemon_sets(client: Client, pods: Iterable[Obj]) -> set[str]:
    wanted = {
        (pod["metadata"]["namespace"], text(owner, "name"))
        for pod in pods
        if text(owner := _controller(pod), "kind") == "DaemonSet"
    }
    found = set()
    for namespace, name in sorted(wanted):
        try:
            await client.get(DAEMON_SETS, name, namespace)
        except NotFound:
            continue
        found.add(f"{namespace}/{name}")
    return found


async def _evict(client: Client, pod: Obj, options: Options, say: Callable[[str], None]) -> None:
    """Until it is gone; as long as a budget says no, it is asked again."""
    meta = pod["metadata"]
    name, namespace, uid = meta["name"], meta["namespace"], meta["uid"]
    delete: Obj = {"preconditions": {"uid": uid}}
    if options.grace_seconds is not None:
        delete["gracePeriodSeconds"] = options.grace_seconds
    eviction = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": name, "namespace": namespace},
        "deleteOptions": delete,
    }
    said = False
    say(f"evicting pod {namespace}/{name}")
    while True:
        try:
            await client.raw("POST", PODS.path(namespace, name, "eviction"), eviction)
            break
        except NotFound:
            return
        except TooManyRequests as error:
            if not said:
                say(f"error when evicting pods/{name!r} -n {namespace!r} (will retry after 5s): {error.message}")
            said = True
        await asyncio.sleep(_AGAIN_SECONDS)
    while True:
        try:
            if (await client.get(PODS, name, namespace))["metadata"]["uid"] != uid:
                break  # another one has the name
        except NotFound:
            break
        await asyncio.sleep(_LOOK_SECONDS)
    say(f"pod/{name} evicted")
