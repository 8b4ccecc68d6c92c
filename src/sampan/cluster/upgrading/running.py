"""``sampan upgrade plan``, ``apply`` and ``node``. Thin: ``plan`` decides.

A machine is upgraded by starting its programs again with what is installed now. Its containers, their runtime and its
member of etcd go on meanwhile: the new programs adopt them. What lies on disk is brought to the new version's form
before (certificates, settings, configuration) and stored objects after, so that a machine whose upgrade is cut short
is started by ``sampan up`` or by another ``upgrade``.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Sequence

from sampan import KUBERNETES_VERSION
from sampan.api import enablement
from sampan.api.clock import Clock
from sampan.api.errors import ApiError, NotFound
from sampan.api.features import Features
from sampan.api.registry import registry
from sampan.api.resources import CONFIG_MAPS, NODES
from sampan.apireport import cluster as used
from sampan.apireport.findings import Span, used_in
from sampan.client.client import Client
from sampan.cluster import control_plane, leftovers, locks, machine, processes, supervisor, units
from sampan.cluster import up as starting
from sampan.cluster.errors import ClusterError
from sampan.cluster.initializing import objects, reaching
from sampan.cluster.instance import Instance
from sampan.cluster.up import Progress
from sampan.cluster.upgrading.plan import Component, Found, Plan, numbers, plan
from sampan.server.app import Server
from sampan.server.storedversions import Rewritten, rewrite
from sampan.server.surface import Surface
from sampan.store.protocol import StoreError

TARGET = f"v{KUBERNETES_VERSION}"
#: Programs that go on: what runs containers, what has the data, what carries connections.
_STAY = frozenset({"containerd", "etcd", "haproxy", "docker-registry"})
_END_SECONDS, _LOOK_SECONDS = 20.0, 0.05
#: Uses that a plan names, at most.
_MOST_USES = 50


async def planned(instance: Instance, progress: Progress) -> Plan:
    """Raises ClusterError: the cluster cannot be asked."""
    progress.step("Looking at the cluster")
    reached = reaching.Reached(reaching.administrator(instance), instance)
    async with reaching.connected(reached) as client:
        version = str((await client.raw("GET", "/version"))["gitVersion"])
        nodes = list((await client.list(NODES))["items"])
        written = await uses(client, version)
    problems = await _etcd_problems(instance)
    return plan(Found([Component("kube-apiserver", instance.node.name, version)], nodes, TARGET, written, problems))


async def uses(client: Client, version: str) -> list[str]:
    """Objects that were written in a version of the API that goes until the target."""
    from sampan.api.versions.lifecycle import Release

    had = numbers(version)
    wanted = numbers(TARGET)
    if had is None or wanted is None:
        return []
    span = Span(Release(had[0], had[1]), Release(wanted[0], wanted[1]))
    refused: list[str] = []
    found: list[str] = []
    async for obj in used.objects(client, refused):
        for finding in used_in(obj, span, "cluster"):
            if finding.change == "removed" and len(found) < _MOST_USES:
                name = f"{finding.namespace}/{finding.name}" if finding.namespace else finding.name
                use = f"use {finding.replacement}" if finding.replacement else "nothing takes its place"
                found.append(f"{finding.kind} {name} was written in {finding.api_version}, which is removed: {use}")
    return [*found, *refused]


async def _etcd_problems(instance: Instance) -> list[str]:
    if instance.cluster.store != "etcd":
        return []
    from sampan.cluster.etcd import members

    found = await members.health(members.settings_of(instance))
    bad = [f"{each.endpoint}: {each.problem}" for each in found if each.problem]
    return bad if 2 * (len(found) - len(bad)) <= len(found) else []  # one of three that is away is no reason not to


async def apply(
    instance: Instance, clock: Clock, progress: Progress, *, timeout_seconds: float, force: bool = False
) -> Rewritten:
    """This control plane's programs, and then the stored objects. Raises ClusterError."""
    machine.complete_path()
    machine.require_root(instance.command("upgrade apply"))
    if supervisor.is_running(instance):
        made = await planned(instance, progress)
        if made.against and not force:
            told = "\n".join(f"  - {each}" for each in made.against)
            raise ClusterError(
                f"the cluster is not ready for an upgrade:\n{told}", fix="mend that first, or give --force"
            )
    shared = instance.cluster.store == "etcd"
    async with locks.changing(instance, progress):
        done = await restart(instance, clock, progress, timeout_seconds, migrates=not shared)
    if shared:
        done = await _migrated(instance, progress)
    progress.step("Writing the version into the cluster")
    async with reaching.connected(reaching.Reached(reaching.administrator(instance), instance)) as client:
        await _tell_version(client, instance)
    assert done is not None
    return done


