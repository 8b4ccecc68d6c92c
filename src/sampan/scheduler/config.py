"""What the scheduler is made of, and the profiles made from it (``configuration`` reads it from a file).

Defaults are upstream's: the plugins of MultiPoint in their order, with their weights.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import field, replace
from typing import Any

from sampan.api.features import Features
from sampan.api.types import Obj
from sampan.client.client import Client
from sampan.records import dataclass
from sampan.scheduler.extending.settings import ExtenderConfig
from sampan.scheduler.framework import (
    BindPlugin,
    FilterPlugin,
    PermitPlugin,
    PostBindPlugin,
    PostFilterPlugin,
    PreBindPlugin,
    PreEnqueuePlugin,
    QueueSortPlugin,
    ReservePlugin,
    ScorePlugin,
    has_point,
)
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
from sampan.scheduler.pluginsets import PluginSet, PluginSets, Use, WrongPlugins, expand
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
    "NodeResourcesFit": lambda client, config: NodeResourcesFit(
        config.fit_strategy, config.ignored_resources, config.ignored_groups
    ),
    "VolumeRestrictions": lambda client, config: VolumeRestrictions(),
    "NodeVolumeLimits": lambda client, config: NodeVolumeLimits(),
    "VolumeBinding": lambda client, config: VolumeBinding(client, config.volume_bind_seconds),
    "VolumeZone": lambda client, config: VolumeZone(),
    "DynamicResources": lambda client, config: DynamicResources(client),
    "PodTopologySpread": lambda client, config: PodTopologySpread(
        system_defaults=config.default_spreading, defaults=config.default_constraints
    ),
    "InterPodAffinity": lambda client, config: InterPodAffinity(
        config.hard_affinity_weight, ignore_preferred_of_others=config.ignore_preferred_of_others
    ),
    "DefaultPreemption": lambda client, config: DefaultPreemption(config.min_candidate_percent, config.min_candidates),
    "NodeResourcesBalancedAllocation": lambda client, config: NodeResourcesBalancedAllocation(
        config.balanced_resources
    ),
    "ImageLocality": lambda client, config: ImageLocality(),
    "DefaultBinder": lambda client, config: DefaultBinder(client),
}
DEFAULT_WEIGHTS: Mapping[str, int] = {
    "TaintToleration": 3,
    "NodeAffinity": 2,
    "PodTopologySpread": 2,
    "InterPodAffinity": 2,
}
DEFAULT_SETS = PluginSets(PluginSet(tuple(Use(name, DEFAULT_WEIGHTS.get(name, 0)) for name in DEFAULT_PLUGINS)))


@dataclass(frozen=True, slots=True)
class ProfileConfig:
    """``plugins`` says which plug-ins run where; ``extra`` knows further ones by name. Those run after the default ones
    where ``plugins`` is None; one with the name of a default plug-in replaces it."""

    scheduler_name: str = DEFAULT_SCHEDULER
    plugins: PluginSets | None = None
    #: what plug-ins from elsewhere are told, by name
    arguments: Mapping[str, Obj] = field(default_factory=dict)
    disabled: frozenset[str] = frozenset()
    weights: Mapping[str, int] = field(default_factory=dict)
    extra: Mapping[str, PluginFactory] = field(default_factory=dict)
    #: names in ``extra`` that run though ``plugins`` does not name them
    run_too: tuple[str, ...] = ()
    added_affinity: Obj | None = None
    fit_strategy: ScoringStrategy | None = None
    ignored_resources: Sequence[str] = ()
    #: prefixes of names, before the slash
    ignored_groups: Sequence[str] = ()
    balanced_resources: Sequence[str] = ("cpu", "memory")
    #: spread pods without constraints over hosts and zones (``defaultingType: System``)
    default_spreading: bool = True
    #: else by these (``List``)
    default_constraints: Sequence[Obj] = ()
    hard_affinity_weight: int = 1
    ignore_preferred_of_others: bool = False
    min_candidate_percent: int = 10
    min_candidates: int = 100
    volume_bind_seconds: float = 600.0

    def sets(self) -> PluginSets:
        """``plugins``, or what the other fields say."""
        if self.plugins is None:
            known = {**DEFAULT_PLUGINS, **self.extra}
            weights = {**DEFAULT_WEIGHTS, **self.weights}
            uses = [Use(name, weights.get(name, 0)) for name in known if name not in self.disabled]
            return PluginSets(PluginSet(tuple(uses)))
        multi = self.plugins.multi_point
        named, off = self.plugins.named(), multi.disabled
        more = tuple(Use(name) for name in self.run_too if name not in named and name not in off)
        return replace(self.plugins, multi_point=PluginSet((*multi.enabled, *more), off))


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
    extenders: Sequence[ExtenderConfig] = ()
    #: whether pods that name a PodGroup are scheduled with it (gate GenericWorkload)
    groups: bool = False

    def with_gates(self, text: str) -> SchedulerConfig:
        """By feature gates as ``A=true,B=false``. Raises ValueError."""
        return replace(self, groups=Features.parse(text).enabled("GenericWorkload"))


#: the protocols of extension points, by their names; a point without one goes with another
POINTS: Mapping[str, Any] = {
    "preEnqueue": PreEnqueuePlugin,
    "queueSort": QueueSortPlugin,
    "filter": FilterPlugin,
    "postFilter": PostFilterPlugin,
    "score": ScorePlugin,
    "reserve": ReservePlugin,
    "permit": PermitPlugin,
    "preBind": PreBindPlugin,
    "bind": BindPlugin,
    "postBind": PostBindPlugin,
}


def build_profile(config: ProfileConfig, client: Client, known: Mapping[str, Any] | None = None) -> Profile:
    """``known``: plug-ins that are there already, by name; they are taken as they are. Raises WrongPlugins, and what
    a plug-in from elsewhere raises when it is made."""
    factories, sets = {**DEFAULT_PLUGINS, **config.extra}, config.sets()
    made: dict[str, Any] = {}
    for name in sets.named():
        if name not in factories:
            raise WrongPlugins(f'plugin "{name}" is not known: no entry point and no file brings it')
        made[name] = known[name] if known is not None and name in known else factories[name](client, config)
    points: dict[Any, tuple[Any, ...]] = {}
    for point, protocol in POINTS.items():
        having = {name for name, plugin in made.items() if has_point(plugin, protocol)}
        points[protocol] = tuple(made[name] for name in expand(sets, point, having.__contains__))
    if len(points[QueueSortPlugin]) != 1:
        raise WrongPlugins(
            f'only one queue sort plugin required for profile with scheduler name "{config.scheduler_name}", '
            f"but got {len(points[QueueSortPlugin])}"
        )
    if not points[BindPlugin]:
        raise WrongPlugins(
            f'at least one bind plugin is needed for profile with scheduler name "{config.scheduler_name}"'
        )
    return Profile(
        config.scheduler_name,
        points[FilterPlugin],
        [(plugin, sets.weight(plugin.name)) for plugin in points[ScorePlugin]],
        tuple(made.values()),
        next(iter(points[PostFilterPlugin]), None),
        from_outside=bool(made.keys() - DEFAULT_PLUGINS.keys())
        or any(name in DEFAULT_PLUGINS for name in config.extra),
        points=points,
    )
