"""What extends a node that is a machine: plugins that register by a socket, and the volumes of theirs.

Made by ``sampan.node.agent``. A further type of plugin is one more handler here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sampan.api.clock import Clock, Random
from sampan.client.client import Client
from sampan.node.config import NodeConfig
from sampan.node.images.manager import ImageManager
from sampan.node.images.snapshots import ImageMounts
from sampan.node.plugins.paths import REGISTRY
from sampan.node.plugins.registry import Handler, PluginRegistry
from sampan.node.registration import NodeRegistration
from sampan.node.volumes.csi.growing import Recorder
from sampan.node.volumes.csi.node import CsiNode
from sampan.node.volumes.hostpath import HostPathPlugin
from sampan.node.volumes.image import ImageVolumePlugin
from sampan.node.volumes.plugin import AnyPlugin


class Extensions:
    def __init__(
        self,
        config: NodeConfig,
        client: Client,
        clock: Clock,
        random: Random,
        recorder: Recorder,
        registration: NodeRegistration,
        came: Callable[[], None],
        images: ImageManager,
        further: Mapping[str, Handler],
    ) -> None:
        """``came``: told when there is a driver that was not there; ``further``: handlers of other types of plugins."""
        root = config.root_dir
        self.csi = CsiNode(root, config.node_name, client, clock, random, recorder, registration, came)
        registration.volumes_in_use = self.csi.in_use.names
        handlers: Mapping[str, Handler] = {"CSIPlugin": self.csi.handler, **further}
        self.registry = PluginRegistry(root / REGISTRY, handlers)
        #: by the field of a pod's volume, or of a PersistentVolume's spec
        self.volumes: Mapping[str, AnyPlugin] = {
            "hostPath": HostPathPlugin(root),
            "csi": self.csi.plugin,
            "image": ImageVolumePlugin(root, images, ImageMounts(config.runtime_socket), recorder.event),
        }
