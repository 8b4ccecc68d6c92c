"""The fields of the scheduler's configuration files and their types, and a strict check of a document against them.

Names and types are those of kubescheduler.config.k8s.io/v1, of its plug-ins' arguments, and of the old Policy. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from sampan.api.errors import FieldError


class BadConfiguration(ValueError):
    """What is wrong, in upstream's words where it has some; one fault a line."""


def refuse(faults: list[FieldError]) -> None:
    """Raises BadConfiguration, when there are any."""
    if not faults:
        return
    shown = [fault.message() for fault in faults]
    raise BadConfiguration(shown[0] if len(shown) == 1 else f"[{', '.join(shown)}]")


#: A type: a word of ``_CHECKS``, a mapping of fields, or a list of one type.
Type = Any

_PLUGIN: Final = {"name": "text", "weight": "whole"}
_PLUGIN_SET: Final = {"enabled": [_PLUGIN], "disabled": [_PLUGIN]}
#: in upstream's order; ``multiPoint`` stands for all of them
POINTS: Final = (
    "preEnqueue", "queueSort", "preFilter", "filter", "postFilter", "preScore", "score", "reserve", "permit", "preBind",
    "bind", "postBind",
)  # fmt: skip
#: v1.37 has these too, with gates that are off
LATER_POINTS: Final = ("placementGenerate", "placementScore", "podGroupPostFilter")
_PROFILE: Final = {
    "schedulerName": "text",
    "percentageOfNodesToScore": "whole",
    "plugins": dict.fromkeys((*POINTS, "multiPoint"), _PLUGIN_SET),
    "pluginConfig": [{"name": "text", "args": "object"}],
}
_TLS: Final = {
    "insecure": "truth", "serverName": "text", "certFile": "text", "keyFile": "text", "caFile": "text",
    "certData": "text", "keyData": "text", "caData": "text",
}  # fmt: skip
EXTENDER: Final = {
    "urlPrefix": "text", "filterVerb": "text", "preemptVerb": "text", "prioritizeVerb": "text", "weight": "whole",
    "bindVerb": "text", "enableHTTPS": "truth", "tlsConfig": _TLS, "httpTimeout": "text", "nodeCacheCapable": "truth",
    "managedResources": [{"name": "text", "ignoredByScheduler": "truth"}], "ignorable": "truth",
}  # fmt: skip
CONFIGURATION: Final = {
    "apiVersion": "text",
    "kind": "text",
    "parallelism": "whole",
    "leaderElection": {
        "leaderElect": "truth", "leaseDuration": "text", "renewDeadline": "text", "retryPeriod": "text",
        "resourceLock": "text", "resourceName": "text", "resourceNamespace": "text",
    },
    "clientConnection": {
        "kubeconfig": "text", "acceptContentTypes": "text", "contentType": "text", "qps": "number", "burst": "whole",
    },
    "enableProfiling": "truth",
    "enableContentionProfiling": "truth",
    "percentageOfNodesToScore": "whole",
    "podInitialBackoffSeconds": "whole",
    "podMaxBackoffSeconds": "whole",
    "profiles": [_PROFILE],
    "extenders": [EXTENDER],
    "delayCacheUntilActive": "truth",
}  # fmt: skip
_HEAD: Final = {"apiVersion": "text", "kind": "text"}
_RESOURCES: Final = [{"name": "text", "weight": "whole"}]
_SHAPE: Final = [{"utilization": "whole", "score": "whole"}]
_CONSTRAINT: Final = {
    "maxSkew": "whole", "topologyKey": "text", "whenUnsatisfiable": "text", "labelSelector": "object",
    "minDomains": "whole", "nodeAffinityPolicy": "text", "nodeTaintsPolicy": "text", "matchLabelKeys": ["text"],
}  # fmt: skip
#: of the plug-ins that take arguments
ARGUMENTS: Final[Mapping[str, Mapping[str, Type]]] = {
    "DefaultPreemption": {**_HEAD, "minCandidateNodesPercentage": "whole", "minCandidateNodesAbsolute": "whole"},
    "InterPodAffinity": {
        **_HEAD, "hardPodAffinityWeight": "whole", "ignorePreferredTermsOfExistingPods": "truth",
    },
    "NodeAffinity": {
        **_HEAD,
        "addedAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": "object",
            "preferredDuringSchedulingIgnoredDuringExecution": ["object"],
        },
    },
    "NodeResourcesBalancedAllocation": {**_HEAD, "resources": _RESOURCES},
    "NodeResourcesFit": {
        **_HEAD,
        "ignoredResources": ["text"],
        "ignoredResourceGroups": ["text"],
        "scoringStrategy": {"type": "text", "resources": _RESOURCES, "requestedToCapacityRatio": {"shape": _SHAPE}},
    },
    "PodTopologySpread": {**_HEAD, "defaultConstraints": [_CONSTRAINT], "defaultingType": "text"},
    "VolumeBinding": {**_HEAD, "bindTimeoutSeconds": "whole", "shape": _SHAPE},
    "DynamicResources": {**_HEAD, "filterTimeout": "text", "bindingTimeout": "text"},
}  # fmt: skip

_MOST: Final = 2**63


def _is_whole(value: Any) -> bool:
    return type(value) is int and abs(value) < _MOST


_CHECKS: Final[Mapping[str, tuple[Callable[[Any], bool], str]]] = {
    "text": (lambda value: isinstance(value, str), "a text"),
    "whole": (_is_whole, "a whole number"),
    "number": (lambda value: type(value) in (int, float), "a number"),
    "truth": (lambda value: isinstance(value, bool), "true or false"),
    "object": (lambda value: isinstance(value, dict), "an object"),
}


def check(value: Any, wanted: Type, path: str = "") -> Any:
    """The value without its nulls. Raises BadConfiguration, naming the field."""
    if isinstance(wanted, list):
        if not isinstance(value, list):
            raise BadConfiguration(f"{path} must be a list")
        return [check(item, wanted[0], f"{path}[{index}]") for index, item in enumerate(value) if item is not None]
    if isinstance(wanted, str):
        holds, words = _CHECKS[wanted]
        if not holds(value):
            raise BadConfiguration(f"{path} must be {words}")
        return value
    if not isinstance(value, dict):
        raise BadConfiguration(f"{path or 'the document'} must be an object")
    found: dict[str, Any] = {}
    for name, item in value.items():
        inner = f"{path}.{name}" if path else str(name)
        if name not in wanted:
            raise BadConfiguration(f'strict decoding error: unknown field "{inner[:200]}"')
        if item is not None:
            found[name] = check(item, wanted[name], inner)
    return found
