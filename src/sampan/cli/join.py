"""``sampan join``: this machine becomes one of a cluster."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from sampan.cli.commands import Argument, Group, Option
from sampan.cli.options import Name
from sampan.cli.progress import steps
from sampan.cluster.errors import WrongUsage
from sampan.cluster.settings import DEFAULT_NAME

if TYPE_CHECKING:
    from sampan.cluster.initializing.phases import Step
    from sampan.cluster.joining.wanted import Wanted


def add_to(app: Group) -> None:
    app.command()(join)


def join(
    words: Annotated[
        list[str] | None,
        Argument(
            metavar="[phase NAME [PART]] HOST:PORT",
            help="Where the cluster's API server is. `phase NAME` runs one phase by itself; `phase` alone lists them.",
        ),
    ] = None,
    token: Annotated[str, Option(help="Token that finds the cluster and asks for the node's certificate.")] = "",
    ca_cert_hash: Annotated[
        list[str] | None,
        Option("--discovery-token-ca-cert-hash", help="sha256:HEX of the cluster's CA; again for another one."),
    ] = None,
    unsafe: Annotated[
        bool, Option("--discovery-token-unsafe-skip-ca-verification", help="Believe whoever has the token.")
    ] = False,
    discovery_token: Annotated[
        str, Option("--discovery-token", help="Token for finding the cluster alone, instead of --token.")
    ] = "",
    bootstrap_token: Annotated[
        str, Option("--tls-bootstrap-token", help="Token for the certificate alone, instead of --token.")
    ] = "",
    discovery_file: Annotated[str, Option(help="Kubeconfig that says where the cluster is, instead of a token.")] = "",
    config: Annotated[Path | None, Option(help="File with a JoinConfiguration (kubeadm.k8s.io/v1beta4).")] = None,
    node_name: Annotated[str, Option(help="Name of this node. [the host name]")] = "",
    node_address: Annotated[str | None, Option(help="Address of this node. [of the default route]")] = None,
    kubelet_port: Annotated[int | None, Option(help="Port of the node's own API. [10250]")] = None,
    dns_port: Annotated[int | None, Option(help="Port of the node's DNS server. [10053]")] = None,
    kubelet_config: Annotated[str | None, Option(help="File with a KubeletConfiguration.")] = None,
    cloud_provider: Annotated[
        str | None, Option(help="external: pods come once a cloud-controller-manager has found the machine.")
    ] = None,
    runtime: Annotated[str | None, Option(help="OCI runtime below containerd: runc or crun. [runc]")] = None,
    control_plane: Annotated[
        bool, Option("--control-plane", help="Make it a control plane too, with a member of etcd.")
    ] = False,
    certificate_key: Annotated[
        str, Option(help="Key of the control plane's certificates that `upload-certs` put into the cluster.")
    ] = "",
    advertise_address: Annotated[
        str, Option("--apiserver-advertise-address", help="Address of its API server. [of the default route]")
    ] = "",
    bind_port: Annotated[int, Option("--apiserver-bind-port", help="Port of its API server. [as the others']")] = 0,
    kubernetes_dir: Annotated[
        str, Option(help="Where kubeconfigs and pki go. [/etc/kubernetes for the cluster 'default']")
    ] = "",
    cri_socket: Annotated[str, Option(help="Without effect: the node has a containerd of its own.")] = "",
    ignore: Annotated[
        list[str] | None,
        Option("--ignore-preflight-errors", help="Checks whose errors are warnings, or all; separated by commas."),
    ] = None,
    skip_phases: Annotated[
        list[str] | None, Option(help="Phases to leave out, as preflight, separated by commas.")
    ] = None,
    node_labels: Annotated[
        str | None, Option(help="Labels that the Node is given when it is made, as disk=ssd,rack=7.")
    ] = None,
    dry_run: Annotated[bool, Option("--dry-run", help="Ask for no certificate and write nothing.")] = False,
    name: Name = DEFAULT_NAME,
    timeout: Annotated[
        float,
        Option(min=1, help="Seconds until the start is given up, and, below 30, the search.", show_default=False),
    ] = 60,
) -> None:
    """Make this machine a node of a cluster, and start it.

    It runs phase by phase: `sampan join phase` lists them, `sampan join phase NAME` runs one (docs/machines.md).

    `sampan token create --print-join-command`, where the control plane is, prints the whole command.
    """
    import asyncio

    from sampan.api.clock import SystemClock
    from sampan.cluster import instance as instances
    from sampan.cluster.choosing import Given
    from sampan.cluster.initializing import phases
    from sampan.cluster.joining import wanted as wishes
    from sampan.cluster.joining import worker

    if words == ["phase"]:
        print(f"Phases of join:\n{phases.help_text(phases.JOIN_PHASES)}")
        return
    alone, endpoint = _phase(words or [])
    control = wishes.ControlPlane(certificate_key, advertise_address, bind_port)
    if not control_plane and control != wishes.ControlPlane():
        raise WrongUsage(
            "--certificate-key and --apiserver-* are for a control plane", fix="add --control-plane, or leave them out"
        )
    told = wishes.Wanted(
        endpoint=endpoint,
        token=discovery_token or token,
        bootstrap_token=bootstrap_token or token,
        pins=tuple(ca_cert_hash or ()),
        unsafe=unsafe,
        discovery_file=discovery_file,
        control_plane=control if control_plane else None,
        node_name=node_name,
        ignored=wishes.listed(ignore or ()),
        skipped_phases=wishes.listed(skip_phases or ()),
        dry_run=dry_run,
    )
    options: dict[str, Any] = {
        "--node-address": node_address,
        "--kubelet-port": kubelet_port,
        "--dns-port": dns_port,
        "--runtime": runtime,
        "--cloud-provider": cloud_provider,
        "--node-labels": node_labels,
        "--kubelet-config": str(Path(kubelet_config).absolute()) if kubelet_config else None,
    }
    given = Given({option: value for option, value in options.items() if value is not None})
    named = instances.nameless(name)
    if kubernetes_dir:
        node = dataclasses.replace(named.node, kubernetes_dir=str(Path(kubernetes_dir).absolute()))
        named = dataclasses.replace(named, node=node)
    with steps() as progress:
        if config is not None:
            told = _with_file(wishes.read(config), told)
        if cri_socket:
            progress.warn("--cri-socket has no effect: the node has a containerd of its own")
        for text in told.without_effect:
            progress.warn(f"{config}: without effect here: {text}")
        told = dataclasses.replace(told, discovery_seconds=min(told.discovery_seconds, timeout))
        run = worker.Joining(
            named, told, given, SystemClock(), progress, timeout_seconds=timeout, alone=alone is not None
        )
        steps_of = [alone] if alone else phases.plan_all(told.skipped_phases, phases.JOIN_PHASES)
        made = asyncio.run(run.run(steps_of))
    if told.dry_run:
        print(f"Dry run: node {made.node.name!r} would join; nothing was asked for or written.")
        return
    if alone is not None:
        print(f"[{alone.phase}] Done; `sampan join phase` lists what may come next.")
        return
    if told.control_plane is not None:
        print(
            "\nThis node has joined the cluster and a new control plane instance was created.\n"
            f"Its administrator's kubeconfig is {Path(made.node.kubernetes_dir) / 'admin.conf'}; the Node is "
            f"{made.node.name!r}.\nRun 'kubectl get nodes' to see this node join the cluster."
        )
        return
    print(
        f"\nThis node has joined the cluster as {made.node.name!r}.\n"
        "Run 'kubectl get nodes' on the control-plane to see this node join the cluster."
    )


def _phase(words: list[str]) -> tuple[Step | None, str]:
    """The one that is to run by itself, and the address. Raises WrongUsage."""
    from sampan.cluster.initializing import phases

    if words[:1] != ["phase"]:
        if len(words) > 1:
            raise WrongUsage(f"join: {words[1]!r} is one word too many", fix="give one address, HOST:PORT")
        return None, words[0] if words else ""
    rest = words[1:]
    known = next((each for each in phases.JOIN_PHASES if each.name == rest[0]), None)
    names = {phases.ALL, *(known.parts if known else ())} if known is not None and known.parts else set()
    count = 2 if len(rest) > 1 and rest[1] in names else 1
    step = phases.plan_one(rest[:count], phases.JOIN_PHASES, "join")
    if len(rest) > count + 1:
        raise WrongUsage(f"join phase: {rest[count + 1]!r} is one word too many", fix="give one address, HOST:PORT")
    return step, rest[count] if len(rest) > count else ""


def _with_file(kept: Wanted, told: Wanted) -> Wanted:
    """What the file says, and of options those that may stand beside one, as kubeadm has it. Raises WrongUsage."""
    beside = ("node_name", "ignored", "dry_run", "control_plane", "skipped_phases")
    for field in dataclasses.fields(told):
        if field.name not in beside and getattr(told, field.name) != field.default:
            raise WrongUsage(
                f"can not mix '--config' with arguments [{field.name.replace('_', '-')}]",
                fix="say it in the file, or leave --config out",
            )
    return dataclasses.replace(
        kept,
        node_name=told.node_name or kept.node_name,
        control_plane=told.control_plane or kept.control_plane,
        ignored=(*kept.ignored, *told.ignored),
        skipped_phases=told.skipped_phases or kept.skipped_phases,
        dry_run=told.dry_run or kept.dry_run,
    )
