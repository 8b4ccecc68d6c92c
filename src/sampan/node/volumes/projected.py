"""projected: ConfigMaps, Secrets, downward API and ServiceAccount tokens in one directory, on a tmpfs."""

from __future__ import annotations

from datetime import datetime

from sampan.api.errors import ApiError
from sampan.api.types import Obj
from sampan.node.volumes import configmap, downwardapi, secret
from sampan.node.volumes.atomic import ProjectedFile
from sampan.node.volumes.errors import SetupError
from sampan.node.volumes.setup import Context, FilesSetup, Setup, modes
from sampan.node.volumes.tokens import Token

DIRECTORY = "kubernetes.io~projected"
_DEFAULT_TOKEN_SECONDS = 3600


async def prepare(volume: Obj, context: Context) -> Setup:
    """All faults are told at once, as upstream's aggregate does."""
    source = volume["projected"] or {}
    default_mode = modes(source)
    payload: dict[str, ProjectedFile] = {}
    renewals: list[datetime] = []
    faults: list[str] = []
    for each in source.get("sources") or ():
        try:
            if found := each.get("configMap"):
                payload |= await configmap.read_payload(found, context, default_mode)
            elif found := each.get("secret"):
                payload |= await secret.read_payload(found, found.get("name") or "", context, default_mode)
            elif found := each.get("downwardAPI"):
                payload |= downwardapi.read_payload(found, context, default_mode)
            elif found := each.get("serviceAccountToken"):
                token = await _token(found, context)
                payload[found["path"]] = _token_file(token, context, default_mode)
                renewals.append(token.renew_at)
            elif each:
                raise SetupError(f'projected volume source "{next(iter(each))}" is not supported by this node')
        except SetupError as error:
            faults.append(str(error))
    if faults:
        unique = list(dict.fromkeys(faults))
        raise SetupError(unique[0] if len(unique) == 1 else f"[{', '.join(unique)}]")
    return FilesSetup(payload, memory=True, renew_at=min(renewals, default=None))


async def _token(source: Obj, context: Context) -> Token:
    audiences = (source["audience"],) if source.get("audience") else ()
    seconds = source.get("expirationSeconds") or _DEFAULT_TOKEN_SECONDS
    try:
        return await context.tokens.token(context.pod, audiences, seconds)
    except ApiError as error:
        raise SetupError(f"failed to fetch token: {error.message}") from error


def _token_file(token: Token, context: Context, default_mode: int) -> ProjectedFile:
    """Private to the pod's user when there is one; fsGroup adds its read bit later."""
    ownership = context.ownership
    private = ownership.fs_user is not None or ownership.fs_group is not None
    return ProjectedFile(token.value.encode(), 0o600 if private else default_mode, ownership.fs_user)
