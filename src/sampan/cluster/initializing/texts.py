"""What ``init`` and ``token create`` print for people and for scripts that read it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from sampan.api.bootstraptokens import Token
from sampan.api.humanize import short_human_duration

HEADINGS = ("TOKEN", "TTL", "EXPIRES", "USAGES", "DESCRIPTION", "EXTRA GROUPS")
HIDDEN_TOKEN, HIDDEN_KEY = "<value withheld>", "<value withheld>"


def join_command(program: str, endpoint: str, token: str, ca_hash: str, certificate_key: str = "") -> str:
    """One line, as ``--print-join-command`` has it. ``program``: the name that was typed."""
    command = f"{program} join {endpoint} --token {token} --discovery-token-ca-cert-hash {ca_hash}"
    return f"{command} --control-plane --certificate-key {certificate_key}" if certificate_key else command


def _shown(command: str) -> str:
    """Over several lines, as the closing text has it."""
    return command.replace(" --discovery", " \\\n\t--discovery").replace(" --control-plane", " \\\n\t--control-plane")


def done(kubeconfig: Path, worker: str, control_plane: str, *, several: bool, own_network: bool) -> str:
    """``several``: the cluster has an address at which further control planes can be reached; ``control_plane`` "": no
    certificate key was made."""
    parts = [
        "\nYour Kubernetes control-plane has initialized successfully!\n",
        "To start using your cluster, you need to run the following as a regular user:\n",
        "  mkdir -p $HOME/.kube",
        f"  sudo cp -i {kubeconfig} $HOME/.kube/config",
        "  sudo chown $(id -u):$(id -g) $HOME/.kube/config\n",
        "Alternatively, if you are the root user, you can run:\n",
        f"  export KUBECONFIG={kubeconfig}\n",
    ]
    if own_network:
        parts.append("The pod network is part of each node: nothing needs to be applied for it.\n")
    else:
        parts.append("You should now deploy the pod network whose CNI configuration you named.\n")
    if control_plane:
        parts += [
            "You can now join any number of control-plane nodes running the following command on each as root:\n",
            f"  {_shown(control_plane)}\n",
            "Please note that the certificate-key gives access to cluster sensitive data, keep it secret!",
            "As a safeguard, uploaded-certs will be deleted in two hours; if necessary, you can use",
            '"init phase upload-certs --upload-certs" to reload certs afterward.\n',
        ]
    elif several:
        parts += [
            "Further control planes can join with the certificates of this one: upload them, encrypted, with",
            '"init phase upload-certs --upload-certs", or copy them; then the command below with --control-plane.\n',
        ]
    parts += [
        "Then you can join any number of worker nodes by running the following on each as root:\n",
        _shown(worker),
    ]
    return "\n".join(parts)


def table(tokens: Sequence[Token], now: datetime) -> str:
    """``token list``."""
    rows = [HEADINGS]
    for token in tokens:
        ends = token.expires
        rows.append((
            token.text,
            "<forever>" if ends is None else short_human_duration((ends - now).total_seconds()),
            "<never>" if ends is None else ends.strftime("%Y-%m-%dT%H:%M:%SZ"),
            ",".join(sorted(token.usages, reverse=False)) or "<none>",
            token.description or "<none>",
            ",".join(token.groups) or "<none>",
        ))  # fmt: skip
    return columns(rows)


def columns(rows: Sequence[Sequence[str]]) -> str:
    """With three spaces between, as kubeadm's tables."""
    if not rows:
        return ""
    widths = [max(10 - 3, *(len(row[place]) for row in rows)) for place in range(len(rows[0]))]
    return "\n".join(
        "   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )
