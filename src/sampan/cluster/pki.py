"""The cluster's certificates and keys, in kubeadm's layout and names, kept valid by reissuing.

``ensure`` makes what is missing and reissues what runs out soon or names other addresses; it never touches the CA or
the ServiceAccount key once they exist. Keys are ECDSA P-256, quick to make and small on the wire; CAs may have others.
Sources: kubeadm "PKI certificates and requirements"; RFC 5280.
"""

from __future__ import annotations

import datetime
import ipaddress
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from sampan.api.clock import Clock, Random
from sampan.cluster.errors import ClusterError
from sampan.cluster.instance import Instance
from sampan.records import dataclass

#: A leaf is reissued when less than this part of its life is left: of a year, three months.
RENEW_PART = 90 / 365
#: Certificates begin a little in the past: clocks of machines differ.
BACKDATE = datetime.timedelta(minutes=5)

PrivateKey = ec.EllipticCurvePrivateKey
#: of a CA that somebody else made
AuthorityKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

#: who signs for the cluster, and who for the front proxy alone: stems of their files
CLUSTER, FRONT_PROXY, ETCD = "ca", "front-proxy-ca", "etcd/ca"
#: whose word extension API servers, and this one, take for who asks
FRONT_PROXY_NAME = "front-proxy-client"


@dataclass(frozen=True, slots=True)
class Leaf:
    """One certificate to have: file stem, subject and use. ``hosts`` are DNS names and addresses of a server."""

    stem: str
    common_name: str
    organizations: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    server: bool = False
    client: bool = True
    authority: str = CLUSTER


@dataclass(frozen=True, slots=True)
class Authority:
    """``key`` None: it is somebody else's, who signs what this CA is to have signed (kubeadm's external CA)."""

    certificate: x509.Certificate
    key: AuthorityKey | None
    pem: bytes


@dataclass(frozen=True, slots=True)
class Lives:
    """How long certificates are valid, and what keys CAs have."""

    leaf: datetime.timedelta
    authority: datetime.timedelta
    #: of CAs' keys
    algorithm: str = "ECDSA-P256"
    #: A CA may be here without its key: who has that signs elsewhere (kubeadm's external CA).
    keyless: bool = False

    @classmethod
    def of(cls, instance: Instance) -> Lives:
        cluster = instance.cluster
        return cls(
            datetime.timedelta(seconds=cluster.certificate_seconds),
            datetime.timedelta(seconds=cluster.ca_certificate_seconds),
            cluster.encryption_algorithm,
            bool(instance.node.kubernetes_dir),
        )


def leaves(instance: Instance) -> list[Leaf]:
    """Every certificate of a one-machine cluster."""
    cluster, node = instance.cluster, instance.node
    domain = cluster.cluster_domain
    api_hosts = (
        "localhost",
        node.name,
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        f"kubernetes.default.svc.{domain}",
        cluster.kubernetes_ip,
        "127.0.0.1",
        *filter(None, [*node.addresses, cluster.api_address]),
        *([cluster.endpoint[0]] if cluster.endpoint else []),
        *cluster.extra_sans,
        *(("::1",) if 6 in cluster.families else ()),
    )
    return [
        Leaf("apiserver", "kube-apiserver", hosts=api_hosts, server=True, client=False),
        Leaf("apiserver-kubelet-client", "kube-apiserver-kubelet-client", ("system:masters",)),
        Leaf("admin", "kubernetes-admin", ("kubeadm:cluster-admins",)),
        *node_leaves(node.name, node.addresses),
        Leaf("front-proxy-client", FRONT_PROXY_NAME, authority=FRONT_PROXY),
        *(_OF_KUBERNETES_DIR if node.kubernetes_dir else ()),
        *(etcd_leaves(instance) if cluster.manages_etcd else ()),
        *(endpoint_leaves(instance) if node.etcd_endpoint else ()),
        *_simulated(node.simulated_count),
    ]


def etcd_leaves(instance: Instance) -> list[Leaf]:
    """Of a member towards its clients and the other members, of the API server as a client, and of who asks whether it
    is well; as kubeadm names them. A machine without a member has what its control plane needs."""
    node = instance.node
    client = Leaf("apiserver-etcd-client", "kube-apiserver-etcd-client", authority=ETCD)
    if not node.runs_etcd:
        return [client]
    hosts = ("localhost", node.name, "127.0.0.1", "::1", *node.addresses)
    return [
        client,
        Leaf("etcd/healthcheck-client", "kube-etcd-healthcheck-client", authority=ETCD),
        *(
            Leaf(f"etcd/{stem}", node.name, hosts=hosts, server=True, client=True, authority=ETCD)
            for stem in ("server", "peer")
        ),
    ]


