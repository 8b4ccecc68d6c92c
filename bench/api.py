"""Measures the API server as it is run: TLS, RBAC and Node authorizer on, every write durable on SQLite.

    python bench/api.py                                       every row: five to ten minutes
    python bench/api.py --only get --only watch               some rows
    python bench/api.py --peer KUBECONFIG --peer-pid PID      the same load on another API server, beside Sampan
    python bench/api.py --json > rows.json                    for programs; the table goes to stderr

Who asks: an ordinary user with a client certificate, or a ServiceAccount with a bound token (--identity), allowed by
one ClusterRole; never an administrator. Reads are asked by wrk too where it is installed (apt-get install wrk), always
with the token, for wrk knows no client certificates.

Whose CPU: "CPU" is what the server's process used for one request or event, whoever asked; unlike the rate it says
the same on a busy machine. "server busy" and "client busy" are shares of one core; a client near 100 % limited the
rate, not the server. Where neither is, the disk or the machine's other work did. Rows named "bare" are peers: the same
generator on httptools with TLS and nothing behind, on plain TLS writes, and SQLite without a server.

A peer's CPU and memory are those of --peer-pid (its store's process too, if it has one: give the option twice). Its
certificate identity is the kubeconfig's own user; take --identity token to hold both to RBAC. Objects that the rows
make there are taken away at the end.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import sys
import tempfile
from pathlib import Path

from api_load import bare, measure, wrk
from api_load.etcd_member import members
from api_load.measure import Row
from api_load.rows import ROWS, Run
from api_load.sampan_server import SampanServer
from api_load.target import clean_up, from_kubeconfig, make_certificates, prepare


def parse() -> argparse.Namespace:
    names = "\n".join(f"  {name:<14}{what}" for name, (_, what) in ROWS.items())
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=f"rows:\n{names}", formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", action="append", choices=ROWS, metavar="ROW", help="this row; may be repeated")
    parser.add_argument("--identity", choices=("certificate", "token"), default="certificate", help="who asks")
    parser.add_argument("--connections", type=int, default=32, help="at once, where a row says no other (32)")
    parser.add_argument("--seconds", type=float, default=3.0, help="that each figure is taken over (3)")
    parser.add_argument("--watchers", type=int, default=200, help="of the row watch (200)")
    parser.add_argument("--many-watchers", type=int, default=1000, help="of the row watch-memory (1000)")
    parser.add_argument("--pods", type=int, default=30_000, help="of the rows start and memory (30000)")
    parser.add_argument(
        "--store", choices=("sqlite", "memory", "etcd"), default="sqlite", help="of the server (sqlite)"
    )
    parser.add_argument("--folder", type=Path, help="where the data is put: choose the disk (the temporary folder)")
    parser.add_argument("--peer", type=Path, metavar="KUBECONFIG", help="another API server, for the same load")
    parser.add_argument("--peer-pid", type=int, action="append", default=[], help="whose CPU counts as the peer's")
    parser.add_argument("--peer-only", action="store_true", help="leave Sampan out")
    parser.add_argument("--json", action="store_true", help="print the rows as JSON")
    parser.add_argument("--profile", metavar="FILE", default="", help="cProfile of the server, which slows it down")
    parser.add_argument("--profile-pause", action="store_true", help="wait before measuring, to attach a profiler")
    options = parser.parse_args()
    if options.peer_only and options.peer is None:
        parser.error("--peer-only needs --peer")
    return options


def main() -> None:
    options = parse()
    out = sys.stderr if options.json else sys.stdout
    load = os.getloadavg()
    about = {
        "python": platform.python_version(),
        "kernel": platform.release(),
        "cores": os.cpu_count(),
        "load_before": load[0],
        "identity": options.identity,
        "store": options.store,
        "connections": options.connections,
    }
    print(
        f"CPython {about['python']}, {about['cores']} cores, load {load[0]:.1f} before the run; "
        f"{options.connections} connections, {options.seconds:g} s a figure, {options.identity}, {options.store}",
        file=out,
    )
    for missing, known in (("wrk", wrk.available()), ("httptools", bare.HTTPTOOLS)):
        if not known:
            print(f"{missing} is not installed: its rows are left out", file=out)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(dir=options.folder) as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        runs = []
        if not options.peer_only:
            store = options.store
            if store == "etcd":
                store = f"etcd://{stack.enter_context(members(folder / 'etcd')).endpoints[0]}"
            server = stack.enter_context(SampanServer(folder / "server", store, options.profile))
            print(f"Sampan is process {server.pid} at {server.address[0]}:{server.address[1]}", file=out)
            runs.append(Run(server.subject(), options.identity, server.folder, server, store=options.store))
        if options.peer is not None:
            other = folder / "peer"
            other.mkdir()
            make_certificates(other)  # of the bare parts
            peer = from_kubeconfig(options.peer, other, tuple(options.peer_pid))
            subject = prepare(peer, None)
            stack.callback(clean_up, subject)
            runs.append(Run(subject, options.identity, other, bare=not runs))
        for run in runs:
            run.connections, run.seconds, run.many_pods = options.connections, options.seconds, options.pods
            run.watchers, run.many_watchers = options.watchers, options.many_watchers
            measure.wait_until_idle(run.subject.pids)
        if options.profile_pause:
            input("enter to go on")
        print(measure.HEAD, file=out, flush=True)
        for name in options.only or ROWS:
            for run in runs:
                for row in ROWS[name][0](run):
                    compare(row, rows)
                    rows.append(row)
                    print(measure.line(row), file=out, flush=True)
    if options.json:
        print(measure.to_json(rows, about))


def compare(row: Row, earlier: list[Row]) -> None:
    """Says on a bare peer's row, or another server's, how many times as much CPU Sampan used."""
    own = next(
        (other for other in earlier if other.server == "sampan" and row.name in (other.name, f"bare-{other.name}")),
        None,
    )
    if row.server != "sampan" and own is not None and own.cpu_us and row.cpu_us:
        row.notes.append(f"sampan: ×{own.cpu_us / row.cpu_us:.2f} its CPU")
        if row.server != "bare" and row.rate:
            row.notes.append(f"×{own.rate / row.rate:.2f} its rate")


if __name__ == "__main__":
    main()
