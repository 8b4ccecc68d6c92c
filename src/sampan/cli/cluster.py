"""``sampan up``, ``down``, ``status``, ``kubeconfig``: one cluster instance on this machine."""

from __future__ import annotations

import asyncio
import re
import time
from pathlib import Path
from typing import Annotated

import typer

from sampan.cli.progress import steps
from sampan.cluster import instance as instances
from sampan.cluster.errors import ClusterError

Name = Annotated[str, typer.Option("--name", "-n", help="Which cluster of this machine.")]
_DEFAULTS = instances.Settings()


def add_to(app: typer.Typer) -> None:
    app.command()(up)
    app.command()(down)
    app.command()(status)
    app.command()(kubeconfig)


def up(
    name: Name = instances.DEFAULT_NAME,
    api_port: Annotated[int, typer.Option(help="Port of the API server.")] = _DEFAULTS.api_port,
    kubelet_port: Annotated[int, typer.Option(help="Port of the node's own API.")] = _DEFAULTS.kubelet_port,
    dns_port: Annotated[int, typer.Option(help="Port of the node's DNS server.")] = _DEFAULTS.dns_port,
    pod_cidr: Annotated[str, typer.Option(help="Address range of pods.")] = _DEFAULTS.pod_cidr,
    service_cidr: Annotated[str, typer.Option(help="Address range of Services.")] = _DEFAULTS.service_cidr,
    node_port_range: Annotated[str, typer.Option(help="Ports of NodePort Services.")] = "30000-32767",
    node_name: Annotated[str, typer.Option(help="Name of this node. Default: the host name.")] = "",
    node_address: Annotated[str, typer.Option(help="Address of this node. Default: of the default route.")] = "",
    runtime: Annotated[str, typer.Option(help="OCI runtime below containerd: runc or crun.")] = _DEFAULTS.runtime,
    kubeconfig_file: Annotated[
        Path | None, typer.Option("--kubeconfig", help="Kubeconfig to add the context to. Default: as kubectl.")
    ] = None,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds until it is given up.")] = 60.0,
) -> None:
    """Start a cluster on this machine, or start it again with all it had.

    The options describe a new cluster; one that exists keeps what it was made with.
    """
    from sampan.api.clock import SystemClock
    from sampan.cluster import kubeconfigs
    from sampan.cluster import up as starting

    began = time.monotonic()
    if name in instances.names():
        instance = starting.complete(instances.load(name))
    else:
        settings = instances.Settings(
            name=name,
            api_port=api_port,
            kubelet_port=kubelet_port,
            dns_port=dns_port,
            pod_cidr=pod_cidr,
            service_cidr=service_cidr,
            node_ports=_port_range(node_port_range),
            node_name=node_name,
            given_address=node_address,
            runtime=_runtime(runtime),
        )
        instance = starting.complete(instances.Instance(settings))
    with steps() as progress:
        started = asyncio.run(starting.up(instance, SystemClock(), progress, timeout_seconds=timeout))
    if started:
        print(f"Cluster {name!r} is ready after {time.monotonic() - began:.1f} s.")
    else:
        print(f"Cluster {name!r} is already running.")
    target = kubeconfigs.merge(instance, kubeconfig_file)
    print(f"kubectl is set to context {instance.context!r} in {target}. Try: kubectl get nodes")


def down(
    name: Name = instances.DEFAULT_NAME,
    purge: Annotated[bool, typer.Option("--purge", help="Also remove all state: nothing of it is left.")] = False,
) -> None:
    """Stop the cluster. Its state stays for the next `sampan up`, unless --purge is given."""
    from sampan.cluster import down as stopping

    # By name alone: half-made or damaged, it can still be stopped, and whatever carries the name removed.
    instance = instances.nameless(name)
    if not purge and not instance.exists():
        instance = instances.load(name)  # raises, and says why
    with steps() as progress:
        if purge:
            asyncio.run(stopping.purge(instance, progress))
        else:
            was_running = asyncio.run(stopping.down(instance, progress))
    if purge:
        print(f"Cluster {name!r} is gone.")
    else:
        print(f"Cluster {name!r} is stopped." if was_running else f"Cluster {name!r} was not running.")


def status(name: Name = instances.DEFAULT_NAME) -> None:
    """Show the processes, the API server, the node and the pods. Exit code 1 when something is not as it should be."""
    from sampan.cluster.status import observe

    instance = instances.load(name)
    seen = observe(instance)
    print(f"Cluster {name!r}: {'running' if seen.running else 'stopped'}")
    for process in seen.processes:
        state = f"pid {process.pid}, {process.rss_bytes / 2**20:.0f} MiB" if process.pid else "not running"
        again = f", restarted {process.restarts} times (last: {process.last_exit})" if process.restarts else ""
        print(f"  {process.name:<12}{state}{again}")
        for part in process.failed:
            now = "runs again" if part.running else "waits to be started again"
            print(f"    {part.name}: failed {part.failures} times (last: {part.last_fault}), {now}")
    if seen.running:
        print(f"  {'API server':<12}{'ready' if seen.api_ready else 'not ready'} at {instance.api_url}")
        print(f"  {'node':<12}{'Ready' if seen.node_ready else 'not Ready'}: {seen.node_message}")
        print(f"  {'pods':<12}{seen.pods_running} running of {seen.pods}")
    if not seen.healthy:
        raise typer.Exit(1)


def kubeconfig(
    name: Name = instances.DEFAULT_NAME,
    merge: Annotated[bool, typer.Option("--merge", help="Add it to your kubeconfig and make it current.")] = False,
) -> None:
    """Print the kubeconfig of the cluster's admin, or add it to yours."""
    from sampan.cluster import kubeconfigs

    instance = instances.load(name)
    if merge:
        print(f"Context {instance.context!r} is in {kubeconfigs.merge(instance)}")
    else:
        print(kubeconfigs.admin_text(instance), end="")


def _port_range(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d{1,5})-(\d{1,5})", text)
    if not match:
        raise ClusterError(f"node port range {text!r} is not valid", fix="write it like 30000-32767")
    return int(match[1]), int(match[2])


def _runtime(text: str) -> str:
    if text not in ("runc", "crun"):
        raise ClusterError(f"runtime {text!r} is not known", fix="choose runc or crun")
    return text
