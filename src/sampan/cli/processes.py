"""``sampan server`` and ``sampan node``: the programs of a cluster, in the foreground.

``sampan up`` runs the same two under its supervisor; by hand they are for looking at one of them alone.
"""

from __future__ import annotations

import dataclasses
import errno
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

from sampan.cli.commands import Group, Option
from sampan.cli.options import (
    AdmissionConfig,
    DisablePlugins,
    EnablePlugins,
    EtcdCa,
    EtcdCertificate,
    EtcdKey,
    EtcdPrefix,
    EtcdServers,
    FeatureGates,
    Name,
    RuntimeConfig,
    SchedulerConfigFile,
    SchedulerPlugins,
    Store,
    admission_options,
    scheduler_options,
    store_options,
    with_control_plane,
)
from sampan.cluster.errors import ClusterError
from sampan.cluster.settings import DEFAULT_NAME

if TYPE_CHECKING:
    from sampan.cluster.instance import Instance


def add_to(app: Group) -> None:
    app.command()(server)
    app.command()(node)


def server(
    name: Name = DEFAULT_NAME,
    enable_plugins: EnablePlugins = None,
    disable_plugins: DisablePlugins = None,
    admission_config: AdmissionConfig = None,
    scheduler_config: SchedulerConfigFile = None,
    scheduler_plugins: SchedulerPlugins = None,
    runtime_config: RuntimeConfig = None,
    feature_gates: FeatureGates = None,
    store: Store = None,
    etcd_servers: EtcdServers = None,
    etcd_ca: EtcdCa = None,
    etcd_certificate: EtcdCertificate = None,
    etcd_key: EtcdKey = None,
    etcd_prefix: EtcdPrefix = None,
    apart: Annotated[
        bool, Option("--apart", help="API server alone: controllers and scheduler run as programs of their own.")
    ] = False,
) -> None:
    """Run the control plane of an existing cluster in the foreground: store, API server, controllers, scheduler.

    What is said of the store, admission plugins, the scheduler, served versions and features holds for this run;
    `sampan up` keeps it.
    """
    given = admission_options(enable_plugins, disable_plugins, admission_config)
    given |= scheduler_options(scheduler_config, scheduler_plugins)
    given |= store_options(store, etcd_servers, etcd_ca, etcd_certificate, etcd_key, etcd_prefix)
    given |= {"--runtime-config": runtime_config, "--feature-gates": feature_gates}

    def run(instance: Instance) -> None:
        from sampan.cluster import control_plane
        from sampan.cluster.choosing import Given

        options = Given({option: value for option, value in given.items() if value is not None})
        chosen = dataclasses.replace(instance, cluster=options.cluster(instance.cluster))
        chosen.cluster.validate()
        control_plane.run(chosen, apart=apart)

    _foreground(name, "server", run)


def node(name: Name = DEFAULT_NAME) -> None:
    """Run the node of an existing cluster in the foreground: node agent, service proxy, DNS."""

    def run(instance: Instance) -> None:
        from sampan.cluster import node_process

        node_process.run(instance)

    _foreground(name, "node", run)


def _foreground(name: str, program: str, run: Callable[[Instance], None]) -> None:
    """Raises ClusterError where another process of the cluster, or of the machine, is in the way."""
    from sampan.cluster import instance as instances
    from sampan.cluster import machine, supervisor

    instance = with_control_plane(name) if program == "server" else instances.load(name)
    if program == "node" and not instance.node.runs_containers:
        simulated = ": its nodes are simulated by the server" if instance.node.simulate else ""
        raise ClusterError(
            f"cluster {name!r} has no node on this machine{simulated}",
            fix=f"`{instance.command('up')}` runs all it has",
        )
    if supervisor.is_running(instance):
        stop, show = instance.command("down"), instance.command(f"logs {program} -f")
        raise ClusterError(
            f"cluster {name!r} is running, its {program} too", fix=f"`{stop}` first; `{show}` shows what it says"
        )
    machine.complete_path()
    try:
        run(instance)
    except Exception as error:
        raise _told(instance, program, _innermost(error)) from error


def _innermost(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _told(instance: Instance, program: str, error: BaseException) -> BaseException:
    """What a person can mend, as such; anything else as it is."""
    from sampan.store.protocol import StoreError

    if isinstance(error, StoreError):
        return ClusterError(
            f"the store of cluster {instance.name!r} cannot be used: {error}",
            fix="end the process that has it, or see what is at that place",
        )
    if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
        port = {"server": instance.cluster.api_port, "node": instance.node.kubelet_port}[program]
        return ClusterError(
            f"a port of the {program} ({port} or another) is taken by another program",
            fix=f"stop it (`ss -tlnp` tells which it is), or give other ports to `{instance.command('up')}`",
        )
    return error
