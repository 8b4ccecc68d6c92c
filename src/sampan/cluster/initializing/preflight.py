"""What a machine must have before it becomes part of a cluster of several, by kubeadm's names.

``cluster.preflight`` knows what containers and the network need; here is what kubeadm asks besides. Every problem says
how to mend it, and each may be ignored by the name of its check, or all of them. Looks only; changes nothing.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from sampan.cluster import kubernetesdir, preflight
from sampan.cluster.errors import WrongUsage
from sampan.cluster.initializing.configuration import in_flags
from sampan.cluster.instance import Instance
from sampan.cluster.preflight import Problem
from sampan.records import dataclass

CPUS, MEMORY_MIB, DISK_GIB = 2, 1700, 30
_MANIFESTS = ("kube-apiserver.yaml", "kube-controller-manager.yaml", "kube-scheduler.yaml", "etcd.yaml")
_PROXIES = ("HTTPS_PROXY", "https_proxy")
_SYSTEMCTL_SECONDS = 5
_NAME_SECONDS = 1.0
ALL = "all"


class PreflightFailed(WrongUsage):
    """kubeadm ends with code 2 then, and so do we."""


@dataclass(frozen=True, slots=True)
class Place:
    """What the checks look at; tests give others."""

    proc: Path = Path("/proc")
    sys: Path = Path("/sys")
    kubernetes_dir: Path = Path("/etc/kubernetes")
    environment: Mapping[str, str] | None = None


def check(instance: Instance, *, control_plane: bool, node: bool = True, place: Place | None = None) -> list[Problem]:
    """Every problem of a machine that becomes a control plane, a node, or both."""
    place = place or Place()
    found = [_in_flags_of_init(each) for each in preflight.check(instance)]
    if node and control_plane:
        found += [*_cpus(), *_memory(place)]
    found += [
        *_disk(instance),
        *_already(instance, place, control_plane=control_plane),
        *_host_name(instance),
        *_same_addresses(place),
        *_firewall(instance),
        *_selinux(place),
        *_proxies(instance, place),
    ]
    return found


def _in_flags_of_init(problem: Problem) -> Problem:
    return dataclasses.replace(problem, fix=in_flags(problem.fix).replace("sudo sampan up", "sudo sampan init"))


def judge(problems: Sequence[Problem], ignored: Iterable[str]) -> tuple[list[Problem], list[Problem]]:
    """Warnings, and what stands in the way. Pure."""
    names = {name.lower() for name in ignored}
    left = [each for each in problems if each.fatal and not {ALL, each.name.lower()} & names]
    return [each for each in problems if each not in left], left


def lines(warnings: Sequence[Problem]) -> list[str]:
    return [f"\t[WARNING {each.name}]: {each.what} ({each.fix})" for each in warnings]


def refuse(errors: Sequence[Problem]) -> None:
    """Raises PreflightFailed for all of them at once."""
    if errors:
        told = "".join(f"\n\t[ERROR {each.name}]: {each.what}" for each in errors)
        fixes = [f"{each.name}: {each.fix}" for each in errors]
        names = ",".join(dict.fromkeys(each.name for each in errors))
        raise PreflightFailed(
            f"error execution phase preflight: [preflight] Some fatal errors occurred:{told}",
            fix="\n".join([*fixes, f"or, knowing what you do: --ignore-preflight-errors={names}"]),
        )


def check_ignored(names: Iterable[str]) -> tuple[str, ...]:
    """Raises WrongUsage for ``all`` beside others, as kubeadm."""
    found = tuple(filter(None, (name.strip() for text in names for name in text.split(","))))
    if any(name.lower() == ALL for name in found) and len(found) > 1:
        raise WrongUsage("don't specify individual checks if 'all' is used", fix="--ignore-preflight-errors=all")
    return found


def _cpus() -> Iterable[Problem]:
    there = len(os.sched_getaffinity(0))
    if there < CPUS:
        yield Problem(
            f"the number of available CPUs {there} is less than the required {CPUS}",
            f"give the machine {CPUS} CPUs",
            name="NumCPU",
        )


def _memory(place: Place) -> Iterable[Problem]:
    try:
        line = (place.proc / "meminfo").read_text().splitlines()[0]
    except (OSError, IndexError):
        return
    there = int(line.split()[1]) // 1024
    if there < MEMORY_MIB:
        yield Problem(
            f"the system RAM ({there} MB) is less than the minimum {MEMORY_MIB} MB",
            "give the machine 2 GB of memory",
            name="Mem",
        )


def _disk(instance: Instance) -> Iterable[Problem]:
    place = next(path for path in (instance.state, *instance.state.parents) if path.exists())
    total = shutil.disk_usage(place).total
    if total < DISK_GIB * 10**9:
        yield Problem(
            f"the disk below {place} has {total / 10**9:.0f} GB: images and logs fill less than {DISK_GIB} GB soon",
            f"use a file system of {DISK_GIB} GB",
            fatal=False,
            name="Disk",
        )


def _already(instance: Instance, place: Place, *, control_plane: bool) -> Iterable[Problem]:
    """A cluster, ours or another's, that is here already."""
    name = f"DirAvailable-{str(instance.state).replace('/', '-')}"
    if instance.exists():
        yield Problem(
            f"{instance.state} is not empty: there is a cluster {instance.name!r} on this machine",
            f"`{instance.command('reset')}` takes it away with all it has; or give another --name",
            name=name,
        )
    manifests = place.kubernetes_dir / "manifests"
    for file in _MANIFESTS if control_plane else ():
        path = manifests / file
        if path.exists():
            yield Problem(
                f"{path} already exists: another control plane is installed here",
                "`kubeadm reset` of that one takes it away",
                name=f"FileAvailable-{str(path).replace('/', '-')}",
            )
    if instance.exists():
        return  # what is there is its own
    ca = kubernetesdir.pki_directory(instance) / "ca.crt"
    workers = (place.kubernetes_dir / kubernetesdir.KUBELET, place.kubernetes_dir / "bootstrap-kubelet.conf", ca)
    for path in () if control_plane else workers:
        if path.exists():
            yield Problem(
                f"{path} already exists: this machine is a node of a cluster",
                "`sampan reset` (or `kubeadm reset` of that cluster) first",
                name=f"FileAvailable-{str(path).replace('/', '-')}",
            )
    for path in kubernetesdir.foreign(place.kubernetes_dir, ca) if control_plane else ():
        yield Problem(
            f"a kubeconfig file {path} exists already but has got the wrong CA cert",
            "it is another cluster's, and would be replaced: keep it elsewhere and take it away",
            name=f"FileAvailable-{str(path).replace('/', '-')}",
        )


