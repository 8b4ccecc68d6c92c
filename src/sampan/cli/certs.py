"""``sampan certs``: when certificates of a control plane end, and new ones."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from sampan.cli.commands import Argument, Group, Option
from sampan.cli.options import Name, Output, with_control_plane
from sampan.cluster.errors import ClusterError
from sampan.cluster.settings import DEFAULT_NAME

if TYPE_CHECKING:
    from sampan.cluster.instance import Instance

CertDir = Annotated[str, Option("--cert-dir", help="Accepted where it is this cluster's; another one is refused.")]

app = Group("Certificates of a control plane: when they end, and new ones.")


@app.command("check-expiration")
def check_expiration(
    cert_dir: CertDir = "",
    config: Annotated[Path | None, Option(help="Accepted, as kubeadm has it: nothing of it is needed.")] = None,
    kubeconfig: Annotated[Path | None, Option(help="The same.")] = None,
    output: Output = "",
    name: Name = DEFAULT_NAME,
) -> None:
    """Show when each certificate ends, and who signs it."""
    from sampan.api.clock import SystemClock, format_time
    from sampan.cli import options
    from sampan.cluster.initializing import renewing

    instance = _instance(name, cert_dir)
    show = options.printer(output)
    certificates, authorities = renewing.known(instance), renewing.authorities(instance)
    now = SystemClock().now()
    if show is None:
        print(renewing.table(certificates, authorities, now))
        return

    def told(each: renewing.Known) -> dict[str, object]:
        ends = {} if each.ends is None else {
            "expirationDate": format_time(each.ends),
            "residualTimeSeconds": int((each.ends - now).total_seconds()),
        }  # fmt: skip
        signer = {"caName": each.authority} if each.authority else {}
        return {"name": each.name, "missing": each.ends is None, "externallyManaged": each.external} | ends | signer

    show({
        "apiVersion": "output.kubeadm.k8s.io/v1alpha3",
        "kind": "CertificateExpirationInfo",
        "certificates": [told(each) for each in certificates],
        "certificateAuthorities": [told(each) for each in authorities],
    })  # fmt: skip


@app.command()
def renew(
    certificate: Annotated[str, Argument(metavar="all|NAME", help="Which one, by the name of check-expiration.")],
    cert_dir: CertDir = "",
    config: Annotated[Path | None, Option(help="Accepted, as kubeadm has it: nothing of it is needed.")] = None,
    kubeconfig: Annotated[Path | None, Option(help="The same.")] = None,
    name: Name = DEFAULT_NAME,
) -> None:
    """Make a certificate anew, or all of them; the programs take them up while they run."""
    from sampan.api.clock import SystemClock
    from sampan.cluster import machine
    from sampan.cluster.initializing import renewing

    instance = _instance(name, cert_dir)
    if instance.node.runs_containers:
        machine.require_root("sampan certs renew")
    renewing.renew(instance, certificate, SystemClock(), print)
    if certificate == renewing.ALL:
        print("\nDone renewing certificates. The programs take them up within seconds: nothing needs to be restarted.")


@app.command("certificate-key")
def certificate_key() -> None:
    """Print a random key for `sampan init --certificate-key`."""
    import os

    from sampan.cluster.initializing import certificates

    print(certificates.new_key(os.urandom))


@app.command("generate-csr")
def generate_csr(
    cert_dir: Annotated[str, Option(help="Where keys and requests go.")] = "/etc/kubernetes/pki",
    kubeconfig_dir: Annotated[
        str, Option(help="Where those of kubeconfigs go. [/etc/kubernetes]", show_default=False)
    ] = "/etc/kubernetes",
    config: Annotated[Path | None, Option(help="File with a ClusterConfiguration: names and addresses.")] = None,
    name: Name = DEFAULT_NAME,
) -> None:
    """Make keys and requests of all certificates, for a CA whose key is elsewhere.

    Put what it signs beside them as NAME.crt, with the CA's ca.crt, and `sampan init` uses them.
    """
    import dataclasses

    from sampan.cluster import instance as instances
    from sampan.cluster import kubernetesdir, pki
    from sampan.cluster import up as starting
    from sampan.cluster.choosing import Given
    from sampan.cluster.initializing import configuration, documents, phases, renewing

    named = instances.nameless(name)
    wanted = documents.configuration(documents.load(config)) if config else configuration.Configuration()
    given = Given(configuration.options(wanted))
    settings = given.cluster(configuration.settings(wanted, named.cluster))
    node = given.node(dataclasses.replace(named.node, kubernetes_dir=kubeconfig_dir))
    instance = starting.complete(dataclasses.replace(named, cluster=settings, node=node))
    leaves = pki.leaves(instance)
    of_pki = [leaf for leaf in leaves if leaf.stem in phases.CERTIFICATES]
    of_kubeconfigs = {config.stem: config.file for config in kubernetesdir.configs(instance)}
    others = [
        dataclasses.replace(leaf, stem=of_kubeconfigs[leaf.stem]) for leaf in leaves if leaf.stem in of_kubeconfigs
    ]
    for path in (
        *renewing.requests(instance, of_pki, Path(cert_dir)),
        *renewing.requests(instance, others, Path(kubeconfig_dir)),
    ):
        print(path)


def control_plane(name: str) -> Instance:
    """Raises ClusterError: it is not on this machine."""
    return with_control_plane(name, "; a node renews its certificates by itself")


def _instance(name: str, cert_dir: str) -> Instance:
    """Raises ClusterError."""
    from sampan.cluster import kubernetesdir

    instance = control_plane(name)
    own = kubernetesdir.pki_directory(instance)
    if cert_dir and Path(cert_dir).absolute() != own:
        raise ClusterError(f"--cert-dir {cert_dir}: the certificates of cluster {name!r} are in {own}")
    return instance
