"""``sampan``: the command line. Each command lives in the module of its subject; this one puts them together.

What a command needs of the cluster is imported inside it, so that help and errors come at once. Errors that a person
can mend are shown in one place, here: what happened, and what to do next; whatever is unforeseen, in one line too.
"""

from __future__ import annotations

import os
import sys
import traceback
from typing import Annotated

import typer

import sampan
from sampan.api.faults import fault
from sampan.cli import cluster, image, logs, processes
from sampan.cluster.errors import ClusterError

#: Set to anything, it shows where in the program an unforeseen error came from.
TRACEBACK_VARIABLE = "SAMPAN_TRACEBACK"

app = typer.Typer(
    name="sampan",
    help="Kubernetes in Python: a working cluster on this machine with one command.",
    epilog="Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    # Plain help and errors: quick, and readable on the narrowest terminal.
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
cluster.add_to(app)
logs.add_to(app)
processes.add_to(app)
app.add_typer(image.app, name="image")


def _version_text() -> str:
    return f"sampan {sampan.__version__} (Kubernetes v{sampan.KUBERNETES_VERSION})"


def _show_version(asked: bool) -> None:
    if asked:
        print(_version_text())
        raise typer.Exit


@app.callback()
def options(
    _: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """Kubernetes in Python: a working cluster on this machine with one command."""


@app.command()
def version() -> None:
    """Print the version of Sampan and the Kubernetes release that it follows."""
    print(_version_text())


def run() -> None:
    """Runs the command that the arguments name; ends the process (``entry.main`` has the exit codes)."""
    try:
        app()
    except ClusterError as error:
        _tell(error)
    except BrokenPipeError:
        raise
    except OSError as error:
        _tell(ClusterError(fault(error), fix=_see()))
    except Exception as error:
        if os.environ.get(TRACEBACK_VARIABLE):
            traceback.print_exc()
        said = str(error).splitlines()[:1]
        _tell(ClusterError(f"this should not have happened: {said[0] if said else 'no reason was given'}", fix=_see()))
    sys.exit(1)


def _see() -> str:
    return f"`{TRACEBACK_VARIABLE}=1 sampan ...` shows where it comes from; please report it with that"


def _tell(error: ClusterError) -> None:
    print(f"sampan: {error.message}", file=sys.stderr)
    if error.fix:
        lines = error.fix.splitlines()
        print("To mend it:" + (f" {lines[0]}" if len(lines) == 1 else ""), file=sys.stderr)
        if len(lines) > 1:
            print("\n".join(f"  {line}" for line in lines), file=sys.stderr)