def _host_name(instance: Instance) -> Iterable[Problem]:
    name, known = instance.node.name, []

    def look() -> None:
        with contextlib.suppress(OSError):
            known.extend(socket.getaddrinfo(name, None))

    # A name server that does not answer is asked for many seconds, and nothing ends the question.
    asking = threading.Thread(target=look, daemon=True)
    asking.start()
    asking.join(_NAME_SECONDS)
    if not known:
        yield Problem(
            f'hostname "{name}" could not be reached', f"add it to /etc/hosts: `{instance.node.address} {name}`",
            fatal=False, name="Hostname",
        )  # fmt: skip


def _same_addresses(place: Place) -> Iterable[Problem]:
    """Two network cards with one MAC address: machines that were cloned."""
    seen: dict[str, str] = {}
    for path in sorted((place.sys / "class" / "net").glob("*/device")):
        try:
            mac = (path.parent / "address").read_text().strip()
        except OSError:
            continue
        if mac and mac in seen:
            yield Problem(
                f"{path.parent.name} and {seen[mac]} have the same MAC address {mac}",
                "give each network card an address of its own",
                fatal=False,
                name="MACAddress",
            )
        seen[mac] = path.parent.name


def _firewall(instance: Instance) -> Iterable[Problem]:
    """SE5: firewalld, where systemd has it running."""
    if shutil.which("systemctl") is None or not Path("/run/systemd/system").is_dir():
        return
    try:
        asked = subprocess.run(
            ["systemctl", "is-active", "firewalld"],
            capture_output=True, text=True, timeout=_SYSTEMCTL_SECONDS, check=False,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return
    if asked.stdout.strip() == "active":
        ports = [instance.cluster.api_port, instance.node.kubelet_port]
        yield Problem(
            f"firewalld is active, please ensure ports {ports} are open or your cluster may not function correctly",
            "; ".join(f"firewall-cmd --permanent --add-port={port}/tcp" for port in ports) + "; firewall-cmd --reload",
            fatal=False,
            name="Firewalld",
        )


def _selinux(place: Place) -> Iterable[Problem]:
    switch = place.sys / "fs" / "selinux" / "enforce"
    try:
        enforcing = switch.read_text().strip() == "1"
    except OSError:
        return
    if enforcing:
        yield Problem(
            "SELinux is enforcing: containers may be refused their volumes",
            "setenforce 0, and SELINUX=permissive in /etc/selinux/config",
            fatal=False,
            name="SELinux",
        )


def _proxies(instance: Instance, place: Place) -> Iterable[Problem]:
    environment = os.environ if place.environment is None else place.environment
    proxy = next((environment[name] for name in _PROXIES if environment.get(name)), "")
    spared = environment.get("NO_PROXY", environment.get("no_proxy", ""))
    for name, what in (
        ("HTTPProxy", next(iter(instance.node.addresses), "")),
        ("HTTPProxyCIDR", instance.cluster.service_cidr),
        ("HTTPProxyCIDR", instance.cluster.pod_cidr),
    ):
        if proxy and what and what not in spared.split(","):
            yield Problem(
                f"connections to {what} go through the proxy {proxy}: the cluster may not work",
                f"add {what} to NO_PROXY",
                fatal=False,
                name=name,
            )