def endpoint_leaves(instance: Instance) -> list[Leaf]:
    """Of what serves a SQLite store as etcd would, at the places of a member's, and of who asks it."""
    node = instance.node
    hosts = ("localhost", node.name, "127.0.0.1", "::1", *node.addresses, *_listens(node.etcd_endpoint))
    return [
        Leaf("etcd/healthcheck-client", "kube-etcd-healthcheck-client", authority=ETCD),
        Leaf("etcd/server", node.name, hosts=hosts, server=True, client=True, authority=ETCD),
    ]


def _listens(address: str) -> tuple[str, ...]:
    """None for every address of the machine: a client names one of them."""
    host = ipaddress.ip_address(address.rpartition(":")[0].strip("[]"))
    return () if host.is_unspecified else (str(host),)


def node_leaves(name: str, addresses: Sequence[str]) -> list[Leaf]:
    """As a client of the API, as its network part, as what serves Ingresses, and as the server of its own API."""
    return [
        Leaf("kubelet-client", f"system:node:{name}", ("system:nodes",)),
        Leaf("network-client", "system:sampan:network", ("sampan:network",)),
        # As long as the kubelet's: a name of a certificate has 64 characters at most.
        Leaf("ingress-client", f"system:edge:{name}", ("sampan:ingress",)),
        Leaf(
            "kubelet",
            f"system:node:{name}",
            ("system:nodes",),
            hosts=(name, *(str(ipaddress.ip_address(each)) for each in addresses), "127.0.0.1"),
            server=True,
            client=False,
        ),
    ]


#: who speaks with the further kubeconfigs of /etc/kubernetes (``kubernetesdir``)
_OF_KUBERNETES_DIR = (
    Leaf("super-admin", "kubernetes-super-admin", ("system:masters",)),
    Leaf("controller-manager", "system:kube-controller-manager"),
    Leaf("scheduler", "system:kube-scheduler"),
)

#: in the PKI's directory of such a machine: the stem of a certificate that is to be asked for anew
RENEW_NOW = "renew-now"
#: what a machine with a node and no control plane has
NODE_FILES = ("ca.crt", *(f"{leaf.stem}.{part}" for leaf in node_leaves("", ()) for part in ("crt", "key")))


def _simulated(count: int) -> list[Leaf]:
    """The one that all simulated nodes of this machine show: their APIs share a socket, at an address each."""
    if not count:
        return []
    from sampan.node import hollow_addresses  # late: few clusters have such nodes

    hosts = tuple(hollow_addresses.loopback(address) for address in hollow_addresses.addresses(count))
    return [Leaf("simulated", "system:node:simulated", ("system:nodes",), hosts=hosts, server=True, client=False)]


class Making:
    """Where keys and numbers come from: the machine or, for clusters that are to be the same each time and that nobody
    has to be kept out of (``sampan.testing``), a seed."""

    def __init__(self, seed: Random | None = None) -> None:
        self._seed = seed
        #: of signatures (RFC 6979)
        self.deterministic = True if seed is not None else None

    def key(self) -> PrivateKey:
        if self._seed is None:
            return ec.generate_private_key(ec.SECP256R1())
        return ec.derive_private_key(1 + self._seed.getrandbits(255), ec.SECP256R1())

    def authority_key(self, algorithm: str) -> AuthorityKey:
        """Of a CA, as kubeadm names its algorithm. From a seed it is one of ECDSA P-256 always."""
        if self._seed is not None or algorithm == "ECDSA-P256":
            return self.key()
        if algorithm == "ECDSA-P384":
            return ec.generate_private_key(ec.SECP384R1())
        return rsa.generate_private_key(public_exponent=65537, key_size=int(algorithm.removeprefix("RSA-")))

    def serial(self) -> int:
        return x509.random_serial_number() if self._seed is None else 1 + self._seed.getrandbits(158)


def ensure(instance: Instance, clock: Clock, making: Making | None = None) -> Authority:
    """Makes the instance's PKI complete and current; returns the cluster's CA. Idempotent."""
    making = making or Making()
    directory = instance.pki
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    authorities = ensure_authorities(instance, clock, making)
    for leaf in leaves(instance):
        ensure_leaf(instance, leaf, authorities[leaf.authority], clock, making)
    ensure_account_key(instance, making)
    return authorities[CLUSTER]


