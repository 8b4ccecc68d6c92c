"""Reads a configuration file's fields strictly: what is unknown, of another type or wrong is named with file and path.

Made by ``configuration`` for each plugin; the plugins' ``settings`` read through it. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

T = TypeVar("T")


class ConfigurationError(ValueError):
    """Whoever starts the server has to change a file; the message says which, where and why."""


class Fields:
    """The object at ``path`` of ``file``. Each field is asked for once; ``finish`` refuses those that are left."""

    def __init__(self, file: str, path: str, value: Any) -> None:
        self.file, self.path = file, path
        if value is None:
            value = {}
        if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
            raise ConfigurationError(f"{file}: {path or 'the document'}: must be an object")
        self._left: dict[str, Any] = dict(value)

    def fault(self, key: str, text: str) -> ConfigurationError:
        where = f"{self.path}.{key}" if self.path and key else key or self.path
        return ConfigurationError(f"{self.file}: {where}: {text}")

    def take(self, key: str) -> Any:
        """None: it is absent."""
        return self._left.pop(key, None)

    def text(self, key: str, default: str = "") -> str:
        value = self.take(key)
        if value is None:
            return default
        if not isinstance(value, str):
            raise self.fault(key, "must be a string")
        return value

    def whole(self, key: str, default: int = 0) -> int:
        value = self.take(key)
        if value is None:
            return default
        if type(value) is not int:
            raise self.fault(key, "must be a whole number")
        return value

    def parsed(self, key: str, parse: Callable[[str], T], default: str) -> T:
        """``parse`` raises ValueError for what is none."""
        written = self.text(key) or default
        try:
            return parse(written)
        except ValueError as error:
            raise self.fault(key, f'Invalid value: "{written}": {error}') from error

    def texts(self, key: str) -> list[str]:
        value = self.take(key)
        if value is None:
            return []
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self.fault(key, "must be a list of strings")
        return value

    def below(self, key: str) -> Fields:
        return Fields(self.file, f"{self.path}.{key}" if self.path else key, self.take(key))

    def each(self, key: str) -> Iterator[Fields]:
        """The objects of a list."""
        value = self.take(key)
        if value is None:
            return
        if not isinstance(value, list):
            raise self.fault(key, "must be a list")
        for index, item in enumerate(value):
            path = f"{self.path}.{key}" if self.path else key
            yield Fields(self.file, f"{path}[{index}]", item)

    def expect_type(self, group: str, versions: tuple[str, ...], kind: str) -> None:
        self.expect_one_of_types({group: versions}, (kind,))

    def expect_one_of_types(self, groups: Mapping[str, tuple[str, ...]], kinds: tuple[str, ...]) -> None:
        wanted = [f"{group}/{version}" for group, versions in groups.items() for version in versions]
        for key, allowed in (("apiVersion", wanted), ("kind", list(kinds))):
            found = self.text(key)
            if found not in allowed:
                raise self.fault(key, f'Unsupported value: "{found}": supported values: {_listed(allowed)}')

    def left(self) -> list[str]:
        """The fields that nobody has asked for yet."""
        return list(self._left)

    def finish(self) -> None:
        """Raises ConfigurationError: there is a field that nobody knows."""
        for key in self._left:
            raise self.fault(key, "unknown field")


def _listed(values: list[str]) -> str:
    return ", ".join(f'"{value}"' for value in values)
