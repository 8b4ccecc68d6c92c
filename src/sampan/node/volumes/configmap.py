"""configMap: the keys of a ConfigMap as files, and the selection of keys that projected volumes share."""

from __future__ import annotations

import base64

from sampan.api import resources
from sampan.api.errors import ApiError
from sampan.api.types import Obj
from sampan.node.env.sources import describe_failure
from sampan.node.volumes.atomic import ProjectedFile
from sampan.node.volumes.errors import SetupError
from sampan.node.volumes.files import Files, FilesPlugin
from sampan.node.volumes.plugin import Context, modes


class ConfigMapPlugin(FilesPlugin):
    name = "kubernetes.io/configmap"

    async def prepare(self, volume: Obj, context: Context) -> Files:
        source = volume["configMap"]
        return Files(payload=await read_payload(source, context, modes(source)))


async def read_payload(source: Obj, context: Context, default_mode: int) -> dict[str, ProjectedFile]:
    """Also for a projected source, which has the same fields. Raises SetupError."""
    optional = bool(source.get("optional"))
    name = source.get("name") or ""
    try:
        found = await context.source.get_config_map(context.namespace, name)
    except ApiError as error:
        if optional and error.code == 404:
            return {}
        raise SetupError(describe_failure(resources.CONFIG_MAPS, name, error)) from error
    data = {key: text.encode() for key, text in (found.get("data") or {}).items()}
    data |= {key: base64.b64decode(text) for key, text in (found.get("binaryData") or {}).items()}
    return select_keys(data, source.get("items") or (), default_mode, optional, "config")


def select_keys(
    data: dict[str, bytes], items: object, default_mode: int, optional: bool, what: str
) -> dict[str, ProjectedFile]:
    """``items`` names keys, their paths and modes; without items every key is a file of its own name."""
    if not isinstance(items, list) or not items:
        return {key: ProjectedFile(content, default_mode) for key, content in data.items()}
    payload = {}
    for item in items:
        content = data.get(item["key"])
        if content is None:
            if optional:
                continue
            raise SetupError(f"references non-existent {what} key: {item['key']}")
        mode = item.get("mode")
        payload[item["path"]] = ProjectedFile(content, default_mode if mode is None else mode)
    return payload
