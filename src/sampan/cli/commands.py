"""A command line out of functions: a parameter is an option or an argument, its annotation says which and what of.

    def greet(name: Annotated[str, Option("--name", "-n", help="Whom.")] = "you") -> None: ...

Over argparse, which every Python has and which loads in a twentieth of a second: a help text or an error should not
take longer to come than to read. Only the command that is asked for is looked into.
"""

from __future__ import annotations

import argparse
import sys
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, NoReturn, TypeVar

from sampan.records import dataclass

F = TypeVar("F", bound=Callable[..., None])

WRONG_USAGE = 2


class Option:
    """``names``: as typed, ``--boot/--no-boot`` for a switch with two sides; none: that of the parameter.
    ``bare``: what it means without a value; "": it has to have one."""

    def __init__(
        self,
        *names: str,
        help: str = "",  # noqa: A002 (argparse's word)
        min: float | None = None,  # noqa: A002
        show_default: bool = True,
        bare: str = "",
    ) -> None:
        self.names, self.help, self.minimum, self.show_default = names, help, min, show_default
        self.bare = bare


class Argument:
    """Without a default it must be there; a list takes one or more, with a default none too."""

    def __init__(self, *, help: str = "", metavar: str = "", show_default: bool = False) -> None:  # noqa: A002
        self.help, self.metavar, self.show_default = help, metavar, show_default


@dataclass(frozen=True, slots=True)
class _Command:
    function: Callable[..., None]
    hidden: bool


class Group:
    """Commands below one name, and further groups below them."""

    def __init__(self, text: str, *, epilog: str = "", version: Callable[[], str] | None = None) -> None:
        self.text, self._epilog, self._version = text, epilog, version
        self._commands: dict[str, _Command | Group] = {}

    def command(self, name: str = "", *, hidden: bool = False) -> Callable[[F], F]:
        def add(function: F) -> F:
            self._commands[name or function.__name__] = _Command(function, hidden)
            return function

        return add

    def add(self, name: str, group: Group) -> None:
        self._commands[name] = group

    def run(self, program: str, words: list[str]) -> None:
        """Runs what the words name. Ends the process for help (0) and wrong usage (2)."""
        first = words[0] if words else "--help"
        found = self._commands.get(first)
        if isinstance(found, Group):
            found.run(f"{program} {first}", words[1:])
        elif found is not None:
            parser = _parser_of(found.function, f"{program} {first}")
            # Intermixed: a list that may be empty takes its words wherever they stand.
            found.function(**vars(parser.parse_intermixed_args(words[1:])))
        elif first == "--version" and self._version is not None:
            print(self._version())
        elif first in ("-h", "--help"):
            self._parser(program).print_help()
        else:
            kind = "option" if first.startswith("-") else "command"
            self._parser(program).error(f"no such {kind}: {first}")

    def listed(self) -> Iterator[tuple[str, str]]:
        """Names and first lines of what is not hidden."""
        for name, command in self._commands.items():
            if isinstance(command, Group):
                yield name, command.text
            elif not command.hidden:
                yield name, (command.function.__doc__ or "").strip().splitlines()[0]

    def words(self, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], list[str]]]:
        """For completion: every place in the tree, and what may follow there."""
        yield path, [name for name, _ in self.listed()]
        for name, command in self._commands.items():
            if isinstance(command, Group):
                yield from command.words((*path, name))
            elif not command.hidden:
                parser = _parser_of(command.function, name)
                yield (*path, name), [word for action in parser._actions for word in action.option_strings]

    def _parser(self, program: str) -> argparse.ArgumentParser:
        parser = _Parser(prog=program, usage="%(prog)s COMMAND ...", description=self.text, epilog=self._epilog)
        if self._version is not None:
            parser.add_argument("--version", action="store_true", help="Print the version.")
        listed = parser.add_argument_group("commands")
        for name, text in self.listed():
            listed.add_argument(name, nargs="?", help=text.replace("%", "%%"))
        return parser