async def node(instance: Instance, clock: Clock, progress: Progress, *, timeout_seconds: float) -> None:
    """This machine's programs alone. Raises ClusterError."""
    machine.complete_path()
    machine.require_root(instance.command("upgrade node"))
    async with locks.changing(instance, progress):
        await restart(instance, clock, progress, timeout_seconds)


async def restart(
    instance: Instance,
    clock: Clock,
    progress: Progress,
    timeout_seconds: float,
    *,
    migrates: bool = False,
) -> Rewritten | None:
    """``migrates``: stored objects too, while no API server of this machine runs. Raises ClusterError."""
    units.refuse_installed(instance)
    ready = starting.complete(instance)
    progress.step("Ending the programs of before; containers go on")
    await leftovers.end_supervisors(instance)
    await _end_programs(instance)
    starting.make_ready(ready, clock, progress)
    done = await _migrated(ready, progress) if migrates else None
    await starting.start(ready, progress, timeout_seconds)
    return done


async def _end_programs(instance: Instance) -> None:
    """With SIGTERM, as the supervisor would; the last ones are killed."""
    victims = [
        process
        for process in processes.running()
        if processes.is_program(process, instance) and process.executable not in _STAY
    ]
    for victim in victims:
        leftovers.kill(victim, signal.SIGTERM)
    try:
        async with asyncio.timeout(_END_SECONDS):
            while any(processes.look(victim.pid) == victim for victim in victims):  # noqa: ASYNC110 (other processes)
                await asyncio.sleep(_LOOK_SECONDS)
    except TimeoutError:
        for victim in victims:
            leftovers.kill(victim)


async def _migrated(instance: Instance, progress: Progress) -> Rewritten:
    """Stored objects in today's form. On SQLite the server must not run. Raises ClusterError."""
    progress.step("Stored objects in the form of this version")
    config = control_plane.server_config(instance)
    try:
        store = await Server(config).open_store()
        try:
            kinds = enablement.served(registry(), config.runtime_config, Features.parse(config.feature_gates))
            surface = Surface.build(kinds, store)
            return await rewrite(store, surface.storages(), lambda looked, written: None)
        finally:
            await store.close()
    except StoreError as error:
        raise ClusterError(
            f"stored objects were not brought to this version's form: {error}",
            fix="they are read all the same; `sampan upgrade apply` does it again",
        ) from error


async def _tell_version(client: Client, instance: Instance) -> None:
    """``kubernetesVersion`` of the ClusterConfiguration, and the settings that machines share, where they are."""
    import yaml

    try:
        there = await client.get(CONFIG_MAPS, objects.KUBEADM_NAME, objects.SYSTEM)
    except NotFound:
        return  # nobody joins this cluster
    except ApiError as error:
        raise ClusterError(f"the version was not written: {error.message}", fix="run it again") from error
    document = yaml.safe_load((there.get("data") or {}).get(objects.KUBEADM_KEY, "")) or {}
    document["kubernetesVersion"] = TARGET
    wanted: Sequence[objects.Wanted] = [
        objects.configuration(document),
        objects.settings(instance.cluster, reaching.settings_address(instance)),
    ]
    await objects.apply(client, wanted)
