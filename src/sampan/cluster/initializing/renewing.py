"""What ``sampan certs`` knows of a control plane's certificates: names, ends, authorities, requests. Thin over ``pki``.

Names are kubeadm's: of files of the pki directory, of etcd's with a dash, and of kubeconfigs by their file.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from sampan.api.clock import Clock
from sampan.api.humanize import short_human_duration
from sampan.client.kubeconfig import Connection, KubeConfig
from sampan.cluster import kubernetesdir, pki, renewal
from sampan.cluster import up as starting
from sampan.cluster.errors import ClusterError
from sampan.cluster.initializing.texts import columns
from sampan.cluster.instance import Instance
from sampan.cluster.pki import Leaf
from sampan.records import dataclass

#: kubeadm's long names, in its order
LONG_NAMES = {
    "admin.conf": "certificate embedded in the kubeconfig file for the admin to use and for kubeadm itself",
    "apiserver": "certificate for serving the Kubernetes API",
    "apiserver-etcd-client": "certificate the apiserver uses to access etcd",
    "apiserver-kubelet-client": "certificate for the API server to connect to kubelet",
    "controller-manager.conf": "certificate embedded in the kubeconfig file for the controller manager to use",
    "etcd-healthcheck-client": "certificate for liveness probes to healthcheck etcd",
    "etcd-peer": "certificate for etcd nodes to communicate with each other",
    "etcd-server": "certificate for serving etcd",
    "front-proxy-client": "certificate for the front proxy client",
    "scheduler.conf": "certificate embedded in the kubeconfig file for the scheduler manager to use",
    "super-admin.conf": "certificate embedded in the kubeconfig file for the super-admin",
}
#: who signs them, where it is not the cluster's CA
_AUTHORITIES = {
    "apiserver-etcd-client": "etcd-ca",
    "etcd-healthcheck-client": "etcd-ca",
    "etcd-peer": "etcd-ca",
    "etcd-server": "etcd-ca",
    "front-proxy-client": "front-proxy-ca",
}
_AUTHORITY_FILES = {"ca": "ca", "etcd-ca": "etcd/ca", "front-proxy-ca": "front-proxy-ca"}
#: of kubeadm's kubeconfigs, the stem of the certificate that they carry
_STEMS = {"admin.conf": "admin"} | {f"{stem}.conf": stem for stem in ("controller-manager", "scheduler", "super-admin")}
#: which a cluster of ``up`` does not have
_OF_KUBERNETES_DIR = ("controller-manager.conf", "scheduler.conf", "super-admin.conf")
ALL = "all"


@dataclass(frozen=True, slots=True)
class Known:
    """``ends`` None: there is none."""

    name: str
    authority: str
    ends: datetime | None
    #: the CA's key is somebody else's
    external: bool


def stem_of(name: str) -> str:
    """Below the instance's pki directory."""
    if name in _STEMS:
        return _STEMS[name]
    return f"etcd/{name.removeprefix('etcd-')}" if name.startswith("etcd-") else name


def names(instance: Instance) -> list[str]:
    """Those that this control plane has, or should have."""
    has_etcd = (instance.pki / "etcd" / "ca.crt").exists()
    has_parts = bool(instance.node.kubernetes_dir)
    return [
        name
        for name in LONG_NAMES
        if (has_etcd or _AUTHORITIES.get(name) != "etcd-ca") and (has_parts or name not in _OF_KUBERNETES_DIR)
    ]


def known(instance: Instance) -> list[Known]:
    """Raises ClusterError for a file that is no certificate."""
    found = []
    for name in names(instance):
        authority = _AUTHORITIES.get(name, "ca")
        key = instance.pki / f"{_AUTHORITY_FILES[authority]}.key"
        found.append(Known(name, authority, _ends(instance.pki / f"{stem_of(name)}.crt"), not key.exists()))
    return found


def authorities(instance: Instance) -> list[Known]:
    """Raises ClusterError."""
    found = []
    for name, stem in _AUTHORITY_FILES.items():
        path = instance.pki / f"{stem}.crt"
        if name != "etcd-ca" or path.exists():
            found.append(Known(name, "", _ends(path), not path.with_suffix(".key").exists()))
    return found


def _ends(path: Path) -> datetime | None:
    """Raises ClusterError."""
    try:
        return x509.load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise ClusterError(
            f"{path} cannot be read as a certificate: {error}", fix="take it away: `sampan certs renew` makes another"
        ) from error


def table(certificates: Sequence[Known], signers: Sequence[Known], now: datetime) -> str:
    """``check-expiration``. Pure."""

    def row(each: Known) -> tuple[str, str, str]:
        if each.ends is None:
            return f"!MISSING! {each.name}", "", ""
        return (
            each.name,
            each.ends.strftime("%b %d, %Y %H:%M UTC"),
            short_human_duration((each.ends - now).total_seconds()),
        )

    first = [("CERTIFICATE", "EXPIRES", "RESIDUAL TIME", "CERTIFICATE AUTHORITY", "EXTERNALLY MANAGED")]
    first += [(*row(each), *(("", "") if each.ends is None else (each.authority, _yes(each)))) for each in certificates]
    second = [("CERTIFICATE AUTHORITY", "EXPIRES", "RESIDUAL TIME", "EXTERNALLY MANAGED")]
    second += [(*row(each), "" if each.ends is None else _yes(each)) for each in signers]
    return f"{columns(first)}\n\n{columns(second)}"


