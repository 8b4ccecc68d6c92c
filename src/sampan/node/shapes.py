"""The shapes of simulated nodes, read from one file (docs/testing.md shows it). Pure.

    nodes:
    - name: worker                    # worker-0, worker-1 ...
      count: 10
      labels: {topology.kubernetes.io/zone: a}
      taints: [{key: dedicated, value: batch, effect: NoSchedule}]
      capacity: {cpu: 8, memory: 32Gi, pods: 110, ephemeral-storage: 100Gi, example.com/gpu: 2}
      startSeconds: {middle: 1, p99: 5}         # of a container; also 2, or "1-3"
      pullSeconds: 1-10                         # of an image
      failureRate: 0.01                         # so many of the starts fail
      usage: {cpu: 50m, memory: 64Mi}           # of each container
    images:
      busybox:1: {runSeconds: 30, exitCode: 0}  # these end by themselves

Every fault is told with the field it is in.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field
from typing import Any, Final

from sampan.api import metadata, names, quantity
from sampan.api.validation import scheduling
from sampan.node.simulated_behaviour import MOST_SECONDS, Behaviour, Seconds, Spread, parse_spread
from sampan.records import dataclass

MOST_NODES: Final = 5_000
MOST_BYTES: Final = 1 << 20
DEFAULT_NAME: Final = "sim"
_GIB: Final = 1 << 30
_MOST_PODS: Final = 10_000
_NODE_FIELDS: Final = (
    "name", "count", "labels", "taints", "capacity", "startSeconds", "pullSeconds", "failureRate", "usage",
)  # fmt: skip
_IMAGE_FIELDS: Final = ("runSeconds", "exitCode", "failureRate", "startSeconds", "usage")
_OWN_RESOURCES: Final = ("cpu", "memory", "pods", "ephemeral-storage")


class ShapeError(ValueError):
    """``field: what is wrong with it``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """``count`` nodes of one kind, ``name``-0 and so on."""

    name: str = DEFAULT_NAME
    count: int = 1
    labels: Mapping[str, str] = field(default_factory=dict)
    taints: tuple[Mapping[str, str], ...] = ()
    cpus: int = 8
    memory_bytes: int = 32 * _GIB
    disk_bytes: int = 100 * _GIB
    pods: int = 110
    #: further resources, by name
    extended: Mapping[str, str] = field(default_factory=dict)
    start: Seconds = 0.0
    pull: Seconds = 0.0
    behaviour: Behaviour = field(default_factory=Behaviour)

    def node_names(self) -> list[str]:
        return [f"{self.name}-{number}" for number in range(self.count)]


@dataclass(frozen=True, slots=True)
class Shapes:
    nodes: tuple[Shape, ...] = ()
    #: what containers of these images do, whatever the node
    images: Mapping[str, Behaviour] = field(default_factory=dict)

    @property
    def count(self) -> int:
        return sum(shape.count for shape in self.nodes)

    def each(self) -> Iterator[tuple[str, Shape]]:
        """Every node's name and shape."""
        for shape in self.nodes:
            for name in shape.node_names():
                yield name, shape


def of_count(count: int, name: str = DEFAULT_NAME) -> Shapes:
    """So many nodes of the usual shape. Raises ShapeError."""
    if not 0 <= count <= MOST_NODES:
        raise ShapeError(f"{count} nodes: from 0 to {MOST_NODES} can be simulated")
    return Shapes((Shape(name=name, count=count),) if count else ())


def parse(text: str) -> Shapes:
    """A file's content, YAML or JSON. Raises ShapeError."""
    import yaml  # late: few clusters have such a file

    if len(text) > MOST_BYTES:
        raise ShapeError(f"the file is longer than {MOST_BYTES} bytes")
    try:
        document = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        place = getattr(error, "problem_mark", None)
        where = f" in line {place.line + 1}" if place is not None else ""
        raise ShapeError(f"the file is not YAML{where}") from error
    whole = _mapping(document, "the file", ("nodes", "images"))
    shapes = tuple(_shape(each, f"nodes[{index}]") for index, each in enumerate(_list(whole.get("nodes"), "nodes")))
    images = {
        str(name): _image(each, f"images[{name}]") for name, each in _mapping(whole.get("images"), "images").items()
    }
    made = Shapes(shapes, images)
    if made.count > MOST_NODES:
        raise ShapeError(f"nodes: {made.count} are more than the {MOST_NODES} that can be simulated")
    seen: set[str] = set()
    for name, _ in made.each():
        if name in seen:
            raise ShapeError(f"nodes: two are named {name}")
        seen.add(name)
    return made


