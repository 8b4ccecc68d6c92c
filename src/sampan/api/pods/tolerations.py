"""Which taints a pod tolerates (core/v1 ``Toleration.ToleratesTaint``, KEP-5471). Pure; never raises."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from sampan.api.reading import part, parts, text
from sampan.api.types import Obj

#: Control planes are tainted under the name of today and that of before v1.24 (``cluster.initializing.marking``), where
#: upstream taints them under one: who tolerates the new name is meant to run there, and knows no other.
_ONE_TAINT = ("node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master")
_INTEGER = re.compile(r"0|-?[1-9][0-9]{0,18}", re.ASCII)


def of(pod: Obj) -> list[Obj]:
    return list(parts(part(pod, "spec"), "tolerations"))


def tolerates(toleration: Obj, taint: Obj) -> bool:
    """Whether one toleration covers one taint."""
    return covers(toleration, text(taint, "key"), text(taint, "value"), text(taint, "effect"))


def covers(toleration: Obj, key: str, value: str, effect: str) -> bool:
    """The same for a taint in pieces."""
    if toleration.get("effect") and toleration["effect"] != effect:
        return False
    if toleration.get("key") and toleration["key"] != key and (toleration["key"], key) != _ONE_TAINT:
        return False
    match toleration.get("operator") or "Equal":
        case "Exists":
            return True
        case "Equal":
            return text(toleration, "value") == value
        case "Lt":
            numbers = _int64(value), _int64(text(toleration, "value"))
            return numbers[0] is not None and numbers[1] is not None and numbers[0] < numbers[1]
        case "Gt":
            numbers = _int64(value), _int64(text(toleration, "value"))
            return numbers[0] is not None and numbers[1] is not None and numbers[0] > numbers[1]
        case _:
            return False


def any_covers(tolerations: Iterable[Obj], key: str, value: str, effect: str) -> bool:
    return any(covers(toleration, key, value, effect) for toleration in tolerations)


def first_untolerated(pod: Obj, taints: Iterable[Obj], effects: Sequence[str]) -> Obj | None:
    """The first taint of one of the effects that keeps the pod away (``FindMatchingUntoleratedTaint``)."""
    tolerations = of(pod)
    for taint in taints:
        if taint.get("effect") in effects and not any(tolerates(toleration, taint) for toleration in tolerations):
            return taint
    return None


def _int64(written: str) -> int | None:
    """A decimal integer in its canonical form, as validation asks for it."""
    number = int(written) if _INTEGER.fullmatch(written) else None
    return number if number is not None and -(2**63) <= number < 2**63 else None
