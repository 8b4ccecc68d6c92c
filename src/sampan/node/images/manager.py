"""Makes the image of a container present: pull policy, credentials, back-off, one pull for all who wait.

Used by pod workers. Raises ``ImageError`` with the kubelet's waiting reason and message. One event loop; durations run
on its clock.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sampan.api.types import Obj
from sampan.client import tasks
from sampan.node import runtime

_BACKOFF_FIRST = 10.0
_BACKOFF_MAX = 300.0
_REFERENCE = re.compile(
    r"^(?:(?P<domain>[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?(?::[0-9]+)?)/)?"
    r"(?P<path>[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)*)"
    r"(?::(?P<tag>[\w][\w.-]{0,127}))?(?:@(?P<digest>[A-Za-z][A-Za-z0-9]*:[0-9a-fA-F]{32,}))?$"
)

Report = Callable[[str, str, str], None]  # (type, reason, message) of an event on the container


class ImageError(Exception):
    """``reason`` is the container's waiting reason; ``retry_after_seconds`` when to try again."""

    def __init__(self, reason: str, message: str, retry_after_seconds: float) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.retry_after_seconds = retry_after_seconds


def normalize_reference(image: str) -> str:
    """``busybox`` becomes ``docker.io/library/busybox:latest``. Raises ValueError."""
    match = _REFERENCE.match(image)
    if match is None:
        raise ValueError("invalid reference format")
    domain, path = match["domain"], match["path"]
    if domain is not None and not ("." in domain or ":" in domain or domain == "localhost"):
        domain, path = None, f"{domain}/{path}"
    if domain is None or domain == "index.docker.io":
        domain = "docker.io"
    if domain == "docker.io" and "/" not in path:
        path = f"library/{path}"
    suffix = f":{match['tag']}" if match["tag"] else "" if match["digest"] else ":latest"
    return f"{domain}/{path}{suffix}" + (f"@{match['digest']}" if match["digest"] else "")


def default_policy(image: str) -> str:
    try:
        tag = normalize_reference(image).rpartition("/")[2]
    except ValueError:
        return "IfNotPresent"
    return "Always" if tag.endswith(":latest") and "@" not in tag else "IfNotPresent"


@dataclass(slots=True)
class _Backoff:
    delay: float
    until: float
    last_error: str


class ImageManager:
    """Invariant: at most one pull of an image is under way."""

    def __init__(self, source: runtime.Runtime, *, serialize: bool = False) -> None:
        self._runtime = source
        self._present: dict[str, runtime.Image] = {}
        self._pulls: dict[str, asyncio.Task[str | runtime.RuntimeCallError]] = {}
        self._waiters: dict[str, int] = {}
        self._backoffs: dict[str, _Backoff] = {}
        self._serial = asyncio.Semaphore(1 if serialize else 16)

    def forget(self, reference: str | None = None) -> None:
        """After images were removed behind our back (collection): ask the runtime again."""
        if reference is None:
            self._present.clear()
        else:
            self._present = {name: image for name, image in self._present.items() if reference not in (name, image.id)}

    async def ensure(self, container: Obj, report: Report, auths: Sequence[runtime.RegistryAuth] = ()) -> runtime.Image:
        """The image, pulled if its policy says so. Raises ImageError."""
        image = container.get("image", "")
        try:
            reference = normalize_reference(image)
        except ValueError as error:
            message = f'Failed to apply default image tag "{image}": couldn\'t parse image name "{image}": {error}'
            report("Warning", "InspectFailed", message)
            raise ImageError("InvalidImageName", message, _BACKOFF_MAX) from None
        policy = container.get("imagePullPolicy") or default_policy(image)
        present = None if policy == "Always" else await self._find(image, reference)
        if present is not None:
            report("Normal", "Pulled", f'Container image "{image}" already present on machine')
            return present
        if policy == "Never":
            message = f'Container image "{image}" is not present with pull policy of Never'
            report("Warning", "ErrImageNeverPull", message)
            raise ImageError("ErrImageNeverPull", message, _BACKOFF_FIRST)
        return await self._pull(image, reference, report, auths)

    async def _find(self, image: str, reference: str) -> runtime.Image | None:
        known = self._present.get(reference)
        if known is None:
            known = await self._runtime.image_status(reference) or await self._runtime.image_status(image)
            if known is not None:
                self._present[reference] = known
        return known

    async def _pull(
        self, image: str, reference: str, report: Report, auths: Sequence[runtime.RegistryAuth]
    ) -> runtime.Image:
        loop = asyncio.get_running_loop()
        backoff = self._backoffs.get(reference)
        if backoff is not None and loop.time() < backoff.until:
            message = f'Back-off pulling image "{image}"'
            report("Normal", "BackOff", message)
            raise ImageError("ImagePullBackOff", f"{message}: {backoff.last_error}", backoff.until - loop.time())
        report("Normal", "Pulling", f'Pulling image "{image}"')
        started = loop.time()
        try:
            image_id = await self._shared_pull(reference, auths)
        except runtime.RuntimeCallError as error:
            delay = _BACKOFF_FIRST if backoff is None else min(backoff.delay * 2, _BACKOFF_MAX)
            self._backoffs[reference] = _Backoff(delay, loop.time() + delay, f"ErrImagePull: {error}")
            report("Warning", "Failed", f'Failed to pull image "{image}": {error}')
            # Soon again, to say ImagePullBackOff; the pull itself waits for the delay.
            raise ImageError("ErrImagePull", str(error), min(delay, 1.0)) from error
        self._backoffs.pop(reference, None)
        found = await self._runtime.image_status(image_id) or await self._runtime.image_status(reference)
        if found is None:
            raise ImageError("ErrImagePull", f'image "{image}" vanished after its pull', _BACKOFF_FIRST)
        self._present[reference] = found
        milliseconds = round((loop.time() - started) * 1000)
        took = f"{milliseconds / 1000:g}s" if milliseconds >= 1000 else f"{milliseconds}ms"
        report(
            "Normal",
            "Pulled",
            f'Successfully pulled image "{image}" in {took} ({took} including waiting). '
            f"Image size: {found.size_bytes} bytes.",
        )
        return found

    async def _shared_pull(self, reference: str, auths: Sequence[runtime.RegistryAuth]) -> str:
        """Joins a pull under way; the pull ends when nobody waits for it any more."""
        task = self._pulls.get(reference)
        if task is None:
            task = self._pulls[reference] = tasks.detach(self._run_pull(reference, auths), f"pull {reference}")
            task.add_done_callback(lambda _: self._pulls.pop(reference, None))
        self._waiters[reference] = self._waiters.get(reference, 0) + 1
        try:
            outcome = await asyncio.shield(task)
        finally:
            self._waiters[reference] -= 1
            if self._waiters[reference] == 0:
                del self._waiters[reference]
                task.cancel()
        if isinstance(outcome, runtime.RuntimeCallError):
            raise outcome
        return outcome

    async def _run_pull(self, reference: str, auths: Sequence[runtime.RegistryAuth]) -> str | runtime.RuntimeCallError:
        """A failure is returned: it is for those who wait, and no bug of a task."""
        async with self._serial:
            error: runtime.RuntimeCallError | None = None
            for auth in auths or (None,):
                try:
                    return await self._runtime.pull_image(reference, auth)
                except runtime.RuntimeUnavailable as failure:
                    return failure
                except runtime.RuntimeCallError as failure:
                    error = failure
            assert error is not None
            return error