def ensure_authorities(instance: Instance, clock: Clock, making: Making | None = None) -> dict[str, Authority]:
    """By the stem of their files. Raises ClusterError for one that is there and cannot be used."""
    now, making, lives = clock.now(), making or Making(), Lives.of(instance)
    authorities = {
        CLUSTER: _ensure_ca(instance.pki, CLUSTER, "kubernetes", None, now, lives, making),
        # What it signs can never be taken for a client of the cluster, so nothing may come between.
        FRONT_PROXY: _ensure_ca(instance.pki, FRONT_PROXY, "front-proxy-ca", 0, now, lives, making),
    }
    if instance.cluster.manages_etcd or instance.node.etcd_endpoint:
        (instance.pki / "etcd").mkdir(parents=True, exist_ok=True, mode=0o700)
        authorities[ETCD] = _ensure_ca(instance.pki, ETCD, "etcd-ca", None, now, lives, making)
    return authorities


def ensure_leaf(
    instance: Instance,
    leaf: Leaf,
    authority: Authority,
    clock: Clock,
    making: Making | None = None,
    *,
    anew: bool = False,
) -> bool:
    """Whether it was made: it was missing, is about to run out, names others; or ``anew`` was asked for."""
    now = clock.now()
    if not anew and _is_current(instance.pki, leaf, authority, now):
        return False
    issue(instance.pki, leaf, authority, now, Lives.of(instance).leaf, making or Making())
    return True


def ensure_account_key(instance: Instance, making: Making | None = None) -> bool:
    """What ServiceAccount tokens are signed with; whether it was made."""
    directory, making = instance.pki, making or Making()
    if (directory / "sa.key").exists():
        return False
    key = making.key()
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    _write(directory / "sa.pub", public, 0o644)
    _write(directory / "sa.key", _key_pem(key), 0o600)
    return True


def keep_given(instance: Instance, files: Mapping[str, str]) -> None:
    """Writes credentials by file name. Raises OSError."""
    instance.pki.mkdir(parents=True, exist_ok=True, mode=0o700)
    for name, pem in files.items():
        (instance.pki / name).parent.mkdir(exist_ok=True, mode=0o700)
        _write(instance.pki / name, pem.encode(), 0o600 if name.endswith(".key") else 0o644)


def check_given(instance: Instance) -> None:
    """On a machine that was given its credentials. Raises ClusterError: some are missing. One that names other
    addresses than the machine has now is asked for anew as soon as the node runs (``nodecertificates``)."""
    missing = [name for name in NODE_FILES if not (instance.pki / name).is_file()]
    if missing:
        raise ClusterError(
            f"{instance.pki / missing[0]} is missing, and the CA that could make it is on another machine",
            fix=f"`{instance.command('down')} --purge`, and join the cluster again (`sampan join`)",
        )
    (serving,) = (leaf for leaf in node_leaves(instance.node.name, instance.node.addresses) if leaf.server)
    try:
        named = _hosts_of(x509.load_pem_x509_certificate((instance.pki / f"{serving.stem}.crt").read_bytes()))
    except (ValueError, x509.ExtensionNotFound):
        named = set()
    if named != set(serving.hosts):
        (instance.pki / RENEW_NOW).write_text(serving.stem)


def _ensure_ca(
    directory: Path,
    stem: str,
    common_name: str,
    path_length: int | None,
    now: datetime.datetime,
    lives: Lives,
    making: Making,
) -> Authority:
    certificate_path, key_path = directory / f"{stem}.crt", directory / f"{stem}.key"
    if certificate_path.exists() and (lives.keyless or key_path.exists()):
        return _load_ca(certificate_path, key_path if key_path.exists() else None, now)
    if certificate_path.exists():
        raise ClusterError(
            f"{key_path}, the key of the CA in {certificate_path.name}, is missing: with another CA nobody who trusts "
            "this one could come in",
            fix=_PUT_BACK,
        )
    # A key without a certificate: the making of the CA was cut short, or a person brought the key alone.
    key = _load_key(key_path) if key_path.exists() else making.authority_key(lives.algorithm)
    name = subject(common_name, ())
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(making.serial())
        .not_valid_before(now - BACKDATE)
        .not_valid_after(now + lives.authority)
        .add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
        .add_extension(_key_usage(ca=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256(), ecdsa_deterministic=_deterministic(key, making))
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    _write(key_path, _key_pem(key), 0o600)
    _write(certificate_path, pem, 0o644)
    return Authority(certificate, key, pem)


def _load_ca(certificate_path: Path, key_path: Path | None, now: datetime.datetime) -> Authority:
    """Raises ClusterError for a damaged or expired CA: a new one would lock out everybody who trusts the old."""
    key = _load_key(key_path) if key_path is not None else None
    try:
        pem = certificate_path.read_bytes()
        certificate = x509.load_pem_x509_certificate(pem)
    except ValueError as error:
        raise ClusterError(f"the CA in {certificate_path.parent} is damaged: {error}", fix=_PUT_BACK) from error
    if key is not None and key.public_key() != certificate.public_key():
        raise ClusterError(f"{key_path} is not the key of {certificate_path}", fix=_PUT_BACK)
    if certificate.not_valid_after_utc <= now:
        ended = f"{certificate.not_valid_after_utc:%Y-%m-%d}"
        raise ClusterError(f"the CA {certificate_path} expired on {ended}", fix=_PUT_BACK)
    return Authority(certificate, key, pem)


_PUT_BACK = "put it back from a backup, or `sampan down --purge` and start anew"


def _load_key(path: Path) -> AuthorityKey:
    """Raises ClusterError."""
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), None)
    except (ValueError, TypeError) as error:  # TypeError: it needs a password
        raise ClusterError(f"the CA in {path.parent} is damaged: {path.name}: {error}", fix=_PUT_BACK) from error
    if not isinstance(key, AuthorityKey):
        raise ClusterError(f"{path} is not a key of RSA or ECDSA, as a CA's is", fix=_PUT_BACK)
    return key


