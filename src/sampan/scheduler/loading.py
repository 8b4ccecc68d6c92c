"""Plug-ins from elsewhere: entry points of installed packages, and files that are read again when they change.

An entry point of the group ``sampan.scheduler.plugins`` is known by its name and runs where a configuration enables it.
A file's plug-ins run in every profile, unless the configuration disables them. A plug-in is a class with a ``name`` and
the methods of its extension points (``framework.py``); one whose ``__init__`` takes something is given its arguments
(``pluginConfig``). The code is trusted as the scheduler itself is: it runs in its process.
"""

from __future__ import annotations

import inspect
import os
import stat
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from sampan.client.client import Client
from sampan.records import dataclass
from sampan.scheduler.config import DEFAULT_PLUGINS, POINTS, PluginFactory, ProfileConfig, SchedulerConfig

GROUP: Final = "sampan.scheduler.plugins"
_MOST_BYTES: Final = 4 * 1024 * 1024


class BadPlugin(ValueError):
    """A file or an entry point that gives no plug-in; says which and why."""


@dataclass(frozen=True, slots=True)
class Version:
    """What a file was when it was looked at; equal as long as it is the same."""

    modified_ns: int
    size: int
    inode: int


def version_of(path: Path) -> Version | None:
    """None: it cannot be looked at now."""
    try:
        found = path.stat()
    except OSError:
        return None
    return Version(found.st_mtime_ns, found.st_size, found.st_ino)


def load_file(path: Path) -> dict[str, PluginFactory]:
    """The plug-ins of a file, by name. Runs the file. Raises BadPlugin."""
    module_name = f"sampan_scheduler_plugin_{path.stem}"
    before = sys.modules.get(module_name)
    try:
        return _plugins_of(path, module_name, _read(path))
    except BaseException:
        # What is in force goes on finding the module that it came from.
        if before is None:
            sys.modules.pop(module_name, None)
        else:
            sys.modules[module_name] = before
        raise


def _read(path: Path) -> bytes:
    """Raises BadPlugin, also for a file that everybody may write: whoever writes it acts as the scheduler."""
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_mode & stat.S_IWOTH:
                raise BadPlugin(f"{path}: everybody may write it; take that away (chmod o-w)")
            source = file.read(_MOST_BYTES + 1)
    except FileNotFoundError as error:
        raise BadPlugin(f"the plug-in file {path} does not exist") from error
    except OSError as error:
        raise BadPlugin(f"the plug-in file {path} cannot be read: {error.strerror or error}") from error
    if len(source) > _MOST_BYTES:
        raise BadPlugin(f"{path}: is longer than {_MOST_BYTES} bytes")
    return source


def _plugins_of(path: Path, module_name: str, source: bytes) -> dict[str, PluginFactory]:
    try:
        module = ModuleType(module_name)
        module.__file__ = str(path)
        sys.modules[module_name] = module  # dataclasses and pickles look there
        exec(compile(source, str(path), "exec"), module.__dict__)
    except (Exception, SystemExit) as error:  # a script that ends itself must not end the scheduler
        raise BadPlugin(f"{path}: {_told(error)}") from error
    found: dict[str, PluginFactory] = {}
    for value in vars(module).values():
        if inspect.isclass(value) and value.__module__ == module_name and (name := _name_of(value)):
            if name in found:
                raise BadPlugin(f"{path}: two plug-ins are called {name}")
            found[name] = _factory(value, name)
    if not found:
        raise BadPlugin(f"{path}: no class in it has a name and the methods of an extension point")
    return found


def with_files(config: SchedulerConfig, found: Mapping[str, PluginFactory]) -> SchedulerConfig:
    """Every profile with these plug-ins. Pure."""
    profiles = [
        replace(profile, extra={**profile.extra, **found}, run_too=tuple(dict.fromkeys((*profile.run_too, *found))))
        for profile in config.profiles
    ]
    return replace(config, profiles=tuple(profiles))


def with_entry_points(config: SchedulerConfig) -> SchedulerConfig:
    """Every profile with the installed plug-ins that it enables. Imports these. Raises BadPlugin."""
    return replace(config, profiles=tuple(_with_entry_points(profile) for profile in config.profiles))


def _with_entry_points(profile: ProfileConfig) -> ProfileConfig:
    if profile.plugins is None:
        return profile
    wanted = [name for name in profile.plugins.named() if name not in DEFAULT_PLUGINS and name not in profile.extra]
    found: dict[str, PluginFactory] = {}
    for name in wanted:
        for point in entry_points(group=GROUP, name=name):
            try:
                kind = point.load()
            except (Exception, SystemExit) as error:
                raise BadPlugin(f"plugin {name} of {point.value}: {_told(error)}") from error
            called = _name_of(kind) if inspect.isclass(kind) else ""
            if not called:
                raise BadPlugin(f"plugin {name} of {point.value}: no class with a name and an extension point")
            if called != name:
                raise BadPlugin(f"plugin {name} of {point.value}: its name is {called}; both must be the same")
            found[name] = _factory(kind, name)
    return replace(profile, extra={**profile.extra, **found}) if found else profile


def load_files(paths: Iterable[Path]) -> dict[str, PluginFactory]:
    """Raises BadPlugin."""
    found: dict[str, PluginFactory] = {}
    for path in paths:
        for name, factory in load_file(path).items():
            if name in found:
                raise BadPlugin(f"{path}: a plug-in called {name} is in another file already")
            found[name] = factory
    return found


def versions(paths: Sequence[Path]) -> tuple[Version | None, ...]:
    return tuple(map(version_of, paths))


def _name_of(kind: type) -> str:
    """Of a plug-in's class; "": it is none."""
    name = getattr(kind, "name", None)
    if not isinstance(name, str) or inspect.isabstract(kind):
        return ""
    needed = [[n for n in vars(p) if not n.startswith("_") and callable(vars(p)[n])] for p in POINTS.values()]
    is_plugin = any(names and all(callable(getattr(kind, n, None)) for n in names) for names in needed)
    return name if is_plugin else ""


def _factory(kind: type, name: str) -> PluginFactory:
    takes = any(
        p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in inspect.signature(kind).parameters.values()
    )

    def make(client: Client, config: ProfileConfig) -> Any:
        return kind(dict(config.arguments.get(name, {}))) if takes else kind()

    return make


def _told(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"[:1024]
