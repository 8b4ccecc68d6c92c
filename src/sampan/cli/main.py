"""``sampan``: the command line. Each command lives in the module of its subject; this one puts them together.

Modules of the cluster are imported inside the commands, so that ``--help`` and ``up`` do not wait for what they do
not use. Errors that a person can mend are shown in one place, here: what happened, and what to do next.
"""

from __future__ import annotations

import sys

import typer

import sampan
from sampan.cli import cluster, image, processes
from sampan.cluster.errors import ClusterError

app = typer.Typer(
    name="sampan",
    help="Kubernetes in Python: a working cluster on this machine with one command.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
cluster.add_to(app)
processes.add_to(app)
app.add_typer(image.app, name="image")


@app.command()
def version() -> None:
    """Print the version of Sampan and the Kubernetes release that it follows."""
    print(f"sampan {sampan.__version__} (Kubernetes v{sampan.KUBERNETES_VERSION})")


def run() -> None:
    """Runs the command that the arguments name; ends the process (``entry.main`` has the exit codes)."""
    try:
        app()
    except ClusterError as error:
        print(f"sampan: {error.message}", file=sys.stderr)
        if error.fix:
            lines = error.fix.splitlines()
            print("To mend it:" + (f" {lines[0]}" if len(lines) == 1 else ""), file=sys.stderr)
            if len(lines) > 1:
                print("\n".join(f"  {line}" for line in lines), file=sys.stderr)
        sys.exit(1)
