"""The flow schemas and priority levels that every cluster has as they are. Upstream: flowcontrol/internalbootstrap."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sampan.api.types import Obj

_EVERYTHING: Final[Obj] = {
    "resourceRules": [
        {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "clusterScope": True, "namespaces": ["*"]}
    ],
    "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
}


def _groups(*names: str) -> list[Obj]:
    return [{"kind": "Group", "group": {"name": name}} for name in names]


SCHEMAS: Final[Mapping[str, Obj]] = {
    "exempt": {
        "priorityLevelConfiguration": {"name": "exempt"},
        "matchingPrecedence": 1,
        "rules": [{"subjects": _groups("system:masters"), **_EVERYTHING}],
    },
    "catch-all": {
        "priorityLevelConfiguration": {"name": "catch-all"},
        "matchingPrecedence": 10000,
        "distinguisherMethod": {"type": "ByUser"},
        "rules": [{"subjects": _groups("system:unauthenticated", "system:authenticated"), **_EVERYTHING}],
    },
}
LEVELS: Final[Mapping[str, Obj]] = {
    "exempt": {"type": "Exempt"},  # its field ``exempt`` is the administrator's
    "catch-all": {
        "type": "Limited",
        "limited": {"nominalConcurrencyShares": 5, "lendablePercent": 0, "limitResponse": {"type": "Reject"}},
    },
}


def same(found: Any, wanted: Any) -> bool:
    """Equal, where nothing and empty are the same."""
    if isinstance(found, dict) and isinstance(wanted, dict):
        return all(same(found.get(key), wanted.get(key)) for key in {*found, *wanted})
    if isinstance(found, list) and isinstance(wanted, list) and len(found) == len(wanted):
        return all(same(left, right) for left, right in zip(found, wanted, strict=True))
    return bool(found == wanted) or (found in _NOTHING and wanted in _NOTHING)


_NOTHING: Final[tuple[Any, ...]] = (None, "", [], {})
