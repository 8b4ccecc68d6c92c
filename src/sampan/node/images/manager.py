"""Makes the image of a container present: pull policy, credentials, who may use what is here, back-off.

Used by pod workers. Raises ``ImageError`` with the kubelet's waiting reason and message. One event loop; durations run
on its clock. The runtime is asked each time: an image that was rebuilt and imported under its old name is another.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

from sampan.api.faults import cause
from sampan.api.imagenames import default_policy, normalize_reference, repository_of
from sampan.api.types import Obj
from sampan.client import tasks
from sampan.node import runtime
from sampan.node.images.credentials import NO_SECRETS, PullSecrets
from sampan.node.images.keyring import BadPullSecretError, Credential, find_credentials, is_heavy
from sampan.node.images.providers import CredentialProviders
from sampan.node.images.pulls import Pace, PullBackoff, Pulled, PullFailed, SharedPulls
from sampan.node.images.records import MemoryRecords, PullRecords, RecordStore
from sampan.node.images.verification import Verification
from sampan.records import dataclass

log = logging.getLogger(__name__)

_RETRY_SECONDS = 10.0
_BROKEN_OFF_SECONDS = 1.0
_NEVER_SECONDS = 300.0
#: reasons that a runtime gives by the first word of its error, and how the message goes on
_NAMED_FAULTS = {
    "RegistryUnavailable": "the registry is unavailable",
    "SignatureValidationFailed": "the signature validation failed",
}

Report = Callable[[str, str, str], None]  # (type, reason, message) of an event on the container


class ImageError(Exception):
    """``reason`` is the container's waiting reason; ``retry_after_seconds`` when to try again."""

    def __init__(self, reason: str, message: str, retry_after_seconds: float) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.retry_after_seconds = retry_after_seconds


@dataclass(frozen=True, slots=True)
class _Wanted:
    """One container's image: as the pod writes it, as registries know it, and where it lives."""

    pod_uid: str
    image: str
    reference: str
    repository: str
    credentials: tuple[Credential, ...]


