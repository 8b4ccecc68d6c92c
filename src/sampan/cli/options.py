"""Options that several commands have, and what comes out for programs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from sampan.cli.commands import Option
from sampan.cluster.errors import ClusterError

Name = Annotated[str, Option("--name", "-n", help="Which cluster of this machine.")]
Output = Annotated[str, Option("--output", "-o", help="json or yaml, for programs.", show_default=False)]


EnablePlugins = Annotated[
    str | None, Option("--enable-admission-plugins", help="Admission plugins to switch on, separated by commas.")
]
DisablePlugins = Annotated[
    str | None, Option("--disable-admission-plugins", help="Admission plugins to switch off, separated by commas.")
]
AdmissionConfig = Annotated[
    str | None,
    Option("--admission-control-config-file", help="AdmissionConfiguration: what the admission plugins are told."),
]


def admission_options(enable: str | None, disable: str | None, config: str | None) -> dict[str, str | None]:
    """The options of a cluster that these give; a file is named by its whole path, "" names none."""
    return {
        "--enable-admission-plugins": enable,
        "--disable-admission-plugins": disable,
        "--admission-control-config-file": str(Path(config).absolute()) if config else config,
    }


def printer(output: str) -> Callable[[Any], None] | None:
    """Prints data as ``--output`` asks; None: as text, for people. Raises ClusterError for another format."""
    if output == "":
        return None
    if output not in ("json", "yaml"):
        raise ClusterError(f"output format {output!r} is not known", fix="choose json or yaml, or leave --output out")

    def show(data: Any) -> None:
        if output == "json":
            import orjson

            print(orjson.dumps(data, option=orjson.OPT_INDENT_2).decode())
        else:
            import yaml

            print(yaml.safe_dump(data, sort_keys=False, allow_unicode=True), end="")

    return show
