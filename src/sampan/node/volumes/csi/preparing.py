"""Puts together what a driver is asked for a volume of a pod: reads the API only, and waits for the attachment."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from dataclasses import field
from datetime import datetime
from typing import Any, Final, Protocol

from sampan.api import objects
from sampan.api.clock import Clock
from sampan.api.errors import ApiError
from sampan.api.reading import part, parts, text, text_map, texts, whole
from sampan.api.resources import SECRETS
from sampan.api.types import Obj
from sampan.node.env.sources import describe_failure
from sampan.node.volumes.csi import requests
from sampan.node.volumes.csi.attachments import Attachments
from sampan.node.volumes.csi.drivers import Driver, Drivers, NotRegistered
from sampan.node.volumes.errors import SetupError
from sampan.node.volumes.plugin import Context
from sampan.records import dataclass

_TOKEN_SECONDS: Final = 3600
_MOUNT_DEVICE: Final = "MountVolume.MountDevice"
_NO_CLIENT: Final = "kubernetes.io/csi: attacher.MountDevice failed to create newCsiDriverClient: "
_NO_CLIENT_INLINE: Final = "kubernetes.io/csi: mounter.SetUpAt failed to get CSI client: "


class DriverObjects(Protocol):
    async def get(self, name: str) -> Obj | None:
        """The CSIDriver of that name. Raises ApiError."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """One volume of one pod, in the interface's words."""

    driver: Driver
    handle: str
    uid: str
    #: a PersistentVolume; else one that lives with its pod
    persistent: bool
    #: of the volume as messages have it
    shown: str
    capability: Any
    block: bool = False
    stages: bool = False
    attached: bool = False
    read_only: bool = False
    republish: bool = False
    gives_group: bool = False
    attributes: Mapping[str, str] = field(default_factory=dict)
    pod_context: Mapping[str, str] = field(default_factory=dict)
    publish_context: Mapping[str, str] = field(default_factory=dict)
    stage_secrets: Mapping[str, str] = field(default_factory=dict)
    publish_secrets: Mapping[str, str] = field(default_factory=dict)
    expand_secrets: Mapping[str, str] = field(default_factory=dict)


