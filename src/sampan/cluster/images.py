"""The images of the node: what ``sampan image`` does, and the pause image that every pod needs.

Archives go in by ``ctr``, pulls through CRI, as the node's own; both work while the node agent is down.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sampan.api import faults
from sampan.api.imagenames import normalize_reference, repository_of
from sampan.api.types import Obj
from sampan.cluster.containerd import hosts_dir
from sampan.cluster.errors import ClusterError
from sampan.cluster.instance import Instance
from sampan.node.images import ctr, inspecting, local, pushing
from sampan.node.images.archives import ArchiveError
from sampan.node.images.ctr import CtrError, Listed

if TYPE_CHECKING:
    from sampan.node.cri.client import CriRuntime
    from sampan.node.images.keyring import Credential

#: containerd's CRI hears of what was done to an image a moment later: seconds to wait for it, and between two looks
_HEARD_SECONDS = 20.0
_LOOK_SECONDS = 0.02


async def list_images(instance: Instance) -> list[Listed]:
    """Images by name, sorted."""
    try:
        return await ctr.list_images(str(instance.containerd_socket))
    except CtrError as error:
        raise ClusterError(f"containerd does not list its images: {error}", fix=_look_at_log(instance)) from error


async def import_archive(instance: Instance, pieces: Iterable[bytes], name: str) -> list[str]:
    """Imports an archive; returns the names of the images in it once the next pod would get them."""
    address = str(instance.containerd_socket)
    try:
        found = await ctr.import_archive(address, pieces)
        if any(image.name == local.PAUSE_IMAGE for image in found):
            await ctr.import_archive(address, [local.pause_image()])
            raise ClusterError(
                f"{name} holds an image named {local.PAUSE_IMAGE}, what every pod stands on: the node keeps its own",
                fix="save the image under another name",
            )
        ids = {image.name: await ctr.image_ids(address, image.digest) for image in found}
    except ArchiveError as error:
        raise ClusterError(str(error), fix="give an archive of `docker save`, or an OCI image layout") from error
    except CtrError as error:
        raise ClusterError(
            f"{name} cannot be imported: {error}", fix="give an archive of `docker save`, or an OCI image layout"
        ) from error
    if not found:
        raise ClusterError(f"{name} holds no named image", fix="save it with a name: `docker save -o FILE NAME:TAG`")
    async with _cri(instance) as cri:
        for image in found:
            await _wait_heard(cri, image.name, ids[image.name])
            await _note(instance, image.name, ids[image.name])
    return [image.name for image in found]


async def pull(instance: Instance, image: str, credentials: Iterable[Credential] = ()) -> str:
    """Pulls and returns the full reference. Raises ClusterError with the registry's reason."""
    from sampan.node import runtime

    reference = full_reference(image)
    fault = ""
    async with _cri(instance) as cri:
        for auth in [each.auth for each in credentials] or (None,):
            try:
                await cri.pull_image(reference, auth)
                found = await cri.image_status(reference)
                await _note(instance, reference, () if found is None else (found.id,))
                return reference
            except runtime.RuntimeCallError as error:
                fault = str(error).partition(" desc = ")[2] or str(error)
    fix = "see that the name is right and its registry can be reached"
    if "401" in fault or "403" in fault or "authorization" in fault or "denied" in fault:
        fix = "give credentials: `--username NAME --password-stdin`, or log in with docker"
    raise ClusterError(fault, fix=fix)


async def push(
    instance: Instance, image: str, credentials: Iterable[Credential], tell: Callable[[str], None]
) -> pushing.Pushed:
    """To the registry in its name, by the way that pulls from it take (``hosts.toml``). Raises ClusterError."""
    from sampan.node.images import distribution, hosts  # an HTTP client is heavy: the other commands do without it

    reference = full_reference(image)
    found = await _present(instance, image)
    host, _, repository = repository_of(reference).partition("/")
    if "@" in reference:
        raise ClusterError(f"image {image!r} names a digest", fix="push a tag: registries make the digest of it")
    try:
        endpoints = await asyncio.to_thread(hosts.endpoints, hosts_dir(instance), host, "push")
    except hosts.HostsError as error:
        raise ClusterError(str(error), fix="mend the file; docs/images.md shows one") from error
    if not endpoints:
        raise ClusterError(
            f"{host} takes no pushes by its hosts.toml", fix='add "push" to the capabilities of one host'
        )
    content, fault = ctr.StoredContent(str(instance.containerd_socket)), None
    for auth in [each.auth for each in credentials] or (None,):
        try:
            async with distribution.connected(endpoints[0], auth) as registry:
                tag = reference.rpartition(":")[2]
                return await pushing.push(registry, repository, tag, found.digest, content, tell)
        except distribution.RegistryError as error:
            fault = error
            if not error.denied:
                break
        except pushing.PushError as error:
            raise ClusterError(str(error), fix="pull or import the image anew") from error
    assert fault is not None
    fix = "see that the name is right and its registry can be reached"
    if fault.denied:
        fix = "give credentials: `--username NAME --password-stdin`, or log in with docker"
    raise ClusterError(str(fault), fix=fix)


