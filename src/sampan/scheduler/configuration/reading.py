"""Reads a KubeSchedulerConfiguration (v1) into what the scheduler is made of. Pure but for ``load``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from sampan.api.durations import parse as parse_duration
from sampan.api.errors import BadRequest, FieldError, duplicate, invalid, required
from sampan.api.faults import fault
from sampan.api.schema import parse_yaml
from sampan.api.types import Obj
from sampan.records import dataclass
from sampan.scheduler.config import DEFAULT_SETS, ProfileConfig, SchedulerConfig
from sampan.scheduler.configuration import policy
from sampan.scheduler.configuration.arguments import read_arguments
from sampan.scheduler.configuration.extenders import read_extenders
from sampan.scheduler.configuration.fields import CONFIGURATION, POINTS, BadConfiguration, check, refuse
from sampan.scheduler.extending.settings import is_unchecked
from sampan.scheduler.pluginsets import PluginSet, PluginSets, Use, merge
from sampan.scheduler.podinfo import DEFAULT_SCHEDULER

API_VERSION, KIND = "kubescheduler.config.k8s.io/v1", "KubeSchedulerConfiguration"
#: of versions that are gone
_FORMER: Final = (
    "kubescheduler.config.k8s.io/v1alpha1", "kubescheduler.config.k8s.io/v1alpha2",
    "kubescheduler.config.k8s.io/v1beta1", "kubescheduler.config.k8s.io/v1beta2", "kubescheduler.config.k8s.io/v1beta3",
)  # fmt: skip
_MAX_BYTES: Final = 1024 * 1024
_REMOVED: Final = ("AzureDiskLimits", "CinderLimits", "EBSLimits", "GCEPDLimits")
#: fields that nothing here acts on, and why that is no loss
_WITHOUT_EFFECT: Final[Mapping[str, str]] = {
    "percentageOfNodesToScore": "all nodes are looked at, at once",
    "parallelism": "all nodes are looked at, at once",
    "enableProfiling": "there is no /debug/pprof",
    "enableContentionProfiling": "there is no /debug/pprof",
    "delayCacheUntilActive": "a scheduler that stands by keeps no cache",
}


@dataclass(frozen=True, slots=True)
class Loaded:
    """``leader_election`` and ``client_connection`` are for who starts the program; ``warnings`` name what was accepted
    and does not act."""

    scheduler: SchedulerConfig
    leader_election: Obj
    client_connection: Obj
    warnings: tuple[str, ...] = ()


def load(path: Path) -> Loaded:
    """Raises BadConfiguration."""
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise BadConfiguration(fault(error, "open")) from error
    return parse(content)


def parse(content: bytes) -> Loaded:
    """Raises BadConfiguration."""
    if len(content) > _MAX_BYTES:
        raise BadConfiguration(f"longer than {_MAX_BYTES} bytes")
    try:
        document, problems = parse_yaml(content)
    except BadRequest as error:
        raise BadConfiguration(" ".join(str(error).split())) from error
    if problems:
        raise BadConfiguration(f'strict decoding error: key "{problems[0]}" already set in map')
    if not isinstance(document, dict):
        raise BadConfiguration("not an object")
    version, kind = document.get("apiVersion"), document.get("kind")
    if (version, kind) == ("v1", "Policy"):
        config, warnings = policy.read(document)
        return Loaded(config, {}, {}, warnings)
    if version in _FORMER and kind == KIND:
        raise BadConfiguration(f'"{version}" was removed; write apiVersion: {API_VERSION}')
    if (version, kind) != (API_VERSION, KIND):
        raise BadConfiguration(
            f'no kind "{str(kind)[:60]}" is registered for version "{str(version)[:60]}"; '
            f"apiVersion and kind must be {API_VERSION} and {KIND}"
        )
    return _read(check(document, CONFIGURATION))


def _read(document: Obj) -> Loaded:
    faults: list[FieldError] = []
    percentages = [("percentageOfNodesToScore", document.get("percentageOfNodesToScore"))]
    if document.get("parallelism", 16) <= 0:
        problem = "should be an integer value greater than zero"
        faults.append(invalid("parallelism", document["parallelism"], problem))
    profiles = _profiles(document.get("profiles") or [{}], faults, percentages)
    for at, percentage in percentages:
        if percentage is not None and not 0 <= percentage <= 100:
            faults.append(invalid(at, percentage, "not in valid range [0-100]"))
    initial, longest = document.get("podInitialBackoffSeconds", 1), document.get("podMaxBackoffSeconds", 10)
    if initial <= 0:
        faults.append(invalid("podInitialBackoffSeconds", initial, "must be greater than 0"))
    if longest < initial:
        problem = "must be greater than or equal to PodInitialBackoffSeconds"
        faults.append(invalid("podMaxBackoffSeconds", longest, problem))
    election = _election(document.get("leaderElection") or {}, faults)
    extenders = read_extenders(document.get("extenders") or (), faults)
    refuse(faults)
    config = SchedulerConfig(
        tuple(profiles),
        initial_backoff_seconds=float(initial),
        max_backoff_seconds=float(longest),
        extenders=extenders,
    )
    warnings = [f"{name} has no effect: {why}" for name, why in _WITHOUT_EFFECT.items() if name in document]
    warnings += [f"{at} has no effect: all nodes are looked at, at once" for at, p in percentages[1:] if p is not None]
    warnings += [
        f"extenders[{index}]: whoever answers at {extender.url} is believed: with enableHTTPS and no CA in tlsConfig "
        "its certificate is not checked"
        for index, extender in enumerate(extenders)
        if is_unchecked(extender)
    ]
    connection = document.get("clientConnection") or {}
    warnings += [f"clientConnection.{name} has no effect" for name in connection if name != "kubeconfig"]
    return Loaded(config, election, connection, tuple(warnings))


def _election(given: Obj, faults: list[FieldError]) -> Obj:
    lock = given.get("resourceLock", "leases")
    if given.get("leaderElect", True) and lock != "leases":
        faults.append(invalid("leaderElection.resourceLock", lock, 'resourceLock value must be "leases"'))
    for name in ("leaseDuration", "renewDeadline", "retryPeriod"):
        if name in given:
            try:
                parse_duration(given[name])
            except ValueError as error:
                raise BadConfiguration(f"leaderElection.{name}: {error}") from error
    return given


def _profiles(
    listed: Sequence[Obj], faults: list[FieldError], percentages: list[tuple[str, Any]]
) -> list[ProfileConfig]:
    found: list[ProfileConfig] = []
    first: dict[str, int] = {}
    for index, profile in enumerate(listed):
        path = f"profiles[{index}]"
        # Only a profile that is alone has a name by default.
        name = profile.get("schedulerName", DEFAULT_SCHEDULER if len(listed) == 1 else "")
        if not name:
            faults.append(required(f"{path}.schedulerName"))
        percentages.append((f"{path}.percentageOfNodesToScore", profile.get("percentageOfNodesToScore")))
        _refuse_removed(profile, path, faults)
        if name and name in first:
            faults.append(duplicate(f"{path}.schedulerName", f"profiles[{first[name]}].schedulerName"))
        first[name] = index
        changes = read_arguments(profile.get("pluginConfig") or (), path, faults)
        found.append(ProfileConfig(name, plugins=_sets(profile.get("plugins") or {}), **changes))
    _same_order_of_the_queue(found, faults)
    return found


def _refuse_removed(profile: Obj, path: str, faults: list[FieldError]) -> None:
    problem = f'was invalid in version "v1" (KubeSchedulerConfiguration is version "{API_VERSION}")'
    for point, chosen in (profile.get("plugins") or {}).items():
        for index, plugin in enumerate(chosen.get("enabled") or ()):
            if plugin.get("name") in _REMOVED:
                faults.append(invalid(f"{path}.plugins.{point}.enabled[{index}]", plugin["name"], problem))
    for index, entry in enumerate(profile.get("pluginConfig") or ()):
        if entry.get("name") in _REMOVED:
            faults.append(invalid(f"{path}.pluginConfig[{index}]", entry["name"], problem))


def _sets(given: Obj) -> PluginSets:
    multi = merge(DEFAULT_SETS.multi_point, _set(given.get("multiPoint") or {}))
    points = {point: _set(given.get(point) or {}) for point in POINTS}
    return PluginSets(multi, {point: chosen for point, chosen in points.items() if chosen != PluginSet()})


def _set(given: Obj) -> PluginSet:
    return PluginSet(
        tuple(Use(plugin.get("name", ""), plugin.get("weight", 0)) for plugin in given.get("enabled") or ()),
        frozenset(plugin.get("name", "") for plugin in given.get("disabled") or ()),
    )


def _same_order_of_the_queue(profiles: Sequence[ProfileConfig], faults: list[FieldError]) -> None:
    def chosen(profile: ProfileConfig) -> PluginSet:
        return PluginSet() if profile.plugins is None else profile.plugins.point("queueSort")

    canon = chosen(profiles[0])
    if len(canon.enabled) > 1:
        problem = "only one queue sort plugin can be enabled"
        faults.append(invalid("profiles[0].plugins.queueSort.Enabled", len(canon.enabled), problem))
    for index, profile in enumerate(profiles[1:], 1):
        if chosen(profile) != canon:
            shown = [use.name for use in chosen(profile).enabled]
            faults.append(invalid(f"profiles[{index}].plugins.queueSort", shown, "must be the same for all profiles"))
