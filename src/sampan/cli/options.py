"""Options that several commands have, and what comes out for programs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from sampan.cli.commands import Option
from sampan.cluster.errors import ClusterError, WrongUsage

if TYPE_CHECKING:
    from sampan.cluster.instance import Instance

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
RuntimeConfig = Annotated[
    str | None,
    Option("--runtime-config", help="Versions and resources to serve or not, as api/beta=false,batch/v1/jobs=false."),
]
FeatureGates = Annotated[
    str | None, Option("--feature-gates", help="Features of the API to turn on or off, as ContainerStopSignals=true.")
]


def admission_options(enable: str | None, disable: str | None, config: str | None) -> dict[str, str | None]:
    """The options of a cluster that these give; a file is named by its whole path, "" names none."""
    return {
        "--enable-admission-plugins": enable,
        "--disable-admission-plugins": disable,
        "--admission-control-config-file": str(Path(config).absolute()) if config else config,
    }


SchedulerConfigFile = Annotated[
    str | None,
    Option("--scheduler-config", help="File with a KubeSchedulerConfiguration: profiles, plug-ins, extenders."),
]
SchedulerPlugins = Annotated[
    str | None,
    Option("--scheduler-plugins", help="Python files with scheduler plug-ins, separated by commas; read on a change."),
]


def scheduler_options(config: str | None, plugins: str | None) -> dict[str, str | None]:
    """The options of a cluster that these give; files are named by their whole paths, "" names none."""
    listed = [word.strip() for word in (plugins or "").split(",") if word.strip()]
    return {
        "--scheduler-config": str(Path(config).absolute()) if config else config,
        "--scheduler-plugins": ",".join(str(Path(name).absolute()) for name in listed) if listed else plugins,
    }


Store = Annotated[
    str | None,
    Option(
        "--store",
        help="Where objects are kept: sqlite, etcd (a member of it runs here) or etcd://A:2379,B:2379. [sqlite]",
    ),
]
EtcdServers = Annotated[str | None, Option("--etcd-servers", help="URLs of that etcd, as upstream's flag has them.")]
EtcdCa = Annotated[str | None, Option("--etcd-cafile", help="CA of the etcd that others run.")]
EtcdCertificate = Annotated[str | None, Option("--etcd-certfile", help="Our client certificate there.")]
EtcdKey = Annotated[str | None, Option("--etcd-keyfile", help="Its key.")]
EtcdPrefix = Annotated[str | None, Option("--etcd-prefix", help="What our keys begin with there. [/registry]")]


def store_options(
    store: str | None, servers: str | None, ca: str | None, cert: str | None, key: str | None, prefix: str | None
) -> dict[str, str | None]:
    """The options of a cluster that these give: whoever names an etcd wants it as the store."""
    if store is not None and store.startswith("etcd://"):
        servers, store = servers or store.removeprefix("etcd://"), "etcd"
    if servers is not None and store is None:
        store = "etcd"
    if servers is not None:
        from sampan.store.etcd.settings import parse_endpoints

        try:
            servers = ",".join(parse_endpoints(servers))
        except ValueError as error:
            raise ClusterError(f"--store: {error}", fix="write it like etcd://192.0.2.1:2379,192.0.2.2:2379") from error
    files = {"--etcd-cafile": ca, "--etcd-certfile": cert, "--etcd-keyfile": key}
    return {
        "--store": store,
        "--etcd-servers": servers,
        **{option: str(Path(path).absolute()) if path else path for option, path in files.items()},
        "--etcd-prefix": prefix,
    }


CredentialProviders = Annotated[
    str | None,
    Option(
        "--image-credential-provider-config", help="CredentialProviderConfig: programs that know credentials of images."
    ),
]
CredentialPrograms = Annotated[
    str | None, Option("--image-credential-provider-bin-dir", help="Directory of those programs.")
]


def image_options(config: str | None, programs: str | None) -> dict[str, str | None]:
    """The options of a node that these give; a place is named by its whole path, "" names none."""
    return {
        "--image-credential-provider-config": str(Path(config).absolute()) if config else config,
        "--image-credential-provider-bin-dir": str(Path(programs).absolute()) if programs else programs,
    }


SyncPeriod = Annotated[
    str | None,
    Option("--horizontal-pod-autoscaler-sync-period", help="How often autoscalers look at metrics, as 15s."),
]
DownscaleStabilization = Annotated[
    str | None,
    Option(
        "--horizontal-pod-autoscaler-downscale-stabilization",
        help="For how long they do not believe that fewer replicas are enough, as 5m.",
    ),
]
Tolerance = Annotated[
    float | None,
    Option("--horizontal-pod-autoscaler-tolerance", help="How far from the target they do nothing, as 0.1."),
]
CpuInitialization = Annotated[
    str | None,
    Option(
        "--horizontal-pod-autoscaler-cpu-initialization-period",
        help="How long after its start a pod's CPU use may be left out, as 5m.",
    ),
]
InitialReadiness = Annotated[
    str | None,
    Option(
        "--horizontal-pod-autoscaler-initial-readiness-delay",
        help="What is not ready so long after its start never was, as 30s.",
    ),
]


def autoscaler_options(
    sync: str | None, stabilization: str | None, tolerance: float | None, cpu: str | None, readiness: str | None
) -> dict[str, float | None]:
    """The options of a cluster that these give, durations in seconds. Raises ClusterError."""
    prefix = "--horizontal-pod-autoscaler"
    written = {
        f"{prefix}-sync-period": sync,
        f"{prefix}-downscale-stabilization": stabilization,
        f"{prefix}-cpu-initialization-period": cpu,
        f"{prefix}-initial-readiness-delay": readiness,
    }
    return {f"{prefix}-tolerance": tolerance, **{name: _seconds(name, text) for name, text in written.items()}}


def _seconds(option: str, written: str | None) -> float | None:
    from sampan.api import durations

    try:
        return None if written is None else durations.parse(written)
    except ValueError as error:
        raise ClusterError(f"{option}: {error}", fix="write it like 15s or 1m30s") from None


def with_control_plane(name: str, hint: str = "") -> Instance:
    """A cluster of this machine. ``hint``: what helps on a worker. Raises ClusterError: this machine is one."""
    from sampan.cluster import instance as instances

    instance = instances.load(name)
    if not instance.node.runs_control_plane:
        raise ClusterError(
            f"cluster {name!r} has no control plane on this machine",
            fix=f"run it where the control plane is{hint}",
        )
    return instance


def printer(output: str) -> Callable[[Any], None] | None:
    """Prints data as ``--output`` asks; None: as text, for people. Raises ClusterError for another format."""
    if output == "":
        return None
    if output not in ("json", "yaml"):
        raise WrongUsage(f"output format {output!r} is not known", fix="choose json or yaml, or leave --output out")

    def show(data: Any) -> None:
        if output == "json":
            import orjson

            print(orjson.dumps(data, option=orjson.OPT_INDENT_2).decode())
        else:
            import yaml

            print(yaml.safe_dump(data, sort_keys=False, allow_unicode=True), end="")

    return show
