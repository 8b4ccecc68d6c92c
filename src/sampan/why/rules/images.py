"""Images that cannot be pulled: their name, the right to them, the way there."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from typing import Final

from sampan.api.objects import is_deleting
from sampan.api.reading import part, parts, text
from sampan.api.resources import PODS, SECRETS
from sampan.api.types import Obj
from sampan.records import dataclass
from sampan.why.model import Action, Cause, Fix, Ref, ref_of
from sampan.why.table import Found, rule
from sampan.why.templates import change, container_in, holder, rollback
from sampan.why.world import World

_WAITING: Final = (
    "ErrImagePull",
    "ImagePullBackOff",
    "RegistryUnavailable",
    "ImageInspectError",
    "SignatureValidationFailed",
)
_DENIED: Final = re.compile(
    r"unauthorized|denied|forbidden|authentication required|no basic auth|40[13]", re.IGNORECASE
)
_ABSENT: Final = re.compile(r"not found|manifest unknown|does not exist|name unknown|404", re.IGNORECASE)
_AWAY: Final = re.compile(
    r"no such host|i/o timeout|connection refused|timed? ?out|dial tcp|TLS|x509|unreachable|EOF|server misbehaving"
    r"|Temporary failure|RegistryUnavailable|certificate",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class _Pull:
    container: str
    image: str
    message: str


def waiting(pod: Obj) -> Iterator[tuple[str, Obj]]:
    """(container, its waiting state) of each container that waits."""
    status = part(pod, "status")
    for sort in ("initContainerStatuses", "containerStatuses", "ephemeralContainerStatuses"):
        for each in parts(status, sort):
            state = part(part(each, "state"), "waiting")
            if state:
                yield text(each, "name"), state


def _image(pod: Obj, name: str) -> str:
    for sort in ("containers", "initContainers", "ephemeralContainers"):
        for each in parts(part(pod, "spec"), sort):
            if text(each, "name") == name:
                return text(each, "image")
    return ""


def _failed(world: World, pod: Obj) -> Iterator[_Pull]:
    """What each failed pull said; the wait says it, or the event before."""
    if is_deleting(pod):
        return
    for name, state in waiting(pod):
        if text(state, "reason") not in _WAITING:
            continue
        image, said = _image(pod, name), text(state, "message")
        told = [
            text(event, "message")
            for event in world.events_of(PODS, pod)
            if text(event, "reason") == "Failed" and f'"{image}"' in text(event, "message")
        ]
        yield _Pull(name, image, " ".join([said, *told[:1]]))


def _sort(pull: _Pull) -> str:
    """By what the registry or the way there said; the image's own name says nothing."""
    said = pull.message.replace(pull.image, "")
    if _AWAY.search(said):
        return "network"
    if _DENIED.search(said):
        return "credentials"
    return "name" if _ABSENT.search(said) else "other"


def _shown(pull: _Pull) -> str:
    return f"container {pull.container}: {pull.message[:400]}"


@rule("image-name", PODS, says="whether its images are there")
def name(world: World, pod: Obj) -> Found:
    for pull in _failed(world, pod):
        if _sort(pull) != "name":
            continue
        base = pull.image.rpartition(":")[0] if ":" in pull.image.rpartition("/")[2] else pull.image

        def edit(template: Obj, pull: _Pull = pull, base: str = base) -> None:
            container_in(template, pull.container)["image"] = f"{base}:latest"

        tag = pull.image[len(base) + 1 :] if base != pull.image else "latest"
        fix = Fix("write a name and tag that the registry has")
        if tag != "latest":
            fix = change(holder(world, PODS, pod), f"write a tag that the registry has, as {base}:latest", edit)
        back = rollback(world, holder(world, PODS, pod))
        if back is not None:
            fix = Fix(f"{fix.text}; or go back to revision {back[1]}", (back[0],))
        yield Cause(
            f"{ref_of(PODS, pod).place} cannot start container {pull.container}: the registry has no "
            f"image {pull.image}.",
            (_shown(pull),),
            fix,
            rank=5,
        )


