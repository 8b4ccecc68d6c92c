"""What simulated containers do: how long steps take, when containers end and how, what they use.

Read by ``SimulatedRuntime`` and made of the shapes of nodes (``sampan.node.shapes``) or by tests. A pod says by
annotations what its own containers do, so a manifest is a simulation whoever runs the cluster:

    simulation.sampan.io/run-seconds: "30"      the container ends by itself after so long ...
    simulation.sampan.io/exit-code: "1"         ... with this code
    simulation.sampan.io/failure-rate: "0.1"    and so many of the starts fail instead
    simulation.sampan.io/start-seconds: "2-5"   how long a start takes
    simulation.sampan.io/cpu: 250m              what each container uses
    simulation.sampan.io/memory: 64Mi

What cannot be read counts as absent: an annotation is nobody's mistake but its pod's. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from statistics import NormalDist
from typing import Final

from sampan.api import quantity
from sampan.api.clock import Random
from sampan.records import dataclass

PREFIX: Final = "simulation.sampan.io/"
#: no step and no life is longer: a year
MOST_SECONDS: Final = 366 * 86_400.0
#: a container that fails ends after so long at most
FAILS_WITHIN_SECONDS: Final = 1.0
_FAILURE: Final = 1
_TOP: Final = NormalDist().inv_cdf(0.99)
#: the least chance that a bell curve is asked about: farther out it has no end
_EDGE: Final = 1e-9


@dataclass(frozen=True, slots=True)
class Spread:
    """Seconds that differ from time to time: even between two bounds or, with ``middle``, log-normal within them: half
    of the times shorter than ``middle``, and one of a hundred longer than ``p99``."""

    low: float
    high: float
    middle: float = 0.0
    p99: float = 0.0

    def draw(self, random: Random) -> float:
        if not self.middle:
            return self.low + (self.high - self.low) * random.random()
        if self.p99 <= self.middle:
            return self.middle
        sigma = math.log(self.p99 / self.middle) / _TOP
        chance = min(max(random.random(), _EDGE), 1 - _EDGE)
        drawn = self.middle * math.exp(sigma * NormalDist().inv_cdf(chance))
        return min(max(drawn, self.low), self.high)


#: the same each time, or drawn
Seconds = float | Spread


def seconds_of(wanted: Seconds, random: Random) -> float:
    return wanted.draw(random) if isinstance(wanted, Spread) else wanted


@dataclass(slots=True, kw_only=True)
class SimulatedDelays:
    """Seconds each step takes."""

    run_sandbox: Seconds = 0.0
    create_container: Seconds = 0.0
    start_container: Seconds = 0.0
    pull_image: Seconds = 0.0
    #: added to every step: a machine that is too busy
    every_step: float = 0.0


@dataclass(slots=True)
class Behaviour:
    """What containers of one image do. ``run_seconds`` None: until stopped. ``ignores_term`` waits for the kill."""

    run_seconds: float | None = None
    exit_code: int = 0
    ignores_term: bool = False
    uid: int | None = None
    #: how many of the starts end in a failure soon after, from 0 to 1
    failure_rate: float = 0.0
    #: what a running container uses
    cpu_cores: float = 0.0
    memory_bytes: int = 0
    #: how long its start takes; None: as the runtime's ``delays`` have it
    start_seconds: Seconds | None = None


@dataclass(frozen=True, slots=True)
class Life:
    """One life of a container: when it ends by itself (None: never), and with which code."""

    seconds: float | None
    exit_code: int


def plan_life(behaviour: Behaviour, random: Random) -> Life:
    if behaviour.failure_rate and random.random() < behaviour.failure_rate:
        longest = FAILS_WITHIN_SECONDS if behaviour.run_seconds is None else behaviour.run_seconds
        return Life(min(longest, FAILS_WITHIN_SECONDS) * random.random(), behaviour.exit_code or _FAILURE)
    return Life(behaviour.run_seconds, behaviour.exit_code)


def annotated(behaviour: Behaviour, annotations: Mapping[str, str]) -> Behaviour:
    """``behaviour``, with what a pod says of its own containers."""
    if not any(name.startswith(PREFIX) for name in annotations):
        return behaviour
    said = {name.removeprefix(PREFIX): text for name, text in annotations.items() if name.startswith(PREFIX)}
    run = _spread(said.get("run-seconds", ""))
    start = _spread(said.get("start-seconds", ""))
    code, rate = said.get("exit-code", ""), _number(said.get("failure-rate", ""))
    cpu, memory = _amount(said.get("cpu", "")), _amount(said.get("memory", ""))
    return replace(
        behaviour,
        run_seconds=behaviour.run_seconds if run is None else run.low,
        start_seconds=behaviour.start_seconds if start is None else start,
        exit_code=int(code) if _is_exit_code(code) else behaviour.exit_code,
        failure_rate=behaviour.failure_rate if rate is None else min(rate, 1.0),
        cpu_cores=behaviour.cpu_cores if cpu is None else cpu,
        memory_bytes=behaviour.memory_bytes if memory is None else int(memory),
    )


def parse_spread(text: str) -> Spread:
    """``5`` or ``2-5``, in seconds. Raises ValueError."""
    low, _, high = text.partition("-")
    numbers = [float(low), float(high or low)]
    if not (all(map(math.isfinite, numbers)) and 0 <= numbers[0] <= numbers[1] <= MOST_SECONDS):
        raise ValueError("not a number of seconds, or two with a dash between them")
    return Spread(*numbers)


@lru_cache(256)
def _spread(text: str) -> Spread | None:
    try:
        return parse_spread(text)
    except ValueError:
        return None


def _is_exit_code(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 3 and int(text) <= 255


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) and number >= 0 else None


@lru_cache(256)
def _amount(text: str) -> float | None:
    try:
        amount = float(quantity.parse(text))
    except (ValueError, OverflowError):
        return None
    return amount if amount >= 0 else None
