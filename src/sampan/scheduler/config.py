"""The scheduler's configuration, and the profiles made from it (the part of KubeSchedulerConfiguration served here).

Defaults are upstream's: the plugins of MultiPoint in their order, with their weights.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from typing import Any

from sampan.api.types import Obj
from sampan.client.client import Client
from sampan.records import dataclass
from sampan.scheduler.framework import FilterPlugin, ScorePlugin
from sampan.scheduler.plugins.defaultbinder import DefaultBinder
from sampan.scheduler.plugins.defaultpreemption import DefaultPreemption
from sampan.scheduler.plugins.dynamicresources import DynamicResources
from sampan.scheduler.plugins.imagelocality import ImageLocality
from sampan.scheduler.plugins.interpodaffinity import InterPodAffinity
from sampan.scheduler.plugins.nodeaffinity import NodeAffinity
from sampan.scheduler.plugins.nodename import NodeName
from sampan.scheduler.plugins.nodeports import NodePorts
from sampan.scheduler.plugins.noderesources import (
    NodeResourcesBalancedAllocation,
    NodeResourcesFit,
    ScoringStrategy,
)
from sampan.scheduler.plugins.nodeunschedulable import NodeUnschedulable
from sampan.scheduler.plugins.podtopologyspread import PodTopologySpread
from sampan.scheduler.plugins.queueing import PrioritySort, SchedulingGates
from sampan.scheduler.plugins.tainttoleration import TaintToleration
from sampan.scheduler.plugins.volumebinding import VolumeBinding
from sampan.scheduler.plugins.volumelimits import NodeVolumeLimits
from sampan.scheduler.plugins.volumerestrictions import VolumeRestrictions
from sampan.scheduler.plugins.volumezone import VolumeZone
from sampan.scheduler.podinfo import DEFAULT_SCHEDULER
from sampan.scheduler.profile import Profile
from sampan.scheduler.records import KEPT_BYTES

PluginFactory = Callable[[Client, "ProfileConfig"], Any]

#: In the order in which they run.
DEFAULT_PLUGINS: dict[str, PluginFactory] = {
    "SchedulingGates": lambda client, config: SchedulingGates(),
    "PrioritySort": lambda client, config: PrioritySort(),
    "NodeUnschedulable": lambda client, config: NodeUnschedulable(),
    "NodeName": lambda client, config: NodeName(),
    "TaintToleration": lambda client, config: TaintToleration(),
    "NodeAffinity": lambda client, config: NodeAffinity(config.added_affinity),
    "NodePorts": lambda client, config: NodePorts(),
    "NodeResourcesFit": lambda client, config: NodeResourcesFit(config.fit_strategy, config.ignored_resources),
    "VolumeRestrictions": lambda client, config: VolumeRestrictions(),
    "NodeVolumeLimits": lambda client, config: NodeVolumeLimits(),
    "VolumeBinding": lambda client, config: VolumeBinding(client),
    "VolumeZone": lambda client, config: VolumeZone(),
    "DynamicResources": lambda client, config: DynamicResources(client),
    "PodTopologySpread": lambda client, config: PodTopologySpread(system_defaults=config.default_spreading),
    "InterPodAffinity": lambda client, config: InterPodAffinity(),
    "DefaultPreemption": lambda client, config: DefaultPreemption(),
    "NodeResourcesBalancedAllocation": lambda client, config: NodeResourcesBalancedAllocation(),
    "ImageLocality": lambda client, config: ImageLocality(),
    "DefaultBinder": lambda client, config: DefaultBinder(client),
}
DEFAULT_WEIGHTS: Mapping[str, int] = {
    "TaintToleration": 3,
    "NodeAffinity": 2,
    "PodTopologySpread": 2,
    "InterPodAffinity": 2,
}


@dataclass(frozen=True, slots=True)
class ProfileConfig:
    """``extra`` plugins run after the default ones; one with the name of a default plugin replaces it."""

    scheduler_name: str = DEFAULT_SCHEDULER
    disabled: frozenset[str] = frozenset()
    weights: Mapping[str, int] = field(default_factory=dict)
    extra: Mapping[str, PluginFactory] = field(default_factory=dict)
    added_affinity: Obj | None = None
    fit_strategy: ScoringStrategy | None = None
    ignored_resources: Sequence[str] = ()
    #: spread pods without constraints over hosts and zones (``defaultingType: System``)
    default_spreading: bool = True


@dataclass(frozen=True, slots=True)
class SchedulerConfig:
    profiles: Sequence[ProfileConfig] = (ProfileConfig(),)
    initial_backoff_seconds: float = 1.0
    max_backoff_seconds: float = 10.0
    #: bindings in flight; beyond that, decisions wait
    max_bindings: int = 256
    #: how long a pod waits for its permits (upstream's longest, 15 minutes)
    permit_seconds: float = 900.0
    #: what the records of attempts may take
    attempts_kept_bytes: int = KEPT_BYTES


def build_profile(config: ProfileConfig, client: Client) -> Profile:
    factories = {**DEFAULT_PLUGINS, **config.extra}
    plugins = [build(client, config) for name, build in factories.items() if name not in config.disabled]
    weights = {**DEFAULT_WEIGHTS, **config.weights}
    return Profile(
        config.scheduler_name,
        [plugin for plugin in plugins if isinstance(plugin, FilterPlugin)],
        [(plugin, weights.get(plugin.name, 1)) for plugin in plugins if isinstance(plugin, ScorePlugin)],
        plugins,
        next((plugin for plugin in plugins if hasattr(plugin, "post_filter")), None),
    )