class ImageManager:
    def __init__(
        self,
        source: runtime.ImageRuntime,
        *,
        records: RecordStore | None = None,
        providers: CredentialProviders | None = None,
        pace: Pace | None = None,
        verification: Verification | None = None,
    ) -> None:
        self._runtime = source
        self._pulls = SharedPulls(source, pace or Pace())
        self._providers = providers
        self._verification = verification or Verification()
        self._backoff = PullBackoff()
        self._records = PullRecords(records or MemoryRecords())
        #: pod -> images that it uses as volumes
        self._held: dict[str, set[str]] = {}
        self._settling: set[asyncio.Task[None]] = set()
        self._loading = asyncio.Lock()
        self._loaded = False

    async def ensure(
        self, pod: Obj, container: Obj, report: Report, secrets: PullSecrets = NO_SECRETS
    ) -> runtime.Image:
        """The image, pulled if its policy says so or if this pod must show that it may. Raises ImageError."""
        await self._load()
        image = container.get("image", "")
        try:
            reference, repository = normalize_reference(image), repository_of(image)
        except ValueError as error:
            message = f'Failed to apply default image tag "{image}": couldn\'t parse image name "{image}": {error}'
            report("Warning", "InspectFailed", message)
            raise ImageError("InvalidImageName", message, _NEVER_SECONDS) from None
        policy = container.get("imagePullPolicy") or default_policy(image)
        present = None if policy == "Always" else await self._inspect(image, reference, report)
        if present is None and policy == "Never":
            message = f'Container image "{image}" is not present with pull policy of Never'
            report("Warning", "ErrImageNeverPull", message)
            raise ImageError("ErrImageNeverPull", message, _RETRY_SECONDS)
        credentials = await self._credentials(image, repository, secrets, report)
        wanted = _Wanted(pod["metadata"]["uid"], image, reference, repository, credentials)
        allowed = present is not None and await self._may_use(wanted, present)
        pausing = present is None and self._backoff.left(wanted.pod_uid, image)[0] > 0  # nothing will be pulled now
        if not allowed and not pausing and self._providers is not None:
            more = await self._providers.credentials(pod, repository)
            wanted = replace(wanted, credentials=tuple(dict.fromkeys((*credentials, *more))))
            allowed = present is not None and await self._may_use(wanted, present)
        if present is not None:
            if allowed:
                report(
                    "Normal",
                    "Pulled",
                    f'Container image "{image}" already present on machine and can be accessed by the pod',
                )
                return present
            if policy == "Never":
                message = (
                    f'Container image "{image}" is present with pull policy of Never but does not have the proper '
                    "credentials to access the image"
                )
                report("Warning", "ErrImageNeverPull", message)
                raise ImageError("ErrImageNeverPull", message, _RETRY_SECONDS)
        return await self._pull(wanted, report)

    async def present(self) -> list[runtime.Image]:
        """The images that are on the node; who may use others is forgotten. Raises RuntimeCallError."""
        since = self._records.moment
        given = await self._records.given_by_hand()
        images = await self._runtime.list_images()
        try:
            await self._settle_intents()
            await self._records.keep_only((image.id for image in images), since)
            await self._records.forget_by_hand(given, (image.id for image in images))
        except OSError as error:
            log.warning("records of pulled images: %s", cause(error))
        return images

    def hold(self, pod_uid: str, image_id: str) -> None:
        """The pod uses the image otherwise than by a container of it: it is not collected until ``let_go``."""
        self._held.setdefault(pod_uid, set()).add(image_id)

    def let_go(self, pod_uid: str) -> None:
        self._held.pop(pod_uid, None)

    def held(self) -> set[str]:
        return set().union(*self._held.values())

    async def _load(self) -> None:
        async with self._loading:
            if self._loaded:
                return
            try:
                await self._records.load()
                await self._settle_intents()
            except (OSError, runtime.RuntimeCallError) as error:
                text = cause(error) if isinstance(error, OSError) else str(error)
                raise ImageError("ImageInspectError", f"records of pulled images: {text}", _RETRY_SECONDS) from error
            self._loaded = True

    async def _settle_intents(self) -> None:
        """Pulls that were broken off may have come through all the same."""
        for reference in self._records.broken_off():
            found = await self._runtime.image_status(reference)
            await self._records.adopt(reference, found.id if found is not None else None)

    async def _inspect(self, image: str, reference: str, report: Report) -> runtime.Image | None:
        try:
            return await self._runtime.image_status(reference) or await self._runtime.image_status(image)
        except runtime.RuntimeCallError as error:
            message = f'Failed to inspect image "{image}": {error}'
            report("Warning", "InspectFailed", message)
            raise ImageError("ImageInspectError", message, _RETRY_SECONDS) from error

    async def _credentials(
        self, image: str, repository: str, secrets: PullSecrets, report: Report
    ) -> tuple[Credential, ...]:
        try:
            if is_heavy(secrets.found):
                return tuple(await asyncio.to_thread(find_credentials, repository, secrets.found))
            return tuple(find_credentials(repository, secrets.found))
        except BadPullSecretError as error:
            message = f'Failed to pull image "{image}": {error}'
            report("Warning", "Failed", message)
            raise ImageError("ErrImagePull", str(error), _RETRY_SECONDS) from None

    async def _may_use(self, wanted: _Wanted, present: runtime.Image) -> bool:
        preloaded = await self._records.preloaded(wanted.reference, present.id)
        if not self._verification.required(wanted.repository, preloaded=preloaded):
            return True
        by_hand = not preloaded and await self._records.by_hand(wanted.reference, present.id)
        if by_hand and not self._verification.required(wanted.repository, preloaded=True):
            return True
        try:
            return await self._records.may_use(wanted.reference, wanted.repository, present.id, wanted.credentials)
        except OSError as error:
            log.warning("records of pulled images: %s", cause(error))
            return False  # asked of the registry then

    async def _pull(self, wanted: _Wanted, report: Report) -> runtime.Image:
        loop = asyncio.get_running_loop()
        image = wanted.image
        seconds, fault = self._backoff.left(wanted.pod_uid, image)
        if seconds:
            message = f'Back-off pulling image "{image}"'
            report("Normal", "BackOff", message)
            raise ImageError("ImagePullBackOff", f"{message}: {fault}", seconds)
        report("Normal", "Pulling", f'Pulling image "{image}"')
        asked = loop.time()
        try:
            found, pull_seconds = await self._recorded_pull(wanted)
        except (PullFailed, runtime.RuntimeCallError) as error:
            report("Warning", "Failed", f'Failed to pull image "{image}": {error}')
            reason, message = _explain(image, str(error))
            delay = self._backoff.failed(wanted.pod_uid, image, f"{reason}: {message}")
            # Soon again, to say ImagePullBackOff; the pull itself waits for the delay.
            raise ImageError(reason, message, min(delay, 1.0)) from error
        took, waited = _duration(pull_seconds), _duration(loop.time() - asked)
        report(
            "Normal",
            "Pulled",
            f'Successfully pulled image "{image}" in {took} ({waited} including waiting). '
            f"Image size: {found.size_bytes} bytes.",
        )
        return found

    async def _recorded_pull(self, wanted: _Wanted) -> tuple[runtime.Image, float]:
        """And how long the pull itself took. Raises PullFailed, RuntimeCallError."""
        try:
            await self._records.begin(wanted.reference)
        except OSError as error:
            raise PullFailed(
                f'Failed to record image pull intent for container image "{wanted.image}": {cause(error)}'
            ) from error
        found: runtime.Image | None = None
        pulled: Pulled | None = None
        try:
            pulled = await self._pulls.pull(wanted.reference, wanted.credentials)
            found = await self._runtime.image_status(pulled.image_ref)
            found = found or await self._runtime.image_status(wanted.reference)
        except PullFailed:
            await self._note(self._records.failed(wanted.reference))
            raise
        except BaseException:
            self._settle_soon()
            raise
        finally:
            if found is None:
                self._records.leave(wanted.reference)
        if found is None or pulled is None:
            raise PullFailed(f'image "{wanted.image}" vanished after its pull')
        await self._note(self._records.pulled(wanted.reference, wanted.repository, found.id, pulled.used))
        return found, pulled.seconds

    def _settle_soon(self) -> None:
        """A pull was broken off, and the runtime may have the image all the same: the intent stays until then."""

        async def settle() -> None:
            await asyncio.sleep(_BROKEN_OFF_SECONDS)
            try:
                await self._settle_intents()
            except (OSError, runtime.RuntimeCallError) as error:
                log.info("records of pulled images: %s", error)  # the next collection looks again

        task = tasks.detach(settle(), "broken-off pull")
        self._settling.add(task)
        task.add_done_callback(self._settling.discard)

    async def _note(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except OSError as error:
            log.warning("records of pulled images: %s", cause(error))  # the intent stays, and with it the question


def _explain(image: str, fault: str) -> tuple[str, str]:
    """Waiting reason and message of a pull that failed."""
    for reason, words in _NAMED_FAULTS.items():
        if fault.startswith(reason):
            return reason, f"image pull failed for {image} because {words}{fault.removeprefix(reason)}"
    return "ErrImagePull", fault


def _duration(seconds: float) -> str:
    milliseconds = round(seconds * 1000)
    return f"{milliseconds / 1000:g}s" if milliseconds >= 1000 else f"{milliseconds}ms"
