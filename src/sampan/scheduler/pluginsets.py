"""Which plug-ins run at which extension point: the sets of a profile, merged with the defaults and spread out. Pure.

The rules are upstream's: ``multiPoint`` stands for every point that a plug-in has; what a point names itself comes
before, a point's ``disabled`` takes away what ``multiPoint`` would bring, ``*`` takes away all of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from typing import Final

from sampan.records import dataclass

ALL: Final = "*"


class WrongPlugins(ValueError):
    """Sets that make no profile."""


@dataclass(frozen=True, slots=True)
class Use:
    """``weight`` 0: not said."""

    name: str
    weight: int = 0


@dataclass(frozen=True, slots=True)
class PluginSet:
    enabled: tuple[Use, ...] = ()
    disabled: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class PluginSets:
    multi_point: PluginSet = PluginSet()
    #: by the name of the extension point
    points: Mapping[str, PluginSet] = field(default_factory=dict)

    def point(self, name: str) -> PluginSet:
        return self.points.get(name, PluginSet())

    def named(self) -> dict[str, None]:
        """Every plug-in that is enabled anywhere, in order."""
        sets = (self.multi_point, *self.points.values())
        return dict.fromkeys(use.name for each in sets for use in each.enabled)

    def weight(self, name: str) -> int:
        """Of a score; what the point says counts before what ``multiPoint`` says."""
        for each in (self.point("score"), self.multi_point):
            for use in each.enabled:
                if use.name == name:
                    return use.weight or 1
        return 1


def merge(default: PluginSet, custom: PluginSet) -> PluginSet:
    """A default that is named again keeps its place and takes the new weight."""
    disabled = custom.disabled | default.disabled
    again = {use.name: use for use in custom.enabled}
    kept: list[Use] = []
    if ALL not in disabled:
        kept = [again.get(use.name, use) for use in default.enabled if use.name not in disabled]
    placed = {use.name for use in kept}
    return PluginSet((*kept, *(use for use in custom.enabled if use.name not in placed)), disabled)


def expand(sets: PluginSets, point: str, has_point: Callable[[str], bool]) -> list[str]:
    """The plug-ins of one point, in order. Raises WrongPlugins when one is there twice or has no such point."""
    own = sets.point(point)
    explicit = _once([use.name for use in own.enabled], point)
    for name in explicit:
        if not has_point(name):
            raise WrongPlugins(f"plugin {name!r} does not extend {point} plugin")
    if ALL in own.disabled:
        return explicit
    multi = _once([use.name for use in sets.multi_point.enabled], "multiPoint")
    spread = [name for name in multi if name not in own.disabled and has_point(name)]
    again = set(spread)
    first = [name for name in explicit if name in again]
    rest = [name for name in explicit if name not in again]
    return [*first, *(name for name in spread if name not in first), *rest]


def _once(names: Sequence[str], point: str) -> list[str]:
    if len(set(names)) < len(names):
        twice = next(name for index, name in enumerate(names) if name in names[:index])
        raise WrongPlugins(f'plugin "{twice}" already registered as "{point}"')
    return list(names)