async def tag(instance: Instance, image: str, other: str) -> str:
    """Gives the other name, in full, once the next pod would find it. Raises ClusterError."""
    name, address = full_reference(other), str(instance.containerd_socket)
    found = await _present(instance, image)
    if name == local.PAUSE_IMAGE:
        raise ClusterError(f"image {other!r} is what every pod stands on", fix="choose another name")
    try:
        await ctr.tag(address, found.name, name)
        ids = await ctr.image_ids(address, found.digest)
    except CtrError as error:
        raise ClusterError(f"image {image!r} gets no other name: {error}", fix=_look_at_log(instance)) from error
    async with _cri(instance) as cri:
        await _wait_heard(cri, name, ids)
    await _note(instance, name, ids)
    return name


async def inspect(instance: Instance, image: str) -> Obj:
    """What it is made of and how it runs, as its manifest and configuration have it. Raises ClusterError."""
    found = await _present(instance, image)
    content = ctr.StoredContent(str(instance.containerd_socket))
    try:
        return await inspecting.inspect(found, content)
    except pushing.PushError as error:
        raise ClusterError(str(error), fix="pull or import the image anew") from error


async def _present(instance: Instance, image: str) -> Listed:
    reference = full_reference(image)
    for found in await list_images(instance):
        if found.name == reference:
            return found
    raise ClusterError(
        f"image {image!r} is not on this node",
        fix=f"`{instance.command('image list')}` shows those that are",
    )


async def remove(instance: Instance, image: str) -> None:
    reference = full_reference(image)
    if reference == local.PAUSE_IMAGE:
        raise ClusterError(f"image {image!r} is what every pod stands on", fix="leave it: no pod starts without it")
    await _present(instance, image)
    try:
        await ctr.remove(str(instance.containerd_socket), reference)
    except CtrError as error:
        raise ClusterError(f"image {image!r} stays: {error}", fix=_look_at_log(instance)) from error
    async with _cri(instance) as cri:
        await _wait_heard(cri, reference, frozenset())
    await _note(instance, reference, ())


def full_reference(image: str) -> str:
    """``redis`` → ``docker.io/library/redis:latest``: the name containerd keeps it under (distribution reference).

    Raises ClusterError for what is no image name.
    """
    try:
        return normalize_reference(image)
    except ValueError as error:
        raise ClusterError(
            f"image name {image!r} is not valid: {error}", fix="write it like redis:7 or registry.example/team/app:1"
        ) from error


async def ensure_pause(instance: Instance) -> None:
    """Builds and imports the pause image unless it is there."""
    if any(image.name == local.PAUSE_IMAGE for image in await list_images(instance)):
        return
    try:
        await ctr.import_archive(str(instance.containerd_socket), [local.pause_image()])
    except CtrError as error:
        raise ClusterError(f"the pause image cannot be imported: {error}", fix=_look_at_log(instance)) from error


def require_running(instance: Instance) -> None:
    """Raises ClusterError, with what to do, when the instance's containerd cannot be spoken to."""
    if not instance.node.runs_containers:
        raise ClusterError(
            f"cluster {instance.name!r} has no images: its nodes are simulated",
            fix="name any image in a pod: a simulated node finds each",
        )
    socket = instance.containerd_socket
    try:
        there = socket.exists()
    except PermissionError:
        there = True
    if there and not os.access(socket, os.R_OK | os.W_OK):
        raise ClusterError("the node's images are root's", fix="run as root (sudo)")
    if not there:
        raise ClusterError(f"cluster {instance.name!r} is not running", fix=f"start it with `{instance.command('up')}`")


def _look_at_log(instance: Instance) -> str:
    return f"look at {Path(instance.logs) / 'containerd.log'}"


async def _note(instance: Instance, reference: str, ids: Iterable[str]) -> None:
    """So that the image stays for all pods under this name, also when a pod pulls the same one with its secrets."""
    from sampan.node.images import records

    try:
        await records.put_by_hand(records.FileRecords(records.folder(instance.kubelet_root)), reference, ids)
    except OSError as error:
        raise ClusterError(faults.fault(error), fix="run as root (sudo), or make room on the disk") from error


@asynccontextmanager
async def _cri(instance: Instance) -> AsyncIterator[CriRuntime]:
    from sampan.node.cri.client import CriRuntime  # gRPC is heavy: `sampan up` does without it
    from sampan.node.runtime import RuntimeCallError

    client = CriRuntime(str(instance.containerd_socket))
    try:
        yield client
    except RuntimeCallError as error:
        fault = str(error).partition(" desc = ")[2] or str(error)
        raise ClusterError(f"containerd of cluster {instance.name!r}: {fault}", fix=_look_at_log(instance)) from error
    finally:
        await client.close()


async def _wait_heard(cri: CriRuntime, name: str, ids: frozenset[str]) -> None:
    """Until CRI has one of these under the name; none: until it has nothing under it."""
    try:
        async with asyncio.timeout(_HEARD_SECONDS):
            while True:
                found = await cri.image_status(name)
                if (found is None and not ids) or (found is not None and found.id in ids):
                    return
                await asyncio.sleep(_LOOK_SECONDS)
    except TimeoutError:
        raise ClusterError(
            f"containerd took the change of {name!r}, and the node does not see it yet", fix="try again in a moment"
        ) from None
