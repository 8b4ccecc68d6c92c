"""The phases of ``init`` and ``join``, with kubeadm's names and in its order; which of them are asked for. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from sampan.cluster.errors import WrongUsage
from sampan.records import dataclass

ALL = "all"


@dataclass(frozen=True, slots=True)
class Phase:
    name: str
    text: str
    parts: tuple[str, ...] = ()


CERTIFICATES = (
    "ca",
    "apiserver",
    "apiserver-kubelet-client",
    "front-proxy-ca",
    "front-proxy-client",
    "etcd-ca",
    "etcd-server",
    "etcd-peer",
    "etcd-healthcheck-client",
    "apiserver-etcd-client",
    "sa",
)
CONTROL_PLANE = ("apiserver", "controller-manager", "scheduler")
PHASES = (
    Phase("preflight", "Run pre-flight checks"),
    Phase("certs", "Certificate generation", CERTIFICATES),
    Phase(
        "kubeconfig",
        "Generate the kubeconfig files of administrators and components",
        ("admin", "super-admin", "kubelet", "controller-manager", "scheduler"),
    ),
    Phase("etcd", "Make this machine a member of the cluster's etcd, where that is its store", ("local",)),
    Phase(
        "control-plane",
        "Make this machine a control plane",
        CONTROL_PLANE,
    ),
    Phase("kubelet-start", "Write the node's settings and start the programs of this machine"),
    Phase("wait-control-plane", "Wait until the API server answers and the node is Ready"),
    Phase("upload-config", "Write the configuration into the cluster", ("kubeadm", "kubelet")),
    Phase("upload-certs", "Write the control plane's certificates into the cluster, encrypted"),
    Phase("mark-control-plane", "Mark the node as a control plane's"),
    Phase("bootstrap-token", "Make the tokens with which machines join"),
    Phase("kubelet-finalize", "Settings of the node after it has joined", ("enable-client-cert-rotation",)),
    Phase("addon", "DNS and the service proxy", ("coredns", "kube-proxy")),
    Phase("show-join-command", "Show the command with which machines join"),
)
JOIN_PHASES = (
    Phase("preflight", "Find the cluster and check this machine"),
    Phase(
        "control-plane-prepare",
        "Make a machine ready for a control plane, where it is to have one",
        ("download-certs", "certs", "kubeconfig", "control-plane"),
    ),
    Phase("kubelet-start", "Have the node given certificates and start the programs of this machine"),
    Phase("etcd-join", "Add this machine's member to etcd: it begins with the programs"),
    Phase("kubelet-wait-bootstrap", "Wait until the node has its certificates and is Ready"),
    Phase("control-plane-join", "Mark the node as a control plane's, where it has one", ("etcd", "mark-control-plane")),
    Phase("wait-control-plane", "Wait until this machine's API server answers"),
)
#: other names that kubeadm takes for one part
_ALIASES = {("kubelet-finalize", "experimental-cert-rotation"): "enable-client-cert-rotation"}


@dataclass(frozen=True, slots=True)
class Step:
    """One phase, and which of its parts: () all of it."""

    phase: str
    parts: tuple[str, ...] = ()

    def has(self, part: str) -> bool:
        return not self.parts or part in self.parts


def certificate_name(stem: str) -> str:
    """The part of ``certs`` by the path of its files below the pki directory: etcd's have one of their own."""
    return stem.replace("/", "-")


def plan_all(skipped: Sequence[str], known: Sequence[Phase] = PHASES) -> list[Step]:
    """Every phase but those that are skipped, by ``name`` or ``name/part``. Raises WrongUsage."""
    whole, parts = set(), set()
    for text in filter(None, (name.strip() for each in skipped for name in each.split(","))):
        name, slash, part = text.partition("/")
        phase, part = _named(name, part, "--skip-phases", known)
        if slash and part != ALL:
            parts.add((phase.name, part))
        else:
            whole.add(phase.name)
    steps = []
    for phase in known:
        left = tuple(part for part in phase.parts if (phase.name, part) not in parts)
        if phase.name not in whole and (left or not phase.parts):
            steps.append(Step(phase.name, () if left == phase.parts else left))
    return steps


def plan_one(words: Sequence[str], known: Sequence[Phase] = PHASES, command: str = "init") -> Step:
    """``["certs", "apiserver"]``. Raises WrongUsage."""
    name, part, *more = (*words, "", "")
    if any(more):
        raise WrongUsage(f"{command} phase {' '.join(words)}: too many words", fix=f"`sampan {command} phase --help`")
    phase, part = _named(name, part, f"{command} phase", known)
    if phase.parts and not part:
        listed = ", ".join((ALL, *phase.parts))
        raise WrongUsage(f"{command} phase {name} needs to know which part", fix=f"one of {listed}")
    return Step(phase.name, () if part in ("", ALL) else (part,))


def help_text(known: Sequence[Phase] = PHASES) -> str:
    lines, width = [], 2 + max(len(phase.name) for phase in known)
    for phase in known:
        lines.append(f"  {phase.name:<{width}}{phase.text}")
        if phase.parts:
            lines.append(f"  {'':<{width}}  {', '.join((ALL, *phase.parts))}")
    return "\n".join(lines)


def _named(name: str, part: str, where: str, known: Sequence[Phase]) -> tuple[Phase, str]:
    phase = next((each for each in known if each.name == name), None)
    if phase is None:
        raise WrongUsage(f"{where}: there is no phase {name!r}", fix=f"one of {', '.join(each.name for each in known)}")
    part = _ALIASES.get((name, part), part)
    if part and part != ALL and part not in phase.parts:
        listed = ", ".join((ALL, *phase.parts)) if phase.parts else "it has no parts"
        raise WrongUsage(f"{where}: phase {name} has no part {part!r}", fix=listed)
    return phase, part
