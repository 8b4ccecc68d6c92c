"""What there was when a Service was not reached: what each API server shows, who leads, what the node's table holds,
and what its log says last. Each piece is bounded; one that cannot be had says why, and costs nobody the others."""

from __future__ import annotations

import subprocess
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path

from e2e_harness import Kubectl
from machines_lab import Machine

#: of each piece, its end
_CHARACTERS = 2500
_SECONDS = 15
_SLICES = "/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices?resourceVersion=0"
_LEADERS = "jsonpath={range .items[*]}{.metadata.name} {.spec.holderIdentity} {.spec.renewTime}{'\\n'}{end}"


def of_service(kubectl: Kubectl, servers: Sequence[str], node: Machine, port: str, name: str = "web") -> str:
    """``servers``: URLs of all, for one of them may know less than the others. ``port``: the node port."""

    def asked(*words: str) -> Callable[[], str]:
        def ask() -> str:
            done = kubectl.run(*words, check=False, timeout=_SECONDS)
            return done.stdout + done.stderr

        return ask

    def rules() -> str:
        done = node.run("nft", "list", "ruleset", check=False, timeout=_SECONDS)
        return _lines_with(done.stdout, port, pod_ip) + done.stderr

    pod_ip = _tried(asked("get", "pod", name, "-o", "jsonpath={.status.podIP}"))
    pieces = {
        "service and pod": asked("get", f"service/{name}", f"pod/{name}", "-o", "wide"),
        "who leads": asked("-n", "kube-system", "get", "leases", "-o", _LEADERS),
        "the pod, from its node": lambda: _page(node, f"http://{pod_ip}:8080/"),
        "the node's rules": rules,
        "the node's log": lambda: log_of(node, "node"),
    }
    for server in servers:
        raw = _SLICES.format(namespace=kubectl.namespace)
        pieces[f"slices as {server} has them"] = asked("--server", server, "get", "--raw", raw)
    return "\n".join(f"--- {title}\n{_tried(piece)[-_CHARACTERS:]}" for title, piece in pieces.items())


def _page(machine: Machine, url: str) -> str:
    with machine.inside(), urllib.request.urlopen(url, timeout=3) as answer:
        return str(answer.read(_CHARACTERS).decode())


def log_of(machine: Machine, program: str) -> str:
    path = Path("/var/lib/sampan") / machine.name / "logs" / f"{program}.log"
    with path.open("rb") as file:
        file.seek(max(path.stat().st_size - _CHARACTERS, 0))
        return file.read().decode(errors="replace")


def _lines_with(text: str, *words: str) -> str:
    """nft lists a map's elements several in a line."""
    found = [line.strip() for line in text.splitlines() if any(word and word in line for word in words)]
    return "\n".join(found) or f"none of {len(text.splitlines())} lines has {' or '.join(words)}"


def _tried(piece: Callable[[], str]) -> str:
    try:
        return piece()
    except (OSError, ValueError, AssertionError, subprocess.SubprocessError) as error:
        return f"not to be had: {error}"
