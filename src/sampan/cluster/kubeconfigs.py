"""The kubeconfig files of an instance, and its context in the user's own kubeconfig, as kind does it.

``client.kubeconfig`` knows the format; here is only what goes in.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import orjson

from sampan.api.faults import cause
from sampan.client.kubeconfig import Connection, KubeConfig, KubeConfigError
from sampan.cluster import choosing, kubernetesdir
from sampan.cluster.errors import ClusterError
from sampan.cluster.instance import Instance

#: File name below the instance's state, and the certificate that it carries.
_FILES = {"admin.conf": "admin", "kubelet.conf": "kubelet-client", "network.conf": "network-client"}
_SECTIONS = ("clusters", "users", "contexts")


def connection(instance: Instance, stem: str) -> Connection:
    """How the identity with this certificate reaches the API server."""
    return Connection(
        instance.api_url,
        ca_pem=(instance.pki / "ca.crt").read_bytes(),
        client_certificate_pem=(instance.pki / f"{stem}.crt").read_bytes(),
        client_key_pem=(instance.pki / f"{stem}.key").read_bytes(),
    )


def write_all(instance: Instance) -> None:
    for file_name, stem in _FILES.items():
        if stem == "admin" and not instance.node.runs_control_plane:
            continue
        config = KubeConfig()
        _add(config, instance, stem)
        config.write(instance.state / file_name)
    kubernetesdir.write_kubeconfigs(instance)


def admin_text(instance: Instance) -> str:
    """The file of the cluster's administrator. Raises ClusterError when it is not there."""
    try:
        return instance.admin_kubeconfig.read_text()
    except OSError as error:
        raise ClusterError(
            f"cannot read {instance.admin_kubeconfig}: {error.strerror}",
            fix=f"`sampan up --name {instance.name}` writes it",
        ) from error


def check_place(path: Path | None = None) -> None:
    """Raises ClusterError when ``merge`` could not write there: better said before a cluster is started."""
    target = (path or user_file()).absolute()
    _load(target)
    folder = next(parent for parent in target.resolve().parents if parent.exists())
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ClusterError(
            f"cannot write {target}: {cause(error)}", fix="name another file with --kubeconfig"
        ) from error


def merge(instance: Instance, path: Path | None = None) -> Path:
    """Adds the admin context to the user's kubeconfig and makes it current; returns the file written."""
    target = (path or user_file()).absolute()
    config = _load(target)
    before = str(config.content.get("current-context") or "")
    _add(config, instance, "admin")
    try:
        _remember(instance, target, before)  # first: a purge must find what a killed ``up`` wrote
        config.write(target.resolve())  # a link stays a link
    except OSError as error:
        raise ClusterError(
            f"cannot write {error.filename or target}: {error.strerror}", fix="name another file with --kubeconfig"
        ) from error
    return target


def refresh(instance: Instance) -> list[str]:
    """Writes the admin's new certificate into every file that has the context; which one is current stays.

    Returns what could not be done, in words.
    """
    problems = []
    for target in _remembered(instance):
        try:
            config = _load(target)
            if any(entry["name"] == instance.context for entry in config.content["users"]):
                current = config.content.get("current-context")
                _add(config, instance, "admin")
                config.content["current-context"] = current
                config.write(target.resolve())
        except (ClusterError, OSError) as error:
            problems.append(f"context {instance.context!r} in {target} keeps its old certificate: {cause(error)}")
    return problems


def remove(instance: Instance) -> list[str]:
    """Takes the context out of every file that ``merge`` put it in, and makes the one of before current again.

    Returns what could not be done, in words.
    """
    problems = []
    known = _remembered(instance)
    for target in dict.fromkeys([*known, user_file()]):
        try:
            _remove_from(target, instance, known.get(target, []))
        except (ClusterError, OSError) as error:
            problems.append(f"context {instance.context!r} stays in {target}: {cause(error)}")
    return problems


def _remember(instance: Instance, target: Path, before: str) -> None:
    """``before``: the context that was current. If it is another cluster's, what was before that one comes after it."""
    known = _remembered(instance)
    chain = known.get(target, [])
    if before and before != instance.context:
        chain = [before]
        for other in choosing.others(instance):
            if other.context == before:
                chain += _remembered(other).get(target, [])
    known[target] = chain
    file = instance.merged_kubeconfigs_file
    temporary = file.with_name(f"{file.name}.new")
    temporary.write_bytes(orjson.dumps({str(path): before for path, before in known.items()}))
    temporary.replace(file)


def _remembered(instance: Instance) -> dict[Path, list[str]]:
    """The files that have the context, and for each what was current before, the latest first."""
    try:
        known = orjson.loads(instance.merged_kubeconfigs_file.read_bytes())
    except (OSError, ValueError):
        return {}
    if isinstance(known, list):  # an earlier version kept the files alone
        known = {name: [] for name in known if isinstance(name, str)}
    if not isinstance(known, dict):
        return {}
    return {Path(name): [str(each) for each in chain] for name, chain in known.items() if isinstance(chain, list)}


def _remove_from(target: Path, instance: Instance, before: list[str]) -> None:
    if not target.exists():
        return
    config = _load(target)
    if not any(entry.get("name") == instance.context for section in _SECTIONS for entry in config.content[section]):
        return
    for section in _SECTIONS:
        config.remove(section, instance.context)
    if config.content.get("current-context") == instance.context:
        there = {entry["name"] for entry in config.content["contexts"]}
        siblings = (other.context for other in choosing.others(instance))
        config.content["current-context"] = next((name for name in [*before, *siblings] if name in there), "")
    config.write(target.resolve())


def user_file() -> Path:
    """The file that kubectl would write: the first of $KUBECONFIG, else ``~/.kube/config``."""
    listed = [name for name in os.environ.get("KUBECONFIG", "").split(os.pathsep) if name]
    return Path(listed[0]) if listed else Path.home() / ".kube" / "config"


def _add(config: KubeConfig, instance: Instance, stem: str) -> None:
    made = KubeConfig.build(instance.context, instance.context, connection(instance, stem))
    name = instance.context
    config.set("clusters", name, made.content["clusters"][0]["cluster"])
    config.set("users", name, made.content["users"][0]["user"])
    config.set("contexts", name, {"cluster": name, "user": name})
    config.content["current-context"] = name


def _load(path: Path) -> KubeConfig:
    try:
        return KubeConfig.load(path) if path.exists() else KubeConfig()
    except KubeConfigError as error:
        raise ClusterError(str(error), fix=f"mend {path}, or name another file with --kubeconfig") from error
