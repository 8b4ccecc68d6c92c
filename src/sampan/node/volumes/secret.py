"""secret: the keys of a Secret as files on a tmpfs: they never touch a disk."""

from __future__ import annotations

import base64

from sampan.api import resources
from sampan.api.errors import ApiError
from sampan.api.types import Obj
from sampan.node.env.sources import describe_failure
from sampan.node.volumes.atomic import ProjectedFile
from sampan.node.volumes.configmap import select_keys
from sampan.node.volumes.errors import SetupError
from sampan.node.volumes.files import Files, FilesPlugin
from sampan.node.volumes.plugin import Context, modes


class SecretPlugin(FilesPlugin):
    name = "kubernetes.io/secret"

    async def prepare(self, volume: Obj, context: Context) -> Files:
        source = volume["secret"]
        payload = await read_payload(source, source.get("secretName") or "", context, modes(source))
        return Files(payload=payload, memory=True)


async def read_payload(source: Obj, name: str, context: Context, default_mode: int) -> dict[str, ProjectedFile]:
    """Also for a projected source, whose name is in another field. Raises SetupError."""
    optional = bool(source.get("optional"))
    try:
        found = await context.source.get_secret(context.namespace, name)
    except ApiError as error:
        if optional and error.code == 404:
            return {}
        raise SetupError(describe_failure(resources.SECRETS, name, error)) from error
    data = {key: base64.b64decode(text or "") for key, text in (found.get("data") or {}).items()}
    return select_keys(data, source.get("items") or (), default_mode, optional, "secret")
