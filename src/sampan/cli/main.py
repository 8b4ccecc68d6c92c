"""``sampan``: the command line. Each command lives in the module of its subject; this one puts them together.

What a command needs of the cluster is imported inside it, so that help and errors come at once. Errors that a person
can mend are shown in one place, here: what happened, and what to do next; whatever is unforeseen, in one line too.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import sampan
from sampan.api.faults import fault
from sampan.cli import (
    adapter,
    apart,
    apireport,
    bundle,
    certs,
    cloud,
    cluster,
    completion,
    config,
    csi,
    drain,
    etcd,
    image,
    init,
    join,
    kubeadm,
    logs,
    moving,
    net,
    processes,
    registry,
    reset,
    token,
    units,
    upgrade,
    why,
)
from sampan.cli.commands import WRONG_USAGE, Group
from sampan.cluster.errors import ClusterError, WrongUsage

#: Set to anything, it shows where in the program an unforeseen error came from.
TRACEBACK_VARIABLE = "SAMPAN_TRACEBACK"


def version_text() -> str:
    return f"sampan {sampan.__version__} (Kubernetes v{sampan.KUBERNETES_VERSION})"


app = Group(
    "Kubernetes in Python: a working cluster on this machine with one command.",
    epilog="Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted.",
    version=version_text,
)
cluster.add_to(app)
init.add_to(app)
join.add_to(app)
app.add("token", token.app)
drain.add_to(app)
reset.add_to(app)
app.add("upgrade", upgrade.app)
app.add("certs", certs.app)
app.add("config", config.app)
app.add("kubeadm", kubeadm.app)
logs.add_to(app)
app.add("image", image.app)
app.add("registry", registry.app)
app.add("csi", csi.app)
app.add("api", apireport.app)
app.add("net", net.app)
why.add_to(app)
app.add("etcd", etcd.app)
app.add("bundle", bundle.app)
processes.add_to(app)
units.add_to(app)
adapter.add_to(app)
apart.add_to(app)
cloud.add_to(app)
moving.add_to(app)


@app.command()
def version() -> None:
    """Print the version of Sampan and the Kubernetes release that it follows."""
    print(version_text())


completion.add_to(app)


def run() -> None:
    """Runs the command that the arguments name; ends the process (``entry.main`` has the exit codes)."""
    try:
        if Path(sys.argv[0]).name == "kubeadm":
            kubeadm.app.run("kubeadm", sys.argv[1:])
        else:
            app.run("sampan", sys.argv[1:])
        return
    except WrongUsage as error:
        _tell(error)
        sys.exit(WRONG_USAGE)
    except ClusterError as error:
        _tell(error)
    except BrokenPipeError:
        raise
    except OSError as error:
        _tell(ClusterError(fault(error), fix=_see()))
    except Exception as error:
        if os.environ.get(TRACEBACK_VARIABLE):
            sys.excepthook(type(error), error, error.__traceback__)
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
