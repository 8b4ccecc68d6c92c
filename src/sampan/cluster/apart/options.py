"""What both programs are told, read from words of a command line. Pure, but for the kubeconfig."""

from __future__ import annotations

from pathlib import Path

from sampan.client.kubeconfig import Connection, KubeConfig, KubeConfigError, in_cluster
from sampan.client.leaderelection import ElectionConfig, WrongElection
from sampan.cluster.errors import ClusterError, WrongUsage
from sampan.records import dataclass

_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
#: what a Go duration holds
_LONGEST_SECONDS = 2**63 / 1e9
_TRUTHS = {"true": True, "1": True, "t": True, "false": False, "0": False, "f": False}


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """``component`` is upstream's name of it; ``election`` None: it acts at once and alone."""

    component: str
    connection: Connection
    election: ElectionConfig | None
    bind_address: str = "0.0.0.0"
    #: 0: no health, no metrics
    secure_port: int = 0
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    client_ca: Path | None = None
    #: the file that ``connection`` was read from; its certificate is followed
    kubeconfig: Path | None = None


def seconds(option: str, text: str) -> float:
    """Of a Go duration (``1m30s``). Raises WrongUsage."""
    total, rest = 0.0, text
    if text == "0":
        return 0.0
    while rest:
        number = rest[: len(rest) - len(rest.lstrip("0123456789."))]
        rest = rest[len(number) :]
        unit = rest[: len(rest) - len(rest.lstrip("hmsun"))]
        rest = rest[len(unit) :]
        try:
            total += float(number) * _UNITS[unit]
        except (ValueError, KeyError):
            break
    else:
        if text and total <= _LONGEST_SECONDS:
            return total
    raise WrongUsage(f"{option}: {text!r} is not a duration", fix="write it as 15s, 1m30s or 2h")


def truth(option: str, text: str) -> bool:
    """Raises WrongUsage."""
    found = _TRUTHS.get(text.lower())
    if found is None:
        raise WrongUsage(f"{option}: {text!r} is neither true nor false")
    return found


def words(text: str) -> tuple[str, ...]:
    """Of a list that is separated by commas."""
    return tuple(word for each in text.split(",") if (word := each.strip()))


def connection(kubeconfig: str) -> Connection:
    """Where the API server is; without a file, as a pod of its cluster. Raises ClusterError."""
    try:
        return KubeConfig.load(kubeconfig).connection() if kubeconfig else in_cluster()
    except KubeConfigError as error:
        raise ClusterError(str(error), fix="name a file with --kubeconfig") from error


def election(
    elect: str, lease: str, deadline: str, retry: str, name: str, namespace: str, identity: str
) -> ElectionConfig | None:
    """None: nobody is elected. Raises WrongUsage."""
    if not truth("--leader-elect", elect):
        return None
    config = ElectionConfig(
        namespace,
        name,
        identity,
        seconds("--leader-elect-lease-duration", lease),
        seconds("--leader-elect-renew-deadline", deadline),
        seconds("--leader-elect-retry-period", retry),
    )
    try:
        config.validate()
    except WrongElection as error:
        raise WrongUsage(f"--leader-elect: {error}") from error
    return config