def _yes(each: Known) -> str:
    return "yes" if each.external else "no"


def renew(instance: Instance, wanted: str, clock: Clock, say: Callable[[str], None]) -> None:
    """One by kubeadm's name, or ``all``: made anew, whenever it ends, and told to those who carry it. Who uses it takes
    it up while it runs. Raises ClusterError."""
    there = names(instance)
    if wanted not in (ALL, *there):
        raise ClusterError(f"there is no certificate {wanted!r}", fix=f"one of {', '.join((ALL, *there))}")
    leaves = {leaf.stem: leaf for leaf in pki.leaves(instance)}
    with starting.writing(instance):
        kubernetesdir.link_pki(instance)
        signers = pki.ensure_authorities(instance, clock)
        for name in there if wanted == ALL else [wanted]:
            leaf = leaves.get(stem_of(name))
            if leaf is None:
                say(f"MISSING! {LONG_NAMES[name]}")
                continue
            authority = signers[leaf.authority]
            if authority.key is None:
                signer = _AUTHORITIES.get(name, "ca")
                say(f"Detected external {signer}, {LONG_NAMES[name]} can't be renewed")
                continue
            pki.ensure_leaf(instance, leaf, authority, clock, anew=True)
            say(f"{LONG_NAMES[name]} renewed")
        if wanted == ALL:  # a node's own, which kubeadm leaves to the kubelet
            for leaf in pki.node_leaves(instance.node.name, instance.node.addresses):
                if instance.node.runs_containers and signers[leaf.authority].key is not None:
                    pki.ensure_leaf(instance, leaf, signers[leaf.authority], clock, anew=True)
        renewal.spread(instance)


def user_kubeconfig(
    instance: Instance, name: str, groups: Sequence[str], token: str, life_seconds: float, clock: Clock
) -> str:
    """A kubeconfig for one more user: with a token that he has already, or a certificate that is made for him. Raises
    ClusterError."""
    server = f"https://{instance.advertised}"
    ca_pem = (instance.pki / "ca.crt").read_bytes()
    if token:
        identity = Connection(server, ca_pem=ca_pem, token=token)
    else:
        authority = pki.ensure_authorities(instance, clock)[pki.CLUSTER]
        leaf, life = Leaf("user", name, tuple(groups)), timedelta(seconds=life_seconds)
        with tempfile.TemporaryDirectory(prefix="sampan-") as made:
            place = Path(made)
            pki.issue(place, leaf, authority, clock.now(), life, pki.Making())
            pem = [(place / f"user.{part}").read_bytes() for part in ("crt", "key")]
        identity = Connection(server, ca_pem=ca_pem, client_certificate_pem=pem[0], client_key_pem=pem[1])
    content = KubeConfig.build(kubernetesdir.CLUSTER_NAME, name, identity).content
    import yaml  # late: libyaml

    text: str = yaml.safe_dump(content, sort_keys=False)
    return text


def requests(instance: Instance, leaves: Iterable[Leaf], place: Path) -> list[Path]:
    """A key and a request (PKCS#10) for each: for who has the CA's key. A key that is there is used. Raises
    ClusterError."""
    written = []
    with starting.writing(instance):
        place.mkdir(parents=True, exist_ok=True, mode=0o700)
        for leaf in leaves:
            key = _key(place / f"{leaf.stem}.key")
            builder = x509.CertificateSigningRequestBuilder().subject_name(
                pki.subject(leaf.common_name, leaf.organizations)
            )
            if leaf.hosts:
                builder = builder.add_extension(
                    x509.SubjectAlternativeName([pki.general_name(host) for host in dict.fromkeys(leaf.hosts)]),
                    critical=False,
                )
            path = place / f"{leaf.stem}.csr"
            path.write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
            written.append(path)
    return written


def _key(path: Path) -> ec.EllipticCurvePrivateKey:
    """Raises ClusterError for one that is there and is none of ours."""
    if path.exists():
        try:
            found = serialization.load_pem_private_key(path.read_bytes(), None)
        except ValueError as error:
            raise ClusterError(f"{path} is no key: {error}", fix="take it away, and another one is made") from None
        if isinstance(found, ec.EllipticCurvePrivateKey):
            return found
        raise ClusterError(f"{path} is no key of ECDSA", fix="name another directory with --cert-dir")
    made = ec.generate_private_key(ec.SECP256R1())
    pem = made.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    path.touch(mode=0o600)
    path.write_bytes(pem)
    return made