def _is_current(directory: Path, leaf: Leaf, authority: Authority, now: datetime.datetime) -> bool:
    certificate_path = directory / f"{leaf.stem}.crt"
    if not certificate_path.exists() or not (directory / f"{leaf.stem}.key").exists():
        return False
    try:
        certificate = x509.load_pem_x509_certificate(certificate_path.read_bytes())
        key = serialization.load_pem_private_key((directory / f"{leaf.stem}.key").read_bytes(), None)
        certificate.verify_directly_issued_by(authority.certificate)
    except (ValueError, TypeError, InvalidSignature):
        return False
    if key.public_key() != certificate.public_key():
        return False
    if now < certificate.not_valid_before_utc:
        return False
    if now >= renewal_time(certificate) or certificate.subject != subject(leaf.common_name, leaf.organizations):
        return False
    return not leaf.hosts or _hosts_of(certificate) == set(leaf.hosts)


def renewal_time(certificate: x509.Certificate) -> datetime.datetime:
    """From when on a certificate should be made anew."""
    began, ends = certificate.not_valid_before_utc + BACKDATE, certificate.not_valid_after_utc
    return ends - (ends - began) * RENEW_PART


def _hosts_of(certificate: x509.Certificate) -> set[str]:
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return {str(general.value) for general in names}


def issue(
    directory: Path,
    leaf: Leaf,
    authority: Authority,
    now: datetime.datetime,
    life: datetime.timedelta,
    making: Making,
) -> None:
    """Writes key and certificate into a directory. Raises ClusterError: the CA's key is somebody else's."""
    if authority.key is None:
        raise ClusterError(
            f"{directory / leaf.stem}.crt is missing or not current, and the key of the CA that signs it is not here",
            fix="have it signed where that key is (`sampan certs generate-csr`), or put the CA's key beside it",
        )
    key = making.key()
    usages = [ExtendedKeyUsageOID.SERVER_AUTH] * leaf.server + [ExtendedKeyUsageOID.CLIENT_AUTH] * leaf.client
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject(leaf.common_name, leaf.organizations))
        .issuer_name(authority.certificate.subject)
        .public_key(key.public_key())
        .serial_number(making.serial())
        .not_valid_before(now - BACKDATE)
        .not_valid_after(min(now + life, authority.certificate.not_valid_after_utc))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(ca=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key()), critical=False)
    )
    if leaf.hosts:
        alternatives = x509.SubjectAlternativeName([general_name(host) for host in dict.fromkeys(leaf.hosts)])
        builder = builder.add_extension(alternatives, critical=False)
    certificate = builder.sign(
        authority.key, hashes.SHA256(), ecdsa_deterministic=_deterministic(authority.key, making)
    )
    _write(directory / f"{leaf.stem}.key", _key_pem(key), 0o600)
    _write(directory / f"{leaf.stem}.crt", certificate.public_bytes(serialization.Encoding.PEM), 0o644)


def _deterministic(key: AuthorityKey, making: Making) -> bool | None:
    return making.deterministic if isinstance(key, ec.EllipticCurvePrivateKey) else None


def general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def subject(common_name: str, organizations: Sequence[str]) -> x509.Name:
    attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, value) for value in organizations]
    return x509.Name([*attributes, x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _key_usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=not ca,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=ca,
        crl_sign=ca,
        encipher_only=False,
        decipher_only=False,
    )


def _key_pem(key: AuthorityKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )


def _write(path: Path, data: bytes, mode: int) -> None:
    """Replaces atomically, never readable by others even for a moment, and whole after a power cut: with an empty key
    of the CA the cluster would be lost. A link stays one, to the new file."""
    path = path.resolve()
    temporary = path.with_suffix(path.suffix + ".new")
    temporary.touch(mode=mode)
    temporary.chmod(mode)
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(path)
