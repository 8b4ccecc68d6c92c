"""``sampan init``: this machine becomes a control plane that others join, as kubeadm makes one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from sampan.cli.commands import Argument, Group, Option
from sampan.cli.options import Name
from sampan.cli.progress import steps
from sampan.cluster.errors import ClusterError, WrongUsage
from sampan.cluster.settings import DEFAULT_NAME

if TYPE_CHECKING:
    from sampan.cluster.initializing.configuration import Configuration
    from sampan.cluster.instance import Instance

ConfigFile = Annotated[
    Path | None,
    Option("--config", help="File with kubeadm's configuration (kubeadm.k8s.io/v1beta4 or v1beta3), for the flags."),
]
IgnoreChecks = Annotated[
    list[str] | None,
    Option("--ignore-preflight-errors", help="Checks whose errors are warnings, separated by commas, or all."),
]
FeatureGates = Annotated[str, Option("--feature-gates", help="Gates of kubeadm itself: told, and without effect.")]


def add_to(app: Group) -> None:
    app.command()(init)


def init(
    words: Annotated[
        list[str] | None,
        Argument(metavar="phase NAME [PART]", help="Run one phase by itself; `phase` alone lists them."),
    ] = None,
    apiserver_advertise_address: Annotated[
        str, Option(help="Address at which others reach the API server. [of the default route]")
    ] = "",
    apiserver_bind_port: Annotated[int | None, Option(help="Its port. [6443]")] = None,
    apiserver_cert_extra_sans: Annotated[
        list[str] | None, Option(help="Further names and addresses in its certificate, separated by commas.")
    ] = None,
    cert_dir: Annotated[str, Option(help="Where certificates are. [pki in the directory of the kubeconfigs]")] = "",
    certificate_key: Annotated[str, Option(help="Key that the certificates are encrypted with. [a random one]")] = "",
    config: ConfigFile = None,
    control_plane_endpoint: Annotated[
        str, Option(help="One address for all control planes: a name or address, and :port.")
    ] = "",
    cri_socket: Annotated[str, Option(help="Without effect: each node has a containerd of its own.")] = "",
    dry_run: Annotated[bool, Option("--dry-run", help="Say what would be done, and change nothing.")] = False,
    feature_gates: FeatureGates = "",
    ignore_preflight_errors: IgnoreChecks = None,
    image_repository: Annotated[
        str, Option(help="Without effect: the control plane needs no image. For pods: docs/images.md.")
    ] = "",
    kubernetes_version: Annotated[str, Option(help="Refused when it is not the release that this is.")] = "",
    node_name: Annotated[str, Option(help="Name of this node. [the host name]")] = "",
    patches: Annotated[str, Option(help="Without effect: there are no manifests of static pods.")] = "",
    pod_network_cidr: Annotated[
        str, Option(help="Range of pods' addresses, or one of each family: A,B. [10.244.0.0/14]")
    ] = "",
    service_cidr: Annotated[str, Option(help="Range of Services' addresses, the same way. [10.96.0.0/16]")] = "",
    service_dns_domain: Annotated[str, Option(help="Domain of Services' names. [cluster.local]")] = "",
    skip_certificate_key_print: Annotated[
        bool, Option("--skip-certificate-key-print", help="Do not print the key of the certificates.")
    ] = False,
    skip_phases: Annotated[
        list[str] | None, Option(help="Phases to leave out, as addon or certs/sa, separated by commas.")
    ] = None,
    skip_token_print: Annotated[bool, Option("--skip-token-print", help="Do not print the token.")] = False,
    token: Annotated[str, Option(help="Token with which machines join. [a random one]")] = "",
    token_ttl: Annotated[str, Option(help="How long it is good, as 1h; 0: for ever. [24h]")] = "",
    upload_certs: Annotated[
        bool, Option("--upload-certs", help="Put the certificates into the cluster, encrypted, for control planes.")
    ] = False,
    store: Annotated[str, Option(help="Where the cluster's objects are: sqlite, etcd or etcd://HOST:PORT,...")] = "",
    kubelet_port: Annotated[int | None, Option(help="Port of the node's own API. [10250]")] = None,
    dns_port: Annotated[int | None, Option(help="Port of the node's DNS server. [10053]")] = None,
    runtime: Annotated[str, Option(help="OCI runtime below containerd: runc or crun. [runc]")] = "",
    cni_conf_dir: Annotated[str, Option(help="Directory with the CNI configuration of another pod network.")] = "",
    kubernetes_dir: Annotated[
        str, Option(help="Where kubeconfigs and pki go. [/etc/kubernetes for the cluster 'default']")
    ] = "",
    name: Name = DEFAULT_NAME,
    timeout: Annotated[float, Option(min=1, help="Seconds until it is given up. [240]", show_default=False)] = 240.0,
) -> None:
    """Make this machine a control plane that others join.

    It runs phase by phase: `sampan init phase` lists them, `sampan init phase NAME` runs one. Flags, phases, files and
    objects in the cluster are those of kubeadm init; what has no meaning here is told (docs/kubeadm.md).
    """
    import asyncio

    from sampan.api.clock import SystemClock, SystemRandom
    from sampan.cluster import instance as instances
    from sampan.cluster.initializing import phases, running

    if words and words[0] != "phase":
        raise WrongUsage(f"init: {words[0]!r} is not known", fix="`sampan init phase NAME` runs one phase")
    if words == ["phase"]:
        print(f"Phases of init:\n{phases.help_text()}")
        return
    flags: dict[str, Any] = {
        "apiserver-advertise-address": apiserver_advertise_address,
        "apiserver-bind-port": apiserver_bind_port,
        "apiserver-cert-extra-sans": _split(apiserver_cert_extra_sans),
        "cert-dir": cert_dir,
        "control-plane-endpoint": control_plane_endpoint,
        "feature-gates": feature_gates,
        "image-repository": image_repository,
        "kubernetes-version": kubernetes_version,
        "pod-network-cidr": pod_network_cidr,
        "service-cidr": service_cidr,
        "service-dns-domain": service_dns_domain,
        "token": token,
        "token-ttl": token_ttl,
        "store": store,
    }
    beside: dict[str, Any] = {
        "certificate-key": certificate_key,
        "cri-socket": cri_socket,
        "node-name": node_name,
        "patches": patches,
        "ignore-preflight-errors": ignore_preflight_errors,
        "skip-phases": _split(skip_phases),
    }
    named = instances.nameless(name)
    alone = phases.plan_one(words[1:]) if words else None
    wanted = configuration(named, config, flags, beside, again=alone is not None)
    options = {
        "--kubelet-port": kubelet_port,
        "--dns-port": dns_port,
        "--runtime": runtime,
        "--cni-conf-dir": str(Path(cni_conf_dir).absolute()) if cni_conf_dir else "",
    }
    how = running.How(
        kubernetes_dir=str(Path(kubernetes_dir).absolute()) if kubernetes_dir else "",
        upload_certs=upload_certs,
        skip_token_print=skip_token_print,
        skip_key_print=skip_certificate_key_print,
        dry_run=dry_run or wanted.dry_run,
        timeout_seconds=timeout,
        program=program(),
        options=tuple((option, value) for option, value in options.items() if value),
    )
    with steps() as progress:

        def say(text: str) -> None:
            progress.done()
            print(text, flush=True)

        run = running.Initializing(named, wanted, how, SystemClock(), SystemRandom(), progress, say)
        asyncio.run(run.run([alone] if alone else phases.plan_all(wanted.skip_phases), alone=alone is not None))


def configuration(
    named: Instance, config: Path | None, flags: dict[str, Any], beside: dict[str, Any], *, again: bool
) -> Configuration:
    """``flags`` say what a file says too and may not stand beside one; ``beside`` may. ``again``: what the instance was
    made with counts where nothing else is given. Raises ClusterError, WrongUsage."""
    import dataclasses

    from sampan.api import durations
    from sampan.cluster.initializing import documents, preflight, running
    from sampan.cluster.initializing.configuration import Configuration

    given = [name for name, value in flags.items() if value not in ("", None, ())]
    if config is not None:
        if given and given != ["store"]:
            raise WrongUsage(
                f"can not mix '--config' with arguments [{' '.join(given)}]",
                fix="say it in the file, or leave --config out",
            )
        wanted = documents.configuration(documents.load(config))
    else:
        wanted = (running.kept_configuration(named) if again else None) or Configuration()
    address = flags["apiserver-advertise-address"]
    changes: dict[str, Any] = {
        "advertise_address": "" if address in ("0.0.0.0", "::") else address,
        "bind_port": flags["apiserver-bind-port"],
        "cert_sans": flags["apiserver-cert-extra-sans"],
        "cert_dir": str(Path(flags["cert-dir"]).absolute()) if flags["cert-dir"] else "",
        "control_plane_endpoint": flags["control-plane-endpoint"],
        "feature_gates": _gates(flags["feature-gates"]),
        "image_repository": flags["image-repository"],
        "kubernetes_version": flags["kubernetes-version"],
        "pod_subnet": flags["pod-network-cidr"],
        "service_subnet": flags["service-cidr"],
        "dns_domain": flags["service-dns-domain"],
        "store": flags["store"],
        "certificate_key": beside["certificate-key"],
        "cri_socket": beside["cri-socket"],
        "node_name": beside["node-name"],
        "patches": beside["patches"],
        "ignored_checks": preflight.check_ignored(beside["ignore-preflight-errors"] or ()),
        "skip_phases": beside["skip-phases"],
    }
    if flags["token"] or flags["token-ttl"]:
        wish = wanted.tokens[0]
        try:
            ttl = durations.parse(flags["token-ttl"]) if flags["token-ttl"] else wish.ttl_seconds
        except ValueError as error:
            raise WrongUsage(f"--token-ttl: {error}", fix="write it like 24h, 30m or 0") from None
        changes["tokens"] = (dataclasses.replace(wish, token=flags["token"] or wish.token, ttl_seconds=ttl),)
    return dataclasses.replace(
        wanted, **{name: value for name, value in changes.items() if value not in ("", None, ())}
    )


def program() -> str:
    """The name that was typed: commands that are printed begin with it."""
    import sys

    return "kubeadm" if Path(sys.argv[0]).name == "kubeadm" or sys.argv[1:2] == ["kubeadm"] else "sampan"


def _split(texts: list[str] | None) -> tuple[str, ...]:
    return tuple(filter(None, (part.strip() for text in texts or () for part in text.split(","))))


def _gates(text: str) -> tuple[tuple[str, bool], ...]:
    found = []
    for part in filter(None, text.split(",")):
        name, _, value = part.partition("=")
        if value.lower() not in ("true", "false"):
            raise ClusterError(f"--feature-gates: {part!r} is not valid", fix="write it like A=true,B=false")
        found.append((name, value.lower() == "true"))
    return tuple(found)