@rule("image-credentials", PODS, says="whether it may pull its images")
def credentials(world: World, pod: Obj) -> Found:
    namespace = text(part(pod, "metadata"), "namespace")
    for pull in _failed(world, pod):
        if _sort(pull) != "credentials":
            continue
        secrets = [text(each, "name") for each in parts(part(pod, "spec"), "imagePullSecrets")]
        missing = [each for each in secrets if world.absent(SECRETS, each, namespace)]
        registry = pull.image.partition("/")[0] if "." in pull.image.partition("/")[0] else "docker.io"
        wanted = missing[0] if missing else "pull"
        said = [f"imagePullSecrets names {each}, which does not exist" for each in missing]
        if not secrets:
            said = ["the pod and its ServiceAccount name no imagePullSecrets"]
        words = (
            f"create the Secret: `kubectl create secret docker-registry {shlex.quote(wanted)} -n {namespace} "
            f"--docker-server={shlex.quote(registry)} --docker-username=USER --docker-password=PASSWORD`"
        )

        def edit(template: Obj, wanted: str = wanted) -> None:
            template["spec"]["imagePullSecrets"] = [*(template["spec"].get("imagePullSecrets") or ()), {"name": wanted}]

        fix = Fix(words)
        if not secrets:
            fix = change(holder(world, PODS, pod), f"{words}; then name it", edit)
        yield Cause(
            f"{ref_of(PODS, pod).place} cannot start container {pull.container}: the registry does "
            "not give it the image "
            f"{pull.image} without the right credentials.",
            (*said, _shown(pull)),
            fix,
            rank=5,
        )


@rule("image-network", PODS, says="whether its node reaches the registry")
def network(world: World, pod: Obj) -> Found:
    for pull in _failed(world, pod):
        if _sort(pull) == "network":
            node = text(part(pod, "spec"), "nodeName")
            yield Cause(
                f"{ref_of(PODS, pod).place} cannot start container {pull.container}: node {node} does not reach the "
                f"registry of {pull.image}.",
                (_shown(pull),),
                Fix(
                    "mend the way there (name resolution, proxy, firewall, certificates of the "
                    "node), or bring the image "
                    "to the node: `sampan image import`, or a mirror: docs/images.md"
                ),
                rank=5,
            )


@rule("image-other", PODS, says="other faults of pulls")
def other(world: World, pod: Obj) -> Found:
    for pull in _failed(world, pod):
        if _sort(pull) == "other":
            yield Cause(
                f"{ref_of(PODS, pod).place} cannot start container {pull.container}: its image "
                f"{pull.image} cannot be pulled.",
                (_shown(pull),),
                Fix("see what the registry said"),
                "likely",
                rank=6,
            )


@rule("image-never-pulled", PODS, says="imagePullPolicy Never")
def never(world: World, pod: Obj) -> Found:
    for container, state in waiting(pod):
        if text(state, "reason") != "ErrImageNeverPull":
            continue

        def edit(template: Obj, container: str = container) -> None:
            container_in(template, container)["imagePullPolicy"] = "IfNotPresent"

        yield Cause(
            f"{ref_of(PODS, pod).place} cannot start container {container}: its image "
            f"{_image(pod, container)} is not on "
            "the node, and its pull policy is Never.",
            (text(state, "message"),),
            change(
                holder(world, PODS, pod), "let the node pull it (IfNotPresent), or load it: `sampan image import`", edit
            ),
            rank=5,
        )


@rule("image-invalid-name", PODS, says="whether names of images can be read")
def invalid(world: World, pod: Obj) -> Found:
    for container, state in waiting(pod):
        if text(state, "reason") != "InvalidImageName":
            continue
        image = _image(pod, container)
        meant = re.sub(r"[^a-z0-9._/:@-]+", "-", image.lower()).strip("-")

        def edit(template: Obj, container: str = container, meant: str = meant) -> None:
            container_in(template, container)["image"] = meant

        yield Cause(
            f"{ref_of(PODS, pod).place} cannot start container {container}: {image!r} is no name of an image.",
            (text(state, "message"),),
            change(holder(world, PODS, pod), f"write a name like {meant}", edit),
            rank=5,
        )


__all__ = ["Action", "Ref", "waiting"]
