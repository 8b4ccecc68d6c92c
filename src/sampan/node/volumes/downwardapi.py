"""downwardAPI: fields of the pod and resources of its containers as files."""

from __future__ import annotations

from sampan.api.types import Obj
from sampan.node.env.fields import FieldPathError, field_value, resource_value
from sampan.node.volumes.atomic import ProjectedFile
from sampan.node.volumes.errors import SetupError
from sampan.node.volumes.files import Files, FilesPlugin
from sampan.node.volumes.plugin import Context, modes


class DownwardApiPlugin(FilesPlugin):
    name = "kubernetes.io/downward-api"

    async def prepare(self, volume: Obj, context: Context) -> Files:
        source = volume["downwardAPI"] or {}
        return Files(payload=read_payload(source, context, modes(source)))


def read_payload(source: Obj, context: Context, default_mode: int) -> dict[str, ProjectedFile]:
    """Also for a projected source. Pure. Raises SetupError."""
    payload = {}
    for item in source.get("items") or ():
        try:
            if reference := item.get("fieldRef"):
                text = field_value(context.pod, reference["fieldPath"], context.facts)
            else:
                text = resource_value(context.pod, {}, item["resourceFieldRef"], context.facts)
        except FieldPathError as error:
            raise SetupError(str(error)) from error
        mode = item.get("mode")
        payload[item["path"]] = ProjectedFile(text.encode(), default_mode if mode is None else mode)
    return payload
