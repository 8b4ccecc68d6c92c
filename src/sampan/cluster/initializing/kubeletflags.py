"""``nodeRegistration.kubeletExtraArgs`` and ``.taints``, of ``init`` and ``join``: what they come to here. Pure.

The kubelet's flags of a configuration's fields become those fields: what is given so wins over a file with a
KubeletConfiguration, as a flag of the kubelet does. A few are options of ``sampan up``. What is left is told by name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import field
from typing import Any

import yaml

from sampan.api.types import Obj
from sampan.cluster.errors import ClusterError
from sampan.node.kubeletconfig import reading, settings
from sampan.node.kubeletconfig.fields import TYPES
from sampan.records import dataclass

#: in the state of an instance: the KubeletConfiguration that was made of what was given
FILE = "kubelet-config.yaml"
#: flags that options of ``up`` say
_OPTIONS = {
    "node-ip": "--node-address",
    "hostname-override": "--node-name",
    "allowed-unsafe-sysctls": "--allowed-unsafe-sysctls",
    "cloud-provider": "--cloud-provider",
    "node-labels": "--node-labels",
    "image-credential-provider-config": "--image-credential-provider-config",
    "image-credential-provider-bin-dir": "--image-credential-provider-bin-dir",
}
#: flags whose field has another name than their own words say (``eviction-hard`` is evictionHard)
_RENAMED = {
    "cluster-dns": "clusterDNS",
    "image-gc-high-threshold": "imageGCHighThresholdPercent",
    "image-gc-low-threshold": "imageGCLowThresholdPercent",
    "minimum-image-ttl-duration": "imageMinimumGCAge",
    "pod-manifest-path": "staticPodPath",
    "pod-max-pids": "podPidsLimit",
    "registry-qps": "registryPullQPS",
    "event-qps": "eventRecordQPS",
    "kube-api-qps": "kubeAPIQPS",
    "reserved-cpus": "reservedSystemCPUs",
    "cgroups-per-qos": "cgroupsPerQOS",
    "cpu-cfs-quota": "cpuCFSQuota",
    "cpu-cfs-quota-period": "cpuCFSQuotaPeriod",
    "make-iptables-util-chains": "makeIPTablesUtilChains",
    "rotate-server-certificates": "serverTLSBootstrap",
}
#: between the name of a signal and its threshold, and between a name and its value
_SIGNS = {"evictionHard": "<", "evictionSoft": "<"}
#: of the kubelet itself, and true of each node here anyhow
_SELF_EVIDENT = frozenset({"container-runtime", "container-runtime-endpoint", "rotate-certificates"})


@dataclass(frozen=True, slots=True)
class Registration:
    """``options``: of ``sampan up``. ``fields``: of a KubeletConfiguration. ``idle``: flags that nothing acts on."""

    options: Mapping[str, str] = field(default_factory=dict)
    fields: Mapping[str, Any] = field(default_factory=dict)
    idle: tuple[str, ...] = ()


def registration(
    args: Sequence[tuple[str, str]],
    taints: Sequence[Mapping[str, Any]] = (),
    document: Mapping[str, Any] | None = None,
) -> Registration:
    """``document``: the KubeletConfiguration that the fields go into. Raises ClusterError for what no node could be
    given."""
    options: dict[str, str] = {}
    fields: dict[str, Any] = {}
    idle = []
    for name, text in args:
        known = _field(name)
        if name in _SELF_EVIDENT:
            continue
        if name in _OPTIONS:
            options[_OPTIONS[name]] = text
        elif name == "register-with-taints":
            fields["registerWithTaints"] = [_taint(each) for each in _listed(text)]
        elif known:
            fields[known] = _value(name, known, text)
        else:
            idle.append(name)
    if taints:
        fields["registerWithTaints"] = [_without_time(each) for each in taints]
    if fields:
        try:
            settings.check(_parsed(merged(document or {}, fields)))
            idle += [_flag(name, args) for name in settings.not_acted_on(_parsed(merged({}, fields)))]
        except reading.BadKubeletConfig as error:
            raise ClusterError(
                f"nodeRegistration: {error}", fix="see kubeletExtraArgs and taints of the file of --config"
            ) from error
    return Registration(options, fields, tuple(idle))


def merged(document: Mapping[str, Any], fields: Mapping[str, Any]) -> dict[str, Any]:
    """A KubeletConfiguration with these fields, whatever it says of them itself."""
    return {"apiVersion": reading.API_VERSION, "kind": reading.KIND, **document, **fields}


def _parsed(document: Mapping[str, Any]) -> Obj:
    """Raises BadKubeletConfig."""
    return reading.parse(yaml.safe_dump(dict(document)).encode())


def _field(flag: str) -> str:
    """The configuration's field of a flag; "": it has none."""
    if flag in _RENAMED:
        return _RENAMED[flag]
    first, *rest = flag.split("-")
    name = first + "".join(word.capitalize() for word in rest)
    return name if name in TYPES else ""


def _flag(name: str, args: Iterable[tuple[str, str]]) -> str:
    """The flag of a field, or of one below it."""
    return next((flag for flag, _ in args if _field(flag) == name.partition(".")[0]), name)


def _value(flag: str, name: str, text: str) -> Any:
    read = _READERS.get(TYPES[name])
    if read is None:
        raise _wrong(flag, text, "it cannot be said by a flag: give the node a KubeletConfiguration")
    try:
        return read(text, _SIGNS.get(name, "="))
    except ValueError as error:
        raise _wrong(flag, text, str(error)) from None


def _wrong(flag: str, text: str, why: str) -> ClusterError:
    return ClusterError(f"kubeletExtraArgs: --{flag} {text!r} is not valid: {why}", fix="see the kubelet's flags")


def _switch(text: str, sign: str) -> bool:
    if text.lower() not in ("true", "false", "1", "0", "t", "f"):
        raise ValueError("write true or false")
    return text.lower() in ("true", "1", "t")


def _map(text: str, sign: str) -> dict[str, str]:
    found = {}
    for each in _listed(text):
        name, there, value = each.partition(sign)
        if not there:
            raise ValueError(f"write it like name{sign}value,name{sign}value")
        found[name.strip()] = value.strip()
    return found


def _switches(text: str, sign: str) -> dict[str, bool]:
    return {name: _switch(value, sign) for name, value in _map(text, sign).items()}


_READERS: Mapping[str, Callable[[str, str], Any]] = {
    "text": lambda text, _: text,
    "duration": lambda text, _: text,
    "number": lambda text, _: int(text),
    "fraction": lambda text, _: float(text),
    "switch": _switch,
    "texts": lambda text, _: _listed(text),
    "text map": _map,
    "switch map": _switches,
}


def _taint(text: str) -> dict[str, str]:
    """``key=value:Effect``, or ``key:Effect``. Raises ClusterError."""
    what, colon, effect = text.rpartition(":")
    key, _, value = what.partition("=")
    if not colon or not key:
        raise _wrong("register-with-taints", text, "write it like key=value:NoSchedule")
    return {"key": key, "value": value, "effect": effect} if value else {"key": key, "effect": effect}


def _without_time(taint: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in taint.items() if name != "timeAdded" and value is not None}


def _listed(text: str) -> list[str]:
    return [each.strip() for each in text.split(",") if each.strip()]