def _shape(value: object, path: str) -> Shape:
    said = _mapping(value, path, _NODE_FIELDS)
    name = _text(said.get("name", DEFAULT_NAME), f"{path}.name")
    count = _whole(said.get("count", 1), f"{path}.count", 0, MOST_NODES)
    for problem in names.dns1123_subdomain(f"{name}-{max(count - 1, 0)}"):
        raise ShapeError(f"{path}.name: {problem}")
    labels = {key: _text(each, f"{path}.labels[{key}]") for key, each in _texts(said, "labels", path).items()}
    taints = tuple(
        _taint(each, f"{path}.taints[{at}]") for at, each in enumerate(_list(said.get("taints"), f"{path}.taints"))
    )
    for fault in [
        *metadata.validate_labels(labels, f"{path}.labels"),
        *scheduling.taints([dict(taint) for taint in taints], f"{path}.taints"),
    ]:
        raise ShapeError(f"{fault.field}: {fault.detail}")
    capacity = _texts(said, "capacity", path)
    return Shape(
        name=name,
        count=count,
        labels=labels,
        taints=taints,
        cpus=_resource(capacity, "cpu", path, 8, 1, 1 << 16),
        memory_bytes=_resource(capacity, "memory", path, 32 * _GIB, 1 << 20, 1 << 50),
        disk_bytes=_resource(capacity, "ephemeral-storage", path, 100 * _GIB, 1 << 20, 1 << 60),
        pods=_resource(capacity, "pods", path, 110, 0, _MOST_PODS),
        extended=dict(_extended(capacity, f"{path}.capacity")),
        start=_seconds(said.get("startSeconds", 0), f"{path}.startSeconds"),
        pull=_seconds(said.get("pullSeconds", 0), f"{path}.pullSeconds"),
        behaviour=_behaviour(said, path),
    )


def _image(value: object, path: str) -> Behaviour:
    return _behaviour(_mapping(value, path, _IMAGE_FIELDS), path)


def _behaviour(said: Mapping[str, Any], path: str) -> Behaviour:
    """The fields that shapes and images share; each has but some of them."""
    usage = _mapping(said.get("usage"), f"{path}.usage", ("cpu", "memory"))
    run = said.get("runSeconds")
    return Behaviour(
        run_seconds=None if run is None else _number(run, f"{path}.runSeconds", MOST_SECONDS),
        exit_code=_whole(said.get("exitCode", 0), f"{path}.exitCode", 0, 255),
        failure_rate=_number(said.get("failureRate", 0), f"{path}.failureRate", 1),
        cpu_cores=float(_quantity(usage.get("cpu", 0), f"{path}.usage.cpu")),
        memory_bytes=int(_quantity(usage.get("memory", 0), f"{path}.usage.memory")),
        start_seconds=_seconds(said["startSeconds"], f"{path}.startSeconds") if "startSeconds" in said else None,
    )


def _taint(value: object, path: str) -> Mapping[str, str]:
    said = _mapping(value, path, ("key", "value", "effect"))
    return {name: _text(each, f"{path}.{name}") for name, each in said.items()}


def _extended(capacity: Mapping[str, Any], path: str) -> Iterator[tuple[str, str]]:
    for name, amount in capacity.items():
        if name in _OWN_RESOURCES:
            continue
        where = f"{path}[{name}]"
        if "/" not in name or names.qualified_name(name):
            raise ShapeError(f"{where}: not a resource; further ones are named like example.com/gpu")
        if _quantity(amount, where).denominator != 1:
            raise ShapeError(f"{where}: must be an integer")
        yield name, quantity.canonical(str(amount))


def _seconds(value: object, path: str) -> Seconds:
    if isinstance(value, str):
        try:
            return parse_spread(value)
        except ValueError:
            raise ShapeError(f"{path}: write a number, two like 1-3, or {{middle: 1, p99: 5}}") from None
    if not isinstance(value, dict):
        return _number(value, path, MOST_SECONDS)
    said = _mapping(value, path, ("middle", "p99"))
    middle = _number(said.get("middle", 0), f"{path}.middle", MOST_SECONDS)
    p99 = _number(said.get("p99", middle), f"{path}.p99", MOST_SECONDS)
    if not 0 < middle <= p99:
        raise ShapeError(f"{path}.p99: must not be less than middle, which must not be 0")
    return Spread(0.0, MOST_SECONDS, middle, p99)


def _resource(capacity: Mapping[str, Any], name: str, path: str, usual: int, least: int, most: int) -> int:
    amount = _quantity(capacity.get(name, usual), where := f"{path}.capacity.{name}")
    if amount.denominator != 1 or not least <= amount <= most:
        raise ShapeError(f"{where}: must be a whole number from {least} to {most}")
    return int(amount)


def _quantity(value: object, path: str) -> Any:
    """The exact value, a Fraction."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ShapeError(f"{path}: must be a quantity")
    try:
        amount = quantity.parse(value)
    except (ValueError, OverflowError):
        raise ShapeError(f"{path}: not a quantity, as 500m or 2Gi are") from None
    if amount < 0:
        raise ShapeError(f"{path}: must be greater than or equal to 0")
    return amount


def _mapping(value: object, path: str, known: Sequence[str] = ()) -> dict[str, Any]:
    """``known``: the fields there may be; none: any."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ShapeError(f"{path}: must be an object")
    for name in value:
        if not isinstance(name, str) or (known and name not in known):
            expected = f"; known are {', '.join(known)}" if known else ""
            raise ShapeError(f"{path}: unknown field {name}{expected}")
    return value


def _texts(said: Mapping[str, Any], name: str, path: str) -> dict[str, Any]:
    return _mapping(said.get(name), f"{path}.{name}")


def _list(value: object, path: str) -> list[Any]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise ShapeError(f"{path}: must be a list")
    return value


def _text(value: object, path: str) -> str:
    if not isinstance(value, str):
        raise ShapeError(f"{path}: must be text; put it in quotes")
    return value


def _whole(value: object, path: str, least: int, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise ShapeError(f"{path}: must be a whole number from {least} to {most}")
    return value


def _number(value: object, path: str, most: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not (0 <= value <= most):
        raise ShapeError(f"{path}: must be a number from 0 to {most:g}")
    return float(value) if math.isfinite(value) else 0.0
