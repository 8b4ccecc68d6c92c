"""``sampan csi``: a storage driver for this machine's disk, and what stands beside the controller of any driver."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from sampan.cli.commands import Group, Option
from sampan.cli.options import Name
from sampan.cluster.errors import ClusterError, WrongUsage
from sampan.cluster.settings import DEFAULT_NAME

if TYPE_CHECKING:
    from sampan.client.leaderelection import ElectionConfig

# What takes long to load is imported by the command that needs it.

app = Group("Storage drivers (CSI): one for files of the node's disk, and sidecars for any.")

Address = Annotated[Path, Option("--csi-address", help="Socket of the driver.")]
_SOCKET = Path("/csi/csi.sock")


@app.command()
def image(name: Name = DEFAULT_NAME) -> None:
    """Build the image that the driver and the sidecars run from, out of this very installation."""
    from sampan.cli.image import import_built
    from sampan.cluster import selfimage

    import_built(name, selfimage.CSI_TAG, selfimage.build_csi)


@app.command()
def manifest() -> None:
    """Print what runs the driver in a cluster: `sampan csi manifest | kubectl apply -f -`."""
    from importlib.resources import files

    print((files("sampan.csi.driver") / "manifest.yaml").read_text(), end="")


@app.command()
def loopfile(
    node: Annotated[str, Option("--node", help="Name of the node that it runs on.")],
    csi_address: Address = _SOCKET,
    root: Annotated[Path, Option("--root", help="Directory for volumes and snapshots.")] = Path("/data"),
    registration: Annotated[
        Path | None, Option("--registration", help="The kubelet's directory for sockets of plug-ins.")
    ] = None,
    kubelet_socket: Annotated[
        str, Option("--kubelet-socket", help="The driver's socket as the kubelet sees it.", show_default=False)
    ] = "",
    max_volumes: Annotated[int, Option("--max-volumes", help="Volumes on this node at a time.", min=1)] = 128,
    copy_seconds: Annotated[
        float, Option("--copy-seconds", help="What a copy may take; writers wait meanwhile.", min=1)
    ] = 120,
) -> None:
    """Serve volumes that are sparse files on loop devices, in the foreground. It is made to run in a pod."""
    import asyncio

    from sampan.cluster.arguments import log_to_stderr
    from sampan.csi.driver.controller import Options
    from sampan.csi.driver.main import DriverConfig, run

    log_to_stderr()
    config = DriverConfig(csi_address, root, Options(node, copy_seconds, max_volumes), registration, kubelet_socket)
    asyncio.run(run(config))


@app.command()
def controller(
    csi_address: Address = _SOCKET,
    provisioner: Annotated[bool, Option("--provisioner", help="Make and delete volumes.")] = False,
    resizer: Annotated[bool, Option("--resizer", help="Let volumes grow, and change their attributes.")] = False,
    snapshotter: Annotated[bool, Option("--snapshotter", help="Take and delete snapshots.")] = False,
    attacher: Annotated[bool, Option("--attacher", help="Attach volumes to nodes.")] = False,
    health_monitor: Annotated[
        bool, Option("--health-monitor", help="Tell what the driver says of its volumes' health.")
    ] = False,
    timeout: Annotated[str, Option("--timeout", help="Of calls to the driver.")] = "10s",
    worker_threads: Annotated[int, Option("--worker-threads", help="Objects worked on at a time.", min=1)] = 10,
    default_fstype: Annotated[str, Option("--default-fstype", help="For classes that name none.")] = "",
    extra_create_metadata: Annotated[
        bool, Option("--extra-create-metadata", help="Tell the driver the names of claims, volumes and snapshots.")
    ] = False,
    extra_modify_metadata: Annotated[
        bool, Option("--extra-modify-metadata", help="Tell the names of claims and volumes when attributes change.")
    ] = False,
    volume_name_prefix: Annotated[str, Option("--volume-name-prefix", help="Of volumes.")] = "pvc",
    snapshot_name_prefix: Annotated[str, Option("--snapshot-name-prefix", help="Of snapshots.")] = "snapshot",
    feature_gates: Annotated[
        str, Option("--feature-gates", help="Topology=true or =false, VolumeAttributesClass=true or =false.")
    ] = "Topology=true",
    strict_topology: Annotated[
        bool, Option("--strict-topology", help="Ask for the chosen node's topology alone.")
    ] = False,
    enable_capacity: Annotated[
        bool, Option("--enable-capacity", help="Publish CSIStorageCapacity objects, owned by this pod.")
    ] = False,
    capacity_poll_interval: Annotated[
        str, Option("--capacity-poll-interval", help="Between two questions for the driver's room.")
    ] = "1m",
    monitor_interval: Annotated[
        str, Option("--monitor-interval", help="Between two questions for the health of each volume.")
    ] = "1m",
    list_volumes_interval: Annotated[
        str, Option("--list-volumes-interval", help="The same, where the driver lists all of them.")
    ] = "5m",
    node_deployment: Annotated[
        bool, Option("--node-deployment", help="One on each node ($NODE_NAME), for drivers of a node's own disk.")
    ] = False,
    leader_election: Annotated[bool, Option("--leader-election", help="Of several, one acts.")] = False,
    leader_election_namespace: Annotated[
        str, Option("--leader-election-namespace", help="Of the Lease. Default: the pod's own.", show_default=False)
    ] = "",
    kubeconfig: Annotated[Path | None, Option("--kubeconfig", help="Outside of a pod.")] = None,
) -> None:
    """Stand beside a driver's controller: what upstream's external-provisioner, -resizer and their like do.

    Without any of --provisioner, --resizer, --snapshotter, --attacher and --health-monitor it does all that the driver
    can. It takes its rights from the pod's ServiceAccount; $NODE_NAME, $NAMESPACE, $POD_NAME and $POD_UID come from the
    pod's manifest.
    """
    import asyncio
    import os
    import socket

    from sampan.client.kubeconfig import KubeConfig, KubeConfigError, in_cluster
    from sampan.client.leaderelection import LeadershipLost
    from sampan.cluster.arguments import log_to_stderr
    from sampan.sidecars.config import ATTACHER, MONITOR, PROVISIONER, RESIZER, ROLES, SNAPSHOTTER, SidecarConfig
    from sampan.sidecars.main import run

    timeout_seconds = _seconds("--timeout", timeout)
    capacity_seconds = _seconds("--capacity-poll-interval", capacity_poll_interval)
    gates = _gates(feature_gates)
    asked = {PROVISIONER: provisioner, RESIZER: resizer, SNAPSHOTTER: snapshotter, ATTACHER: attacher}
    asked[MONITOR] = health_monitor
    node = os.environ.get("NODE_NAME", "") if node_deployment else ""
    if node_deployment and not node:
        raise WrongUsage("--node-deployment needs the name of the node", fix="set NODE_NAME from spec.nodeName")
    if node_deployment and leader_election:
        raise WrongUsage("--node-deployment and --leader-election exclude each other", fix="leave one of them out")
    try:
        connection = KubeConfig.load(kubeconfig).connection() if kubeconfig is not None else in_cluster()
    except KubeConfigError as error:
        raise WrongUsage(str(error), fix="run it in a pod, or name a kubeconfig with --kubeconfig") from None
    namespace = os.environ.get("NAMESPACE") or connection.namespace
    config = SidecarConfig(
        roles=frozenset(name for name, wanted in asked.items() if wanted) or frozenset(ROLES),
        timeout_seconds=timeout_seconds,
        workers=worker_threads,
        volume_prefix=volume_name_prefix,
        snapshot_prefix=snapshot_name_prefix,
        default_filesystem=default_fstype,
        extra_metadata=extra_create_metadata,
        extra_modify_metadata=extra_modify_metadata,
        topology=gates["Topology"],
        attributes_classes=gates["VolumeAttributesClass"],
        strict_topology=strict_topology,
        capacity=enable_capacity,
        capacity_seconds=capacity_seconds,
        monitor_seconds=_seconds("--monitor-interval", monitor_interval),
        list_seconds=_seconds("--list-volumes-interval", list_volumes_interval),
        node=node,
        namespace=namespace,
        owner=_owner(os.environ.get("POD_NAME", ""), os.environ.get("POD_UID", "")),
    )
    election: ElectionConfig | None = None
    if leader_election:
        election = _election(leader_election_namespace or namespace, csi_address, socket.gethostname())
    log_to_stderr()
    try:
        asyncio.run(run(config, connection, str(csi_address), election))
    except LeadershipLost as error:
        raise ClusterError(str(error), fix="let the pod begin anew") from None


def _election(namespace: str, address: Path, host: str) -> ElectionConfig:
    """A lease for each driver of a namespace; its socket's name stands for the driver, which is not known yet."""
    from sampan.client.leaderelection import ElectionConfig

    name = f"sampan-csi-{address.parent.name or 'driver'}".lower().replace("_", "-")
    return ElectionConfig(namespace, name, host)


def _owner(name: str, uid: str) -> dict[str, str]:
    return {"apiVersion": "v1", "kind": "Pod", "name": name, "uid": uid} if name and uid else {}


def _seconds(option: str, text: str) -> float:
    from sampan.api import durations

    try:
        seconds = durations.parse(text)
    except ValueError:
        seconds = 0.0
    if seconds <= 0:
        raise WrongUsage(f"{option}: {text} is no duration", fix="write it like 15s or 1m")
    return seconds


def _gates(given: str) -> dict[str, bool]:
    found = {"Topology": True, "VolumeAttributesClass": True}
    for each in filter(None, given.split(",")):
        name, _, value = each.partition("=")
        if name not in found or value not in ("true", "false"):
            raise WrongUsage(
                f"--feature-gates: {each} is not known", fix=f"there are {' and '.join(found)}, each =true or =false"
            )
        found[name] = value == "true"
    return found
