"""PriorityLevelConfiguration (flowcontrol.apiserver.k8s.io/v1)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sampan.api import errors
from sampan.api.groups import printing
from sampan.api.groups.flowcontrol import conditions, mandatory
from sampan.api.groups.strategy import drop_status
from sampan.api.kind import IDENTITY, Column, Kind
from sampan.api.types import Obj
from sampan.api.validation import common, go_values
from sampan.api.validation.common import Errors


def _default(obj: Obj) -> None:
    spec = obj.setdefault("spec", {})
    if (exempt := spec.get("exempt")) is not None:
        exempt.setdefault("nominalConcurrencyShares", 0)
        exempt.setdefault("lendablePercent", 0)
    if (limited := spec.get("limited")) is not None:
        if limited.get("nominalConcurrencyShares") is None:
            limited["nominalConcurrencyShares"] = 30
        limited.setdefault("lendablePercent", 0)
        queuing = (limited.get("limitResponse") or {}).get("queuing")
        if queuing is not None:
            for key, value in (("queues", 64), ("handSize", 8), ("queueLengthLimit", 50)):
                if not queuing.get(key):
                    queuing[key] = value


_MOST_QUEUES = 10_000_000
_HASH_BITS = 60


def _validate(obj: Obj) -> Errors:
    spec, name = obj.get("spec") or {}, obj["metadata"].get("name", "")
    kind, limited, exempt = spec.get("type") or "", spec.get("limited"), spec.get("exempt")
    found: Errors = []
    if (name == "exempt") != (kind == "Exempt"):
        text = "must be 'Exempt' if and only if `name` is 'exempt'"
        found.append(errors.invalid("spec.type", kind, text))
    if kind == "Exempt":
        if limited is not None:
            found.append(errors.forbidden("spec.limited", "must be nil if the type is not Limited"))
        found += _shares(exempt or {}, "spec.exempt")
    elif kind == "Limited":
        if exempt is not None:
            found.append(errors.forbidden("spec.exempt", "must be nil if the type is Limited"))
        if limited is None:
            found.append(errors.required("spec.limited", "must not be empty when type is Limited"))
        else:
            found += _limited(limited)
    else:
        found.append(errors.not_supported("spec.type", kind, ("Exempt", "Limited")))
    return found + _fixed(spec, name)


def _fixed(spec: Obj, name: str) -> Errors:
    wanted = mandatory.LEVELS.get(name)
    if wanted is None:
        return []
    except_for = " except the 'spec.exempt' field" if name == "exempt" else ""
    found = {key: value for key, value in spec.items() if not (except_for and key == "exempt")}
    if mandatory.same(found, wanted):
        return []
    text = f"spec of '{name}'{except_for} must equal the fixed value"
    return [errors.invalid("spec", go_values.struct(spec, _SPEC), text)]


def _shares(level: Obj, path: str) -> Errors:
    shares = level.get("nominalConcurrencyShares")
    found: Errors = []
    if shares is not None and shares < 0:
        found.append(errors.invalid(f"{path}.nominalConcurrencyShares", shares, "must be a non-negative integer"))
    return found + common.in_range(level.get("lendablePercent"), 0, 100, f"{path}.lendablePercent")


def _limited(limited: Obj) -> Errors:
    path = "spec.limited"
    shares = {"nominalConcurrencyShares": limited.get("nominalConcurrencyShares")}
    found = _shares(shares, path) + _response(limited.get("limitResponse") or {}, f"{path}.limitResponse")
    found += common.in_range(limited.get("lendablePercent"), 0, 100, f"{path}.lendablePercent")
    borrowed = limited.get("borrowingLimitPercent")
    if borrowed is not None and borrowed < 0:
        text = "if specified, must be a non-negative integer"
        found.append(errors.invalid(f"{path}.borrowingLimitPercent", borrowed, text))
    return found


def _response(response: Obj, path: str) -> Errors:
    kind, queuing = response.get("type") or "", response.get("queuing")
    if kind == "Reject":
        text = "must be nil if limited.limitResponse.type is not Limited"
        return [errors.forbidden(f"{path}.queuing", text)] if queuing is not None else []
    if kind != "Queue":
        return [errors.not_supported(f"{path}.type", kind, ("Queue", "Reject"))]
    if queuing is None:
        text = "must not be empty if limited.limitResponse.type is Limited"
        return [errors.required(f"{path}.queuing", text)]
    return _queuing(queuing, f"{path}.queuing")


def _queuing(queuing: Obj, path: str) -> Errors:
    found: Errors = []
    length, queues, hand = (queuing.get(key) or 0 for key in ("queueLengthLimit", "queues", "handSize"))
    if length <= 0:
        found.append(errors.invalid(f"{path}.queueLengthLimit", length, "must be positive"))
    if queues <= 0:
        found.append(errors.invalid(f"{path}.queues", queues, "must be positive"))
    elif queues > _MOST_QUEUES:
        found.append(errors.invalid(f"{path}.queues", queues, f"must not be greater than {_MOST_QUEUES}"))
    if text := _hand_fault(hand, queues):
        found.append(errors.invalid(f"{path}.handSize", hand, text))
    return found


def _hand_fault(hand: int, queues: int) -> str:
    """A hand is dealt from a hash, which has bits for so many cards only. "": it is one."""
    if hand <= 0:
        return "must be positive"
    if hand > queues:
        return f"should not be greater than queues ({queues})"
    if math.ceil(math.log2(queues) * hand) > _HASH_BITS:
        text = f"required entropy bits of deckSize {queues} and handSize {hand}"
        return f"{text} should not be greater than {_HASH_BITS}"
    return ""


_QUEUING: go_values.Layout = {
    "queues": ("Queues", 0, None), "handSize": ("HandSize", 0, None), "queueLengthLimit": ("QueueLengthLimit", 0, None),
}  # fmt: skip
_RESPONSE: go_values.Layout = {"type": ("Type", "", None), "queuing": ("Queuing", None, _QUEUING)}
_LIMITED: go_values.Layout = {
    "nominalConcurrencyShares": ("NominalConcurrencyShares", 0, None),
    "limitResponse": ("LimitResponse", {"Type": "", "Queuing": None}, _RESPONSE),
    "lendablePercent": ("LendablePercent", None, None),
    "borrowingLimitPercent": ("BorrowingLimitPercent", None, None),
}
_EXEMPT: go_values.Layout = {
    "nominalConcurrencyShares": ("NominalConcurrencyShares", None, None),
    "lendablePercent": ("LendablePercent", None, None),
}
#: as refusals show it
_SPEC: go_values.Layout = {
    "type": ("Type", "", None), "limited": ("Limited", None, _LIMITED), "exempt": ("Exempt", None, _EXEMPT),
}  # fmt: skip


def _row(obj: Obj, now: datetime) -> Sequence[Any]:
    spec = obj.get("spec") or {}
    limited = spec.get("limited") or {}
    queuing = (limited.get("limitResponse") or {}).get("queuing") or {}
    return (
        printing.name(obj),
        spec.get("type", ""),
        limited.get("nominalConcurrencyShares", printing.NONE),
        queuing.get("queues", printing.NONE),
        queuing.get("handSize", printing.NONE),
        queuing.get("queueLengthLimit", printing.NONE),
        printing.age(obj, now),
    )


KINDS = (
    Kind(
        group="flowcontrol.apiserver.k8s.io",
        version="v1",
        kind="PriorityLevelConfiguration",
        plural="prioritylevelconfigurations",
        singular="prioritylevelconfiguration",
        namespaced=False,
        schema="io.k8s.api.flowcontrol.v1.PriorityLevelConfiguration",
        status_metadata=IDENTITY,
        status=True,
        prepare_create=drop_status,
        generation=True,
        unconditional_update=False,
        default=_default,
        validate=_validate,
        validate_status=conditions.validate_status,
        columns=(
            printing.NAME,
            Column("Type"),
            Column("NominalConcurrencyShares"),
            Column("Queues"),
            Column("HandSize"),
            Column("QueueLengthLimit"),
            printing.AGE,
        ),
        row=_row,
    ),
)
