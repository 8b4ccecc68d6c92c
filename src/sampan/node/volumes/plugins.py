"""Which plug-in serves a volume, and what it prepares. A new type of volume is one more row of a table here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from sampan.api.storage.volumes import source_of
from sampan.api.types import Obj
from sampan.node.env.sources import all_containers
from sampan.node.volumes import claims, localfile, localpath
from sampan.node.volumes.configmap import ConfigMapPlugin
from sampan.node.volumes.downwardapi import DownwardApiPlugin
from sampan.node.volumes.emptydir import EmptyDirPlugin
from sampan.node.volumes.errors import SetupError, VolumeError, setup_failed
from sampan.node.volumes.hostpath import HostPathPlugin
from sampan.node.volumes.local import LocalPlugin
from sampan.node.volumes.nfs import NfsPlugin
from sampan.node.volumes.plugin import AnyPlugin, Context, Prepared
from sampan.node.volumes.projected import ProjectedPlugin
from sampan.node.volumes.refusals import refusal
from sampan.node.volumes.secret import SecretPlugin
from sampan.records import dataclass

#: by the field of a pod's volume, or of a PersistentVolume's spec
Plugins = Mapping[str, AnyPlugin]

BUILT_IN: Plugins = {
    "emptyDir": EmptyDirPlugin(),
    "hostPath": HostPathPlugin(),
    "local": LocalPlugin(),
    localpath.SOURCE: localpath.LocalPathPlugin(),
    localfile.SOURCE: localfile.LocalFilePlugin(),
    "nfs": NfsPlugin(),
    "configMap": ConfigMapPlugin(),
    "secret": SecretPlugin(),
    "downwardAPI": DownwardApiPlugin(),
    "projected": ProjectedPlugin(),
}
#: volumes that stand for a PersistentVolume
_CLAIMS = frozenset({"persistentVolumeClaim", "ephemeral"})
_OPTIONS_STEP = "MountVolume.MountOptionSupport check"
#: types of PersistentVolumes only
_NOT_IN_PODS = frozenset({"local", localpath.SOURCE, localfile.SOURCE})


@dataclass(frozen=True, slots=True)
class Ready:
    """One volume of a pod, to be published."""

    name: str
    type: str
    plugin: AnyPlugin
    prepared: Prepared
    context: Context


def volume_type(volume: Obj) -> str:
    """The field that names the type; a volume without one is an emptyDir, as upstream defaults it."""
    return next((key for key in volume if key != "name"), "emptyDir")


async def prepare_volume(volume: Obj, context: Context, plugins: Plugins = BUILT_IN) -> Ready:
    """What the volume needs on this node; reads the API only. Raises VolumeError."""
    name, kind = volume["name"], volume_type(volume)
    try:
        if kind in _CLAIMS:
            found = await claims.resolve({kind: {}, **volume}, context)
            spec, read_only = found.spec, found.read_only
            context = replace(context, claim=found.claim, persistent_volume=found.volume)
            plugin = _plugin(source_of(spec), plugins)
            if spec.get("mountOptions") and not plugin.takes_mount_options:
                raise SetupError("Mount options are not supported for this volume type", _OPTIONS_STEP)
            prepared = await plugin.prepare(spec, context)
            prepared = replace(prepared, read_only=prepared.read_only or read_only)
            _check_mode(name, spec, prepared, context.pod)
        else:
            plugin = _plugin("" if kind in _NOT_IN_PODS else kind, plugins, kind)
            prepared = await plugin.prepare({kind: {}, **volume}, context)
    except (SetupError, ValueError) as error:
        raise setup_failed(name, error) from error
    return Ready(name, kind, plugin, prepared, context)


def _plugin(kind: str, plugins: Plugins, shown: str = "") -> AnyPlugin:
    """Raises SetupError."""
    if kind not in plugins:
        raise SetupError(refusal(shown or kind))
    return plugins[kind]


def _check_mode(name: str, spec: Obj, prepared: Prepared, pod: Obj) -> None:
    """Raises SetupError, in upstream's words where it has some."""
    mode = spec.get("volumeMode") or "Filesystem"
    if mode == "Block" and not prepared.block:
        raise SetupError(f'volumeMode Block is not supported by volumes of type "{source_of(spec)}"')
    wrong = "volumeMounts" if mode == "Block" else "volumeDevices"
    for container in all_containers(pod):
        if any(each["name"] == name for each in container.get(wrong) or ()):
            raise SetupError(f"volume {name} has volumeMode {mode}, but is specified in {wrong}")


__all__ = ["BUILT_IN", "Plugins", "Ready", "VolumeError", "prepare_volume", "volume_type"]
