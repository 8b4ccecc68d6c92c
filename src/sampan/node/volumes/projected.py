"""projected: ConfigMaps, Secrets, downward API, tokens, trust bundles and certificates in one directory, on a tmpfs."""

from __future__ import annotations

import asyncio
from datetime import datetime

from sampan.api.errors import ApiError
from sampan.api.types import Obj
from sampan.node.volumes import configmap, downwardapi, secret, trustbundle
from sampan.node.volumes.atomic import ProjectedFile
from sampan.node.volumes.errors import SetupError
from sampan.node.volumes.files import Files, FilesPlugin
from sampan.node.volumes.plugin import Context, modes
from sampan.node.volumes.podcertificate import Wanted
from sampan.node.volumes.tokens import Token

_DEFAULT_TOKEN_SECONDS = 3600


class ProjectedPlugin(FilesPlugin):
    name = "kubernetes.io/projected"

    async def prepare(self, volume: Obj, context: Context) -> Files:
        """Reads all sources at once; all faults are told at once, as upstream's aggregate does."""
        source = volume["projected"] or {}
        default_mode = modes(source)
        reads = (
            _read_certificate(
                Wanted(pod=context.pod, volume=volume["name"], index=index, source=found), context, default_mode
            )
            if (found := each.get("podCertificate"))
            else _read(each, context, default_mode)
            for index, each in enumerate(source.get("sources") or ())
            if each
        )
        payload: dict[str, ProjectedFile] = {}
        renewals: list[datetime] = []
        faults: list[str] = []
        for part in await asyncio.gather(*reads, return_exceptions=True):
            if isinstance(part, SetupError):
                faults.append(str(part))
            elif isinstance(part, BaseException):
                raise part
            else:
                payload |= part.payload
                if part.renew_at is not None:
                    renewals.append(part.renew_at)
        if faults:
            unique = list(dict.fromkeys(faults))
            raise SetupError(unique[0] if len(unique) == 1 else f"[{', '.join(unique)}]")
        return Files(payload=payload, memory=True, renew_at=min(renewals, default=None))


async def _read(source: Obj, context: Context, default_mode: int) -> Files:
    """One source. Raises SetupError."""
    if found := source.get("configMap"):
        return Files(payload=await configmap.read_payload(found, context, default_mode))
    if found := source.get("secret"):
        return Files(payload=await secret.read_payload(found, found.get("name") or "", context, default_mode))
    if found := source.get("downwardAPI"):
        return Files(payload=downwardapi.read_payload(found, context, default_mode))
    if found := source.get("serviceAccountToken"):
        token = await _token(found, context)
        files = {found["path"]: _private(token.value.encode(), context, default_mode)}
        return Files(payload=files, renew_at=token.renew_at)
    if found := source.get("clusterTrustBundle"):
        data = await trustbundle.read(found, context)
        return Files(payload={found["path"]: _private(data, context, default_mode)})
    raise SetupError(f'projected volume source "{next(iter(source))}" is not supported by this node')


async def _read_certificate(wanted: Wanted, context: Context, default_mode: int) -> Files:
    """One source of a key and its certificate. Raises SetupError."""
    found = await context.certificates.credentials(wanted)
    contents = {
        "credentialBundlePath": found.key + found.chain,
        "keyPath": found.key,
        "certificateChainPath": found.chain,
    }
    files = {
        path: _private(data, context, default_mode)
        for name, data in contents.items()
        if (path := wanted.source.get(name))
    }
    return Files(payload=files, renew_at=found.renew_at)


async def _token(source: Obj, context: Context) -> Token:
    audiences = (source["audience"],) if source.get("audience") else ()
    seconds = source.get("expirationSeconds") or _DEFAULT_TOKEN_SECONDS
    try:
        return await context.tokens.token(context.pod, audiences, seconds)
    except ApiError as error:
        raise SetupError(f"failed to fetch token: {error.message}") from error


def _private(data: bytes, context: Context, default_mode: int) -> ProjectedFile:
    """For the pod's user alone when there is one; fsGroup adds its read bit later."""
    ownership = context.ownership
    private = ownership.fs_user is not None or ownership.fs_group is not None
    return ProjectedFile(data, 0o600 if private else default_mode, ownership.fs_user)