class Preparing:
    def __init__(
        self,
        drivers: Drivers,
        driver_objects: DriverObjects,
        attachments: Attachments,
        clock: Clock,
        changed: Callable[[], None],
    ) -> None:
        """``changed``: told when other volumes are in use than before; from any thread."""
        self._drivers = drivers
        self._objects = driver_objects
        self._attachments = attachments
        self._clock = clock
        self.changed = changed

    def now(self) -> datetime:
        return self._clock.now()

    async def wanted(self, volume: Obj, context: Context) -> Wanted:
        """``volume``: a pod's volume, or the spec of a PersistentVolume. Raises SetupError."""
        source = part(volume, "csi")
        name = text(source, "driver")
        try:
            found = await self._objects.get(name)
        except ApiError as error:
            raise SetupError(f"kubernetes.io/csi: CSIDriver {name}: {error.message}") from error
        mode = "Ephemeral" if context.persistent_volume is None else "Persistent"
        if refused := requests.mode_refused(name, found, mode):
            raise SetupError(refused)
        try:
            driver = self._drivers.get(name)
        except NotRegistered as error:
            if context.persistent_volume is None:
                raise SetupError(_NO_CLIENT_INLINE + str(error)) from error
            raise SetupError(_NO_CLIENT + str(error), _MOUNT_DEVICE) from error
        settings = part(found, "spec")
        if context.persistent_volume is None:
            return await self._inline(driver, settings, volume, source, context)
        return await self._persistent(driver, settings, context.persistent_volume, source, context)

    async def _inline(self, driver: Driver, settings: Obj, volume: Obj, source: Obj, context: Context) -> Wanted:
        uid, name = objects.uid(context.pod), text(volume, "name")
        fs_type = text(source, "fsType")
        secrets = {}
        if reference := text(part(source, "nodePublishSecretRef"), "name"):
            secrets = await self._secret(context, context.namespace, reference, "NodePublishSecretRef")
        pod_context, more = await self._about_pod(settings, context, ephemeral=True)
        return Wanted(
            driver=driver,
            handle=requests.inline_handle(uid, name),
            uid=uid,
            persistent=False,
            shown=name,
            capability=self._capability(driver, ["ReadWriteOnce"], context, fs_type=fs_type),
            read_only=source.get("readOnly") is True,
            republish=settings.get("requiresRepublish") is True,
            gives_group=_gives_group(driver, settings, fs_type, None),
            attributes=dict(text_map(source, "volumeAttributes")),
            pod_context=pod_context,
            publish_secrets={**secrets, **more},
        )

    async def _persistent(self, driver: Driver, settings: Obj, volume: Obj, source: Obj, context: Context) -> Wanted:
        spec, uid, handle = part(volume, "spec"), objects.uid(context.pod), text(source, "volumeHandle")
        fs_type, modes = text(source, "fsType"), list(texts(spec, "accessModes"))
        block = text(spec, "volumeMode") == "Block"
        attach = settings.get("attachRequired") is not False
        publish_context = await self._attachments.wait(uid, driver.name, handle) if attach else {}
        secrets = {}
        for key in ("nodeStageSecretRef", "nodePublishSecretRef", "nodeExpandSecretRef"):
            reference = part(source, key)
            shown = key[0].upper() + key[1:]
            if text(reference, "name"):
                where = text(reference, "namespace")
                secrets[key] = await self._secret(context, where, text(reference, "name"), shown)
        pod_context, more = await self._about_pod(settings, context, ephemeral=False)
        return Wanted(
            driver=driver,
            handle=handle,
            uid=uid,
            persistent=True,
            shown=objects.name(volume),
            capability=self._capability(
                driver, modes, context, fs_type=fs_type, block=block, flags=requests.mount_options(volume)
            ),
            block=block,
            stages=driver.can("STAGE_UNSTAGE_VOLUME"),
            attached=attach,
            republish=settings.get("requiresRepublish") is True,
            gives_group=_gives_group(driver, settings, fs_type, modes),
            attributes=dict(text_map(source, "volumeAttributes")),
            pod_context=pod_context,
            publish_context=publish_context,
            stage_secrets=secrets.get("nodeStageSecretRef", {}),
            publish_secrets={**secrets.get("nodePublishSecretRef", {}), **more},
            expand_secrets=secrets.get("nodeExpandSecretRef", {}),
        )

    def _capability(
        self,
        driver: Driver,
        modes: list[str],
        context: Context,
        *,
        fs_type: str,
        block: bool = False,
        flags: list[str] | None = None,
    ) -> Any:
        group = context.ownership.fs_group
        return requests.capability(
            mode=requests.access_mode(modes, driver.can("SINGLE_NODE_MULTI_WRITER")),
            block=block,
            fs_type=fs_type,
            mount_flags=flags or (),
            mount_group=str(group) if group is not None and driver.can("VOLUME_MOUNT_GROUP") else "",
        )

    async def _secret(self, context: Context, namespace: str, name: str, field_name: str) -> dict[str, str]:
        try:
            secret = await context.source.get_secret(namespace, name)
            return {key: base64.b64decode(value, validate=True).decode() for key, value in part(secret, "data").items()}
        except ApiError as error:
            words = describe_failure(SECRETS, name, error)
        except (binascii.Error, UnicodeDecodeError, TypeError):
            words = "its data is no text"
        raise SetupError(
            f"fetching {field_name} {namespace}/{name} failed: kubernetes.io/csi: failed to find the secret {name}"
            f" in the namespace {namespace} with error: {words}"
        )

    async def _about_pod(
        self, settings: Obj, context: Context, *, ephemeral: bool
    ) -> tuple[dict[str, str], dict[str, str]]:
        """For the volume's context, and for its secrets. Raises SetupError."""
        told: dict[str, str] = {}
        if settings.get("podInfoOnMount") is True:
            told = requests.pod_information(context.pod, ephemeral=ephemeral)
        wanted = list(parts(settings, "tokenRequests"))
        if not wanted:
            return told, {}
        tokens = {}
        for each in wanted:
            audience = text(each, "audience")
            seconds = whole(each, "expirationSeconds") or _TOKEN_SECONDS
            try:
                tokens[audience] = await context.tokens.token(context.pod, (audience,) if audience else (), seconds)
            except ApiError as error:
                raise SetupError(
                    "kubernetes.io/csi: mounter.SetUpAt failed to get service accoount token attributes:"  # upstream's
                    f" {error.message}"
                ) from error
        encoded = {requests.TOKENS: requests.tokens_text(tokens)}
        if settings.get("serviceAccountTokenInSecrets") is True:
            return told, encoded
        return told | encoded, {}


def _gives_group(driver: Driver, settings: Obj, fs_type: str, modes: list[str] | None) -> bool:
    if driver.can("VOLUME_MOUNT_GROUP"):
        return False  # the driver does it, by the capability's mount group
    policy = text(settings, "fsGroupPolicy") or "ReadWriteOnceWithFSType"
    return requests.applies_group(policy, fs_type=fs_type, modes=modes)