class _Parser(argparse.ArgumentParser):
    def __init__(self, **how: Any) -> None:
        super().__init__(allow_abbrev=False, add_help=False, formatter_class=_Formatter, **how)
        self._optionals.title = "options"
        self.add_argument("-h", "--help", action="help", help="Show this message and exit.")

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        print(f"{self.prog}: {message}\nTo mend it: `{self.prog} --help` shows what there is", file=sys.stderr)
        sys.exit(WRONG_USAGE)


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """Paragraphs stay apart, each filled to the width."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        paragraphs = " ".join(text.replace("\n\n", "\0").split()).split("\0")
        return "\n\n".join(
            argparse.HelpFormatter._fill_text(self, paragraph, width, indent) for paragraph in paragraphs
        )


def _parser_of(function: Callable[..., None], program: str) -> argparse.ArgumentParser:
    parser = _Parser(prog=program, description=function.__doc__ or "")
    defaults = dict(zip(reversed(function.__code__.co_varnames[: function.__code__.co_argcount]),
                        reversed(function.__defaults__ or ()), strict=False))  # fmt: skip
    arguments = []
    for name, hint in typing.get_type_hints(function, include_extras=True).items():
        if name == "return":
            continue
        kind, told = typing.get_args(hint)
        if isinstance(told, Argument):
            arguments.append(_add_argument(parser, name, kind, told, defaults))
        else:
            _add_option(parser, name, kind, told, defaults)
    parser.usage = " ".join(["%(prog)s [OPTIONS]", *arguments])
    return parser


def _add_argument(
    parser: argparse.ArgumentParser, name: str, kind: Any, told: Argument, defaults: dict[str, Any]
) -> str:
    """Gives how usage shows it."""
    several = typing.get_origin(_plain(kind)) is list
    shown = told.metavar or name.strip("_").upper() + ("..." if several else "")
    how: dict[str, Any] = {"help": told.help, "metavar": shown, "type": _converter(kind)}
    if several and name in defaults:
        how |= {"nargs": "*", "default": None}
    elif several:
        how["nargs"] = "+"
    elif name in defaults:
        how |= {"nargs": "?", "default": defaults[name]}
    parser.add_argument(name, **how)
    return f"[{shown}]" if name in defaults else shown


def _add_option(parser: argparse.ArgumentParser, name: str, kind: Any, told: Option, defaults: dict[str, Any]) -> None:
    names = told.names or (f"--{name.strip('_').replace('_', '-')}",)
    default, plain = defaults.get(name), _plain(kind)
    how: dict[str, Any] = {"dest": name, "default": default, "help": told.help.replace("%", "%%")}
    if plain is bool and "/" in names[0]:
        names = (names[0].partition("/")[0],)
        how["action"] = argparse.BooleanOptionalAction
    elif plain is bool:
        how["action"] = "store_true"
    else:
        how["type"] = _converter(kind, told.minimum)
        how["metavar"] = {int: "NUMBER", float: "NUMBER", Path: "PATH"}.get(plain, "TEXT")
        if typing.get_origin(plain) is list:
            how["action"] = "append"
        if told.bare:
            how |= {"nargs": "?", "const": told.bare}
        if name not in defaults:
            how["required"] = True
        elif told.show_default and default not in (None, ""):
            how["help"] += f" [{default}]"
    parser.add_argument(*names, **how)


def _plain(kind: Any) -> Any:
    """``int | None`` → ``int``."""
    if isinstance(kind, UnionType):
        return next(each for each in typing.get_args(kind) if each is not NoneType)
    return kind


def _converter(kind: Any, minimum: float | None = None) -> Callable[[str], Any]:
    plain = _plain(kind)
    of = typing.get_args(plain)[0] if typing.get_origin(plain) is list else plain

    def convert(text: str) -> Any:
        try:
            value = of(text)
        except ValueError:
            words = {int: "a whole number", float: "a number"}.get(of, "valid")
            raise argparse.ArgumentTypeError(f"{text!r} is not {words}") from None
        if minimum is not None and not value >= minimum:
            raise argparse.ArgumentTypeError(f"{text} is less than {minimum:g}")
        return value

    return convert
