"""What a KubeletConfiguration changes in a node's settings, which of it is not acted on, and the way back. Pure.

Limits and words of refusals are the kubelet's (``apis/config/validation``). As there, a map of thresholds that is given
replaces the defaults, unless ``mergeDefaultEvictionSettings`` says otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from sampan.api import names, quantity
from sampan.api.types import Obj
from sampan.node.config import NodeConfig, ShutdownGrace
from sampan.node.cpumanager import options as cpu_options
from sampan.node.durations import show_duration
from sampan.node.images.verification import Verification
from sampan.node.kubeletconfig.reading import API_VERSION, KIND, BadKubeletConfig, duration
from sampan.node.memorymanager import reserved as reserved_memory
from sampan.node.pods.swap import BEHAVIOURS
from sampan.node.processors import parse as parse_cpus
from sampan.node.sysctls import verify_sysctl_patterns
from sampan.node.thresholds import DEFAULT_HARD, Amount, Threshold, parse_thresholds
from sampan.node.topology import policies as topology_policies

_RESERVABLE = ("cpu", "memory", "ephemeral-storage", "pid")
_ENFORCEABLE = ("pods", "none", "")

#: fields that fill one setting as they are
_PLAIN: Mapping[str, str] = {
    "maxPods": "max_pods",
    "podPidsLimit": "pod_pids_limit",
    "evictionPressureTransitionPeriod": "eviction_pressure_transition_seconds",
    "evictionMaxPodGracePeriod": "eviction_max_pod_grace_seconds",
    "localStorageCapacityIsolation": "local_storage_isolation",
    "imageMinimumGCAge": "image_minimum_age_seconds",
    "imageMaximumGCAge": "image_maximum_age_seconds",
    "imageGCHighThresholdPercent": "image_gc_high_percent",
    "imageGCLowThresholdPercent": "image_gc_low_percent",
    "containerLogMaxFiles": "container_log_max_files",
    "containerLogMonitorInterval": "container_log_period_seconds",
    "nodeStatusReportFrequency": "status_report_seconds",
    "nodeStatusMaxImages": "status_max_images",
    "nodeLeaseDurationSeconds": "lease_duration_seconds",
    "serializeImagePulls": "serialize_image_pulls",
    "maxParallelImagePulls": "max_parallel_image_pulls",
    "registryPullQPS": "registry_pull_qps",
    "registryBurst": "registry_burst",
    "imagePullCredentialsVerificationPolicy": "image_pull_verification",
    "clusterDomain": "cluster_domain",
    "registerNode": "register_node",
    "shutdownGracePeriod": "shutdown_grace_seconds",
    "shutdownGracePeriodCriticalPods": "shutdown_critical_seconds",
    "cpuManagerReconcilePeriod": "cpu_manager_reconcile_seconds",
    "kubeReserved": "kube_reserved",
    "systemReserved": "system_reserved",
}
#: fields that are read by hand below
_READ = (
    "evictionHard", "evictionSoft", "evictionSoftGracePeriod", "evictionMinimumReclaim",
    "mergeDefaultEvictionSettings", "enforceNodeAllocatable", "containerLogMaxSize", "allowedUnsafeSysctls",
    "clusterDNS", "resolvConf", "crashLoopBackOff", "registerWithTaints", "shutdownGracePeriodByPodPriority",
    "cpuManagerPolicy", "cpuManagerPolicyOptions", "reservedSystemCPUs", "memorySwap", "staticPodPath",
    "preloadedImagesVerificationAllowlist", "topologyManagerPolicy", "topologyManagerScope",
    "topologyManagerPolicyOptions", "memoryManagerPolicy",
)  # fmt: skip
#: gates that something here asks for
_HEALTH_GATE = "CSIVolumeHealth"
_GATES = (cpu_options.ALPHA_GATE, _HEALTH_GATE)
#: what is so here anyhow: asking for it asks for nothing
_HOLDS: Mapping[str, Any] = {
    "enableServer": True, "readOnlyPort": 0, "cgroupsPerQOS": True, "cgroupDriver": "cgroupfs",
    "failSwapOn": False, "runOnce": False, "seccompDefault": False,
    "protectKernelDefaults": False, "enableControllerAttachDetach": True, "cpuCFSQuota": True,
    "cpuCFSQuotaPeriod": 0.1, "kernelMemcgNotification": False, "failCgroupV1": False, "volumePluginDir": "",
    "enableDebuggingHandlers": True, "configMapAndSecretChangeDetectionStrategy": "Watch",
    "rotateCertificates": True, "serverTLSBootstrap": True, "nodeStatusUpdateFrequency": 10.0, "podsPerCore": 0,
}  # fmt: skip


def not_acted_on(document: Obj) -> list[str]:
    """Fields that the node takes no notice of, though they ask for something."""
    found = [
        name
        for name, value in document.items()
        if name not in _PLAIN
        and name not in (*_READ, "featureGates")
        and not (name == "reservedMemory" and document.get("memoryManagerPolicy") == "Static")
        and not (name in _HOLDS and _HOLDS[name] == value)
    ]
    return found + [f"featureGates.{name}" for name in document.get("featureGates") or {} if name not in _GATES]


def check(document: Obj) -> None:
    """Raises BadKubeletConfig: no node could be given this."""
    apply(NodeConfig(node_name="", addresses=()), document)


def apply(config: NodeConfig, document: Obj) -> NodeConfig:
    """Raises BadKubeletConfig, with the first of what is wrong."""
    changes: dict[str, Any] = {_PLAIN[name]: value for name, value in document.items() if name in _PLAIN}
    for read in (
        _thresholds,
        _enforcement,
        _log_size,
        _sysctls,
        _network,
        _restarts,
        _taints,
        _shutdown,
        _static_pods,
        _processors,
        _topology,
        _memory,
        _swap,
        _images,
    ):
        changes |= read(config, document)
    changes["volume_health"] = _has(document, _HEALTH_GATE)
    if "nodeLeaseDurationSeconds" in document:
        changes["lease_renew_seconds"] = document["nodeLeaseDurationSeconds"] / 4
    made = replace(config, **changes)
    for name, value in document.items():
        _check_range(name, value)
    for name in ("kubeReserved", "systemReserved"):
        _check_reserved(name, document.get(name) or {})
    if made.image_gc_low_percent >= made.image_gc_high_percent:
        raise _invalid(
            f"imageGCLowThresholdPercent {made.image_gc_low_percent} must be less than "
            f"imageGCHighThresholdPercent {made.image_gc_high_percent}"
        )
    if 0 < made.image_maximum_age_seconds <= made.image_minimum_age_seconds:
        raise _invalid(
            f"imageMaximumGCAge {show_duration(made.image_maximum_age_seconds)} must be greater than "
            f"imageMinimumGCAge {show_duration(made.image_minimum_age_seconds)}"
        )
    _check_shutdown(made)
    return made


# Parts of the document.


def _thresholds(config: NodeConfig, document: Obj) -> dict[str, Any]:
    enforced = "pods" in document.get("enforceNodeAllocatable", ("pods",))
    hard: Mapping[str, str] = document.get("evictionHard", DEFAULT_HARD)
    if document.get("mergeDefaultEvictionSettings"):
        hard = {**DEFAULT_HARD, **hard}
    try:
        found = parse_thresholds(
            hard,
            document.get("evictionSoft"),
            document.get("evictionSoftGracePeriod"),
            document.get("evictionMinimumReclaim"),
            enforce_allocatable=enforced,
        )
    except ValueError as error:
        raise _invalid(str(error)) from error
    return {"eviction_thresholds": found, "enforce_allocatable": enforced}


def _enforcement(config: NodeConfig, document: Obj) -> dict[str, Any]:
    listed = document.get("enforceNodeAllocatable", ["pods"])
    for name in listed:
        if name not in _ENFORCEABLE:
            raise _invalid(
                f'option "{name}" specified for enforceNodeAllocatable; this node enforces "pods", or "none"'
            )
    if "none" in listed and len(listed) > 1:
        raise _invalid('enforceNodeAllocatable may not contain additional enforcements when "none" is specified')
    return {}


def _log_size(config: NodeConfig, document: Obj) -> dict[str, Any]:
    if "containerLogMaxSize" not in document:
        return {}
    text = document["containerLogMaxSize"]
    try:
        size = quantity.value(text)
    except ValueError as error:
        raise _invalid(f'failed to parse container log max size "{text}": {error}') from error
    if size < 0:
        return {"container_log_max_bytes": 0}  # as upstream: logs grow as they like
    return {"container_log_max_bytes": size}


def _sysctls(config: NodeConfig, document: Obj) -> dict[str, Any]:
    patterns = tuple(document.get("allowedUnsafeSysctls", ()))
    try:
        verify_sysctl_patterns(patterns)
    except ValueError as error:
        raise _invalid(str(error)) from error
    return {"allowed_unsafe_sysctls": (*config.allowed_unsafe_sysctls, *patterns)}


def _network(config: NodeConfig, document: Obj) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if document.get("clusterDNS"):
        found["cluster_dns"] = tuple(document["clusterDNS"])
    if document.get("resolvConf"):
        found["resolv_conf"] = Path(document["resolvConf"])
    return found


def _restarts(config: NodeConfig, document: Obj) -> dict[str, Any]:
    wanted = document.get("crashLoopBackOff") or {}
    _known(wanted, ("maxContainerRestartPeriod",), "crashLoopBackOff")
    if wanted.get("maxContainerRestartPeriod") is None:
        return {}
    seconds = duration("crashLoopBackOff.maxContainerRestartPeriod", wanted["maxContainerRestartPeriod"])
    if not 1 <= seconds <= 300:
        raise _invalid(
            f"CrashLoopBackOff.MaxContainerRestartPeriod (got: {seconds:g} seconds) must be set between 1s and 300s"
        )
    return {"max_container_backoff_seconds": seconds}


def _taints(config: NodeConfig, document: Obj) -> dict[str, Any]:
    taints = document.get("registerWithTaints", [])
    for taint in taints:
        _known(taint, ("key", "value", "effect"), "registerWithTaints")
        if not taint.get("key") or taint.get("effect") not in ("NoSchedule", "PreferNoSchedule", "NoExecute"):
            raise _invalid("registerWithTaints: a taint has a key and an effect")
        if not all(isinstance(value, str) for value in taint.values()):
            raise _invalid("registerWithTaints: key, value and effect are texts")
        # The API server would refuse the whole Node, again and again.
        if wrong := [*names.qualified_name(taint["key"]), *names.label_value(taint.get("value", ""))]:
            raise _invalid(f"registerWithTaints: {taint['key']}={taint.get('value', '')}: {wrong[0]}")
    return {"taints": (*config.taints, *taints)}


def _shutdown(config: NodeConfig, document: Obj) -> dict[str, Any]:
    rules = []
    for rule in document.get("shutdownGracePeriodByPodPriority", ()):
        _known(rule, ("priority", "shutdownGracePeriodSeconds"), "shutdownGracePeriodByPodPriority")
        priority, seconds = rule.get("priority", 0), rule.get("shutdownGracePeriodSeconds", 0)
        if type(priority) is not int or type(seconds) is not int or seconds < 0:
            raise _invalid("shutdownGracePeriodByPodPriority: priority and seconds are whole numbers")
        rules.append(ShutdownGrace(priority, seconds))
    return {"shutdown_by_priority": tuple(rules)}


def _static_pods(config: NodeConfig, document: Obj) -> dict[str, Any]:
    return {"static_pod_dir": Path(document["staticPodPath"])} if document.get("staticPodPath") else {}


def _processors(config: NodeConfig, document: Obj) -> dict[str, Any]:
    """Processors that are named are what is reserved, whatever else says how many."""
    policy, named = document.get("cpuManagerPolicy") or "none", document.get("reservedSystemCPUs", "")
    if policy not in ("none", "static"):
        raise _invalid(f'unknown policy: "{policy}"')
    try:
        reserved = parse_cpus(named)
    except ValueError as error:
        raise _invalid(f'unable to parse reservedSystemCPUs "{named[:60]}"') from error
    options = document.get("cpuManagerPolicyOptions") or {}
    if policy == "static":
        try:
            cpu_options.read(options, alpha=_has(document, cpu_options.ALPHA_GATE))
        except ValueError as error:
            raise _invalid(str(error)) from error
    changes: dict[str, Any] = {
        "cpu_manager_policy": policy, "reserved_cpus": named, "cpu_manager_options": options,
        "cpu_manager_alpha_options": _has(document, cpu_options.ALPHA_GATE),
    }  # fmt: skip
    kube, system = document.get("kubeReserved") or {}, document.get("systemReserved") or {}
    if reserved:
        changes["kube_reserved"] = {name: text for name, text in kube.items() if name != "cpu"}
        changes["system_reserved"] = {**system, "cpu": str(len(reserved))}
    elif policy == "static" and not (kube.get("cpu") or system.get("cpu")):
        raise _invalid("the static policy requires systemreserved.cpu + kubereserved.cpu to be greater than zero")
    return changes


def _has(document: Obj, gate: str) -> bool:
    return bool((document.get("featureGates") or {}).get(gate))


def _topology(config: NodeConfig, document: Obj) -> dict[str, Any]:
    policy, scope = document.get("topologyManagerPolicy") or "none", document.get("topologyManagerScope") or "container"
    options = document.get("topologyManagerPolicyOptions") or {}
    try:
        topology_policies.read(policy, scope, options)
    except ValueError as error:
        raise _invalid(str(error)) from error
    return {"topology_policy": policy, "topology_scope": scope, "topology_options": options}


def _memory(config: NodeConfig, document: Obj) -> dict[str, Any]:
    policy, reserved = document.get("memoryManagerPolicy") or "None", tuple(document.get("reservedMemory") or ())
    if policy not in ("None", "Static"):
        raise _invalid(f'unknown policy: "{policy}"')
    try:
        reserved_memory.read(reserved)
    except ValueError as error:
        raise _invalid(str(error)) from error
    return {"memory_manager_policy": policy, "reserved_memory": reserved}


def _swap(config: NodeConfig, document: Obj) -> dict[str, Any]:
    given = document.get("memorySwap") or {}
    _known(given, ("swapBehavior",), "memorySwap")
    behaviour = given.get("swapBehavior", "")
    if behaviour not in BEHAVIOURS:
        raise _invalid('memorySwap.swapBehavior must be one of: "", "LimitedSwap" or "NoSwap"')
    return {"swap_behaviour": behaviour}


def _images(config: NodeConfig, document: Obj) -> dict[str, Any]:
    policy = document.get("imagePullCredentialsVerificationPolicy", config.image_pull_verification)
    listed = tuple(document.get("preloadedImagesVerificationAllowlist", config.preloaded_images_allowlist))
    try:
        Verification(policy, listed).check()
    except ValueError as error:
        raise _invalid(str(error)) from error
    return {"preloaded_images_allowlist": listed}


# Checks.

_RANGES: Mapping[str, tuple[float, float, str]] = {
    "imageGCHighThresholdPercent": (0, 100, "must be between 0 and 100, inclusive"),
    "imageGCLowThresholdPercent": (0, 100, "must be between 0 and 100, inclusive"),
    "maxPods": (0, 1 << 31, "must not be a negative number"),
    "nodeStatusMaxImages": (-1, 1 << 31, "must be -1 or greater"),
    "nodeLeaseDurationSeconds": (1, 1 << 31, "must be greater than 0"),
    "imageMinimumGCAge": (0, float("inf"), "must not be negative"),
    "imageMaximumGCAge": (0, float("inf"), "must not be negative"),
    "containerLogMaxFiles": (2, 1 << 31, "must be greater than 1"),
    "containerLogMonitorInterval": (3, float("inf"), "must be a positive time duration greater than or equal to 3s"),
    "maxParallelImagePulls": (1, 1 << 31, "must be a positive number"),
    "registryPullQPS": (0, 1 << 31, "must not be a negative number"),
    "registryBurst": (0, 1 << 31, "must not be a negative number"),
    "podPidsLimit": (-1, 1 << 62, "must be -1 or greater"),
    "evictionPressureTransitionPeriod": (0, float("inf"), "must not be negative"),
    "nodeStatusReportFrequency": (1, float("inf"), "must be at least 1s"),
}


def _check_range(name: str, value: Any) -> None:
    if name in _RANGES:
        low, high, words = _RANGES[name]
        if not low <= value <= high:
            shown = show_duration(value) if isinstance(value, float) else value
            raise _invalid(f"{name} {shown} {words}")


def _check_reserved(field: str, listed: Mapping[str, str]) -> None:
    for name, text in listed.items():
        if name not in _RESERVABLE:
            raise _invalid(f'{field}: cannot reserve "{name}" resource')
        try:
            amount = quantity.parse(text)
        except ValueError as error:
            raise _invalid(f'{field}: failed to parse quantity "{text}" for "{name}" resource: {error}') from error
        if amount < 0:
            raise _invalid(f'{field}: resource quantity for "{name}" cannot be negative: {text}')


def _check_shutdown(made: NodeConfig) -> None:
    whole, critical = made.shutdown_grace_seconds, made.shutdown_critical_seconds
    if critical > whole:
        raise _invalid(
            f"shutdownGracePeriodCriticalPods {show_duration(critical)} must be <= "
            f"shutdownGracePeriod {show_duration(whole)}"
        )
    for name, seconds in (("shutdownGracePeriod", whole), ("shutdownGracePeriodCriticalPods", critical)):
        if seconds < 0 or 0 < seconds < 1:
            raise _invalid(f"{name} {show_duration(seconds)} must be either zero or otherwise >= 1 sec")
    if made.shutdown_by_priority and (whole > 0 or critical > 0):
        raise _invalid("Cannot specify both shutdownGracePeriodByPodPriority and shutdownGracePeriod at the same time")


def _known(found: Mapping[str, Any], names: Iterable[str], where: str) -> None:
    for name in found:
        if name not in names:
            raise BadKubeletConfig(f'strict decoding error: unknown field "{where}.{name}"')


def _invalid(words: str) -> BadKubeletConfig:
    return BadKubeletConfig(f"invalid configuration: {words}")


# The way back.


def render(config: NodeConfig) -> Obj:
    """What the node runs with, as a KubeletConfiguration: the answer of ``/configz``."""
    shown: Obj = {"kind": KIND, "apiVersion": API_VERSION, "port": config.node_api_port}
    for field, setting in _PLAIN.items():
        value = getattr(config, setting)
        shown[field] = show_duration(value) if isinstance(value, float) else _plain(value)
    graces = [each for each in config.eviction_thresholds if not each.is_hard]
    reclaims = [each for each in config.eviction_thresholds if each.minimum_reclaim is not None]
    return shown | {
        "evictionHard": _statements(config, lambda each: each.is_hard),
        "evictionSoft": _statements(config, lambda each: not each.is_hard),
        "evictionSoftGracePeriod": {each.signal: show_duration(each.grace_seconds) for each in graces},
        "evictionMinimumReclaim": {
            each.signal: _amount(each.minimum_reclaim or Amount(0))
            for each in reclaims
            if each.signal != "allocatableMemory.available"
        },
        "enforceNodeAllocatable": ["pods"] if config.enforce_allocatable else ["none"],
        "containerLogMaxSize": quantity.format_quantity(config.container_log_max_bytes, "BinarySI"),
        "preloadedImagesVerificationAllowlist": list(config.preloaded_images_allowlist),
        "allowedUnsafeSysctls": list(config.allowed_unsafe_sysctls),
        "clusterDNS": list(config.cluster_dns),
        "resolvConf": str(config.resolv_conf),
        "crashLoopBackOff": {"maxContainerRestartPeriod": show_duration(config.max_container_backoff_seconds)},
        "registerWithTaints": [dict(taint) for taint in config.taints],
        "shutdownGracePeriodByPodPriority": [
            {"priority": rule.priority, "shutdownGracePeriodSeconds": rule.seconds}
            for rule in config.shutdown_by_priority
        ],
        "cgroupRoot": config.cgroup_root,
        "podLogsDir": str(config.log_dir),
        "containerRuntimeEndpoint": f"unix://{config.runtime_socket}",
        "cpuManagerPolicy": config.cpu_manager_policy,
        **({"cpuManagerPolicyOptions": dict(config.cpu_manager_options)} if config.cpu_manager_options else {}),
        "reservedSystemCPUs": config.reserved_cpus,
        "memoryManagerPolicy": config.memory_manager_policy,
        **({"reservedMemory": [dict(each) for each in config.reserved_memory]} if config.reserved_memory else {}),
        "topologyManagerPolicy": config.topology_policy,
        "topologyManagerScope": config.topology_scope,
        **({"topologyManagerPolicyOptions": dict(config.topology_options)} if config.topology_options else {}),
        "memorySwap": {"swapBehavior": config.swap_behaviour} if config.swap_behaviour else {},
        **({} if config.static_pod_dir is None else {"staticPodPath": str(config.static_pod_dir)}),
        **{name: value for name, value in _HOLDS.items() if isinstance(value, bool | str) and value != ""},
    }


def _statements(config: NodeConfig, wanted: Callable[[Threshold], bool]) -> dict[str, str]:
    return {
        each.signal: _amount(each.value)
        for each in config.eviction_thresholds
        if wanted(each) and each.signal != "allocatableMemory.available"
    }


def _amount(amount: Amount) -> str:
    if amount.units is None:
        return f"{amount.fraction * 100:.6g}%"
    return quantity.format_quantity(amount.units, "BinarySI")


def _plain(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else value
