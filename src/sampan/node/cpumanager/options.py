"""What the static policy is asked for besides (``cpuManagerPolicyOptions``): names,
stages, refusals of the kubelet's. Pure.

Those of stage alpha are refused, for their gate is off; ``LATER`` are known and not done here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from sampan.api.errors import quoted
from sampan.api.go_bool import parse_bool
from sampan.records import dataclass

FULL_CORES: Final = "full-pcpus-only"
STRICT_RESERVATION: Final = "strict-cpu-reservation"
LATER: Final = ("distribute-cpus-across-numa", "prefer-align-cpus-by-uncorecache")
_ALPHA: Final = ("align-by-socket", "distribute-cpus-across-cores")


@dataclass(frozen=True, slots=True)
class Options:
    """``full_cores``: a container gets all threads of its cores. ``strict_reservation``: nobody is on the reserved
    processors, neither alone nor with others."""

    full_cores: bool = False
    strict_reservation: bool = False


def read(given: Mapping[str, str]) -> Options:
    """Raises ValueError: what no kubelet takes."""
    found: dict[str, bool] = {}
    for name, value in given.items():
        if name in _ALPHA:
            raise ValueError(f"CPU Manager Policy Alpha-level Options not enabled, but option {quoted(name)} provided")
        if name not in (FULL_CORES, STRICT_RESERVATION, *LATER):
            raise ValueError(f"unknown CPU Manager Policy option: {quoted(name)}")
        try:
            found[name] = parse_bool(value)
        except ValueError as error:
            raise ValueError(f"bad value for option {quoted(name)}: {error}") from error
    return Options(found.get(FULL_CORES, False), found.get(STRICT_RESERVATION, False))


def not_done(given: Mapping[str, str]) -> list[str]:
    """Those that are asked for and that nothing acts on."""
    return [name for name in LATER if given.get(name, "false").lower() not in ("0", "f", "false")]
