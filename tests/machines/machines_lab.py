"""A cluster of several machines, each a network namespace of this one: what tests that speak of nodes are made with.

The machines hang on a switch, a namespace with a bridge, and have addresses of documentation ranges in both families:
nothing of it can be mistaken for a real network. Machine 1 is brought up by ``sampan up``, the others by
``sampan join``; each has an instance of its own: state, containerd, node agent, proxy, DNS, cgroup. The
switch stands for the world outside of the cluster: from its namespace node ports are called.

Names carry the number of the process that runs the tests, so that two runs can go on at once, and what a killed one
left behind is known by it.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from e2e_harness import DEMO_IMAGE, NEEDS, Cluster, Kubectl, eventually, faults_in_logs
from suite_sweep import NETNS, SAMPAN, own_name, purge

from sampan.api import bootstraptokens
from sampan.api.clock import SystemClock, SystemRandom
from sampan.api.resources import SECRETS
from sampan.cluster import instance as instances
from sampan.cluster import processes
from sampan.cluster.initializing import certificates, objects, tokens

#: of machines; the switch has the last address of each
IPV4, IPV6 = "192.0.2.{}", "2001:db8:77::{:x}"
OUTSIDE = 254

#: of a router: what comes from an address that is no machine's, or goes to one, is dropped
_STRICT = """
table inet strict {
    chain forward {
        type filter hook forward priority 0
        ip saddr != 192.0.2.0/24 drop
        ip daddr != 192.0.2.0/24 drop
        ip6 saddr != 2001:db8:77::/48 drop
        ip6 daddr != 2001:db8:77::/48 drop
    }
}
"""

_LIBC = ctypes.CDLL(None, use_errno=True)
_CLONE_NEWNET = 0x40000000
_KIND = "mch"
#: of machines of one family, of those that a module makes for itself, and of those that share no network
SINGLE, OWN, ROUTED = "mcs", "mco", "mcr"


@dataclass(frozen=True)
class Machine(Cluster):
    """One of them, and its instance. ``number`` counts from 1; 0 stands for the outside, which runs nothing."""

    number: int = 0
    tools: Path = field(default=Path())
    #: it has a network of its own, and the outside is the router between them
    routed: bool = False

    @property
    def node_name(self) -> str:
        return f"m{self.number}"

    @property
    def ipv4(self) -> str:
        return IPV4.format(32 * self.number + 1 if self.routed else self.number or OUTSIDE)

    @property
    def ipv6(self) -> str:
        return f"2001:db8:77:{self.number}::1" if self.routed else IPV6.format(self.number or OUTSIDE)

    @property
    def gateways(self) -> tuple[str, str]:
        """Of its network."""
        if self.routed:
            return IPV4.format(32 * self.number + 30), f"2001:db8:77:{self.number}::fe"
        return IPV4.format(OUTSIDE), IPV6.format(OUTSIDE)

    @property
    def netns(self) -> Path:
        return NETNS / self.name

    @property
    def prefix(self) -> tuple[str, ...]:
        """Puts a command into this machine's network."""
        return ("nsenter", f"--net={self.netns}")

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        """The thread's network is this machine's; no await within. Sockets that are made there stay there."""
        here = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        there = os.open(self.netns, os.O_RDONLY)
        try:
            _enter(there)
            try:
                yield
            finally:
                _enter(here)
        finally:
            os.close(here)
            os.close(there)

    def run(
        self, *command: str, check: bool = True, stdin: str | None = None, timeout: float = 60
    ) -> subprocess.CompletedProcess[str]:
        """A command of this machine."""
        done = subprocess.run(
            [*self.prefix, *command], input=stdin, capture_output=True, text=True, env=self.env, timeout=timeout,
            check=False,
        )  # fmt: skip
        assert not check or done.returncode == 0, f"{self.name}: {command}: {done.stdout}{done.stderr}"
        return done

    def popen(self, *command: str) -> subprocess.Popen[str]:
        """A command of this machine that goes on."""
        return subprocess.Popen(
            [*self.prefix, *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=self.env
        )

    def sampan(self, *arguments: str, check: bool = True, timeout: float = 240) -> subprocess.CompletedProcess[str]:
        return self.run(str(SAMPAN), *arguments, check=check, timeout=timeout)

    def tool(self, program: str) -> Path:
        """The program, run in this machine's network."""
        wrapper = self.tools / f"{program}-{self.name}"
        if not wrapper.exists():
            wrapper.write_text(f'#!/bin/sh\nexec {shlex.join(self.prefix)} {shutil.which(program)} "$@"\n')
            wrapper.chmod(0o755)
        return wrapper

    def kubectl(self, namespace: str = "default") -> Kubectl:
        """As the cluster's administrator, on this machine."""
        return Kubectl(self.tool("kubectl"), self, namespace)


class Machines:
    """``cluster`` is machine 1, which has the control plane; ``outside`` is the switch."""

    def __init__(
        self, home: Path, count: int = 2, *, name: str = "", kind: str = _KIND, routed: bool = False, spare: int = 0
    ) -> None:
        """``kind``: another one for machines beside those of the session. ``routed``: the machines share no network;
        a router between them knows nothing of pods, and lets none of their addresses through. ``spare``: machines that
        nobody made part of the cluster."""
        name = name or own_name(kind, os.getpid())
        self.family = "dual"
        config = home / "kubeconfig"
        self.routed = routed
        self.outside = Machine(config, home, f"{name}-0", tools=home)
        made = [Machine(config, home, f"{name}-{n + 1}", number=n + 1, tools=home, routed=routed)
                for n in range(count + spare)]  # fmt: skip
        self.each, self.spares = made[:count], made[count:]

    def __getitem__(self, number: int) -> Machine:
        """Counted from 1, as the nodes are named: m1, m2."""
        return self.all[number - 1]

    @property
    def all(self) -> list[Machine]:
        return [*self.each, *self.spares]

    @property
    def cluster(self) -> Machine:
        return self.each[0]

    def wire(self) -> None:
        """Namespaces, switch and addresses."""
        for machine in (self.outside, *self.all):
            subprocess.run(["ip", "netns", "add", machine.name], check=True)
        lines = ["link set lo up"]
        if not self.routed:
            lines += ["link add lan type bridge", *_addresses(self.outside, "lan"), "link set lan up"]
        for machine in self.all:
            outer = f"m{machine.number}"
            lines.append(f"link add {outer} type veth peer name eth0 netns {machine.name}")
            if self.routed:
                four, six = machine.gateways
                lines += [f"addr add {four}/27 dev {outer}", f"addr add {six}/64 dev {outer} nodad"]
            else:
                lines.append(f"link set {outer} master lan")
            lines.append(f"link set {outer} up")
        self.outside.run("ip", "-batch", "-", stdin="\n".join(lines))
        if self.routed:
            self.outside.run("nft", "-f", "-", stdin=_STRICT)
            self.outside.run("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
        for machine in self.all:
            four, six = machine.gateways
            lines = [
                "link set lo up", *_addresses(machine, "eth0"), "link set eth0 up",
                f"route add default via {four}", f"route add ::/0 via {six}",
            ]  # fmt: skip
            machine.run("ip", "-batch", "-", stdin="\n".join(lines))

    def up(self, family: str = "dual", *options: str) -> None:
        """The cluster of all machines. ``family``: as ``--ip-family``; ``options``: further ones of ``sampan up``."""
        first = self.cluster
        self.family = family
        first.sampan(
            "up", "--name", first.name, "--node-name", first.node_name, "--node-address", self.address(first),
            "--ip-family", family, "--timeout", "90", *options,
        )  # fmt: skip
        self.build_demo_image(first)
        if self.each[1:]:
            assert self.token
        _at_once([functools.partial(self._join, machine) for machine in self.each[1:]])

    def init(self, control: int = 1, *options: str) -> None:
        """The cluster of all machines by ``sampan init`` and ``join``; the first ``control`` are control planes."""
        first, self.family = self.cluster, "ipv4"
        said = first.sampan(
            "init", "--name", first.name, "--node-name", first.node_name, "--upload-certs",
            "--apiserver-advertise-address", first.ipv4, *options,
        ).stdout  # fmt: skip
        self.token = _after("--token", said)
        first.kubeconfig.write_text((self.state(first) / "kubernetes" / "admin.conf").read_text())
        self.certificate_key = _after("--certificate-key", said)
        for machine in self.each[1:control]:
            self.add_control_plane(machine)
        _at_once([functools.partial(self._join, machine) for machine in self.each[control:]])

    def add_control_plane(self, machine: Machine) -> None:
        self.add(machine, "--control-plane", "--certificate-key", self.certificate_key)

    def cut_off(self, machine: Machine) -> None:
        """Its cable is out: nobody reaches it, and it reaches nobody."""
        self.outside.run("ip", "link", "set", f"m{machine.number}", "down")

    def lose(self, machine: Machine) -> None:
        """As if its power went: nothing of it runs or answers any more."""
        self.cut_off(machine)
        self.kill(machine, "")

    def kill(self, machine: Machine, program: str) -> None:
        """kill -9 of one program (``server``, ``etcd``, ``node``, ``containerd``); "": of all, supervisor first."""
        instance = instances.nameless(machine.name)
        known = instances.load(machine.name)
        victims = [p for p in processes.running() if processes.is_supervisor(p, instance)] if not program else []
        victims += [p for p in processes.running() if processes.is_program(p, known)]
        status = json.loads(instance.status_file.read_bytes())["processes"]
        wanted = {status[program]["pid"]} if program else {victim.pid for victim in victims}
        for pid in [victim.pid for victim in victims if victim.pid in wanted]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def pid(self, machine: Machine, program: str) -> int:
        """0: it does not run at the moment."""
        status = json.loads(instances.nameless(machine.name).status_file.read_bytes())["processes"]
        return int(status[program]["pid"] or 0)

    def bring_back(self, machine: Machine) -> None:
        """The cable is in, and the machine starts as it does with its boot."""
        self.outside.run("ip", "link", "set", f"m{machine.number}", "up")
        machine.sampan("up", "--name", machine.name, "--timeout", "120")

    def _join(self, machine: Machine) -> None:
        self.add(machine)
        self.build_demo_image(machine)

    def address(self, machine: Machine) -> str:
        """Of the families of the cluster."""
        both = {"ipv4": (machine.ipv4,), "ipv6": (machine.ipv6,), "dual-ipv6": (machine.ipv6, machine.ipv4)}
        return ",".join(both.get(self.family, (machine.ipv4, machine.ipv6)))

    def add(self, machine: Machine, *options: str) -> None:
        """Makes a machine a node of the cluster."""
        machine.sampan(
            "join", *self.found_by(), "--name", machine.name, "--node-name", machine.node_name,
            "--node-address", self.address(machine), "--timeout", "90", *options,
        )  # fmt: skip

    def found_by(self, token: str = "") -> list[str]:
        """What ``sampan join`` is told of the cluster."""
        pem = (self.state(self.cluster) / "pki" / "ca.crt").read_bytes()
        return [
            self.server(self.cluster).removeprefix("https://"), "--token", token or self.token,
            "--discovery-token-ca-cert-hash", certificates.public_key_hash(pem),
        ]  # fmt: skip

    def server(self, machine: Machine) -> str:
        """The URL of its API server. The port is another one where this machine has clusters already."""
        host = self.address(machine).split(",")[0]
        port = json.loads((self.state(self.cluster) / "cluster.json").read_bytes())["api_port"]
        return f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"

    def admin_config(self) -> str:
        """The administrator's kubeconfig, for another machine than the first."""
        written = (self.state(self.cluster) / "admin.conf").read_text()
        return re.sub(r"https://\S+:(\d+)", rf"https://{self.found_by()[0].rpartition(':')[0]}:\1", written)

    def home_file(self, name: str, text: str) -> Path:
        path = self.cluster.home / name
        path.write_text(text)
        return path

    def let_join(self, **how: Any) -> str:
        """The cluster has what a joining machine reads, and a token. ``how``: see ``tokens.make``."""
        first, state = self.cluster, self.state(self.cluster)
        settings = instances.load(first.name).cluster
        host = self.address(first).split(",")[0]
        url = f"https://[{host}]:{settings.api_port}" if ":" in host else f"https://{host}:{settings.api_port}"
        made = tokens.make(tokens.generate(SystemRandom()), SystemClock().now(), **how)
        wanted = [
            *objects.rights(), objects.cluster_info((state / "pki" / "ca.crt").read_bytes(), url),
            objects.settings(settings, host), (SECRETS, bootstraptokens.secret_of(made)),
        ]  # fmt: skip
        items = [{"apiVersion": resource.api_version, "kind": resource.kind, **obj} for resource, obj in wanted]
        written = json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
        first.run("kubectl", "apply", "-f", "-", stdin=written)
        return made.text

    @functools.cached_property
    def token(self) -> str:
        return self.let_join()

    @functools.cached_property
    def certificate_key(self) -> str:
        told = self.cluster.sampan("init", "phase", "upload-certs", "--upload-certs", "--name", self.cluster.name)
        return told.stdout.split()[-1]

    def state(self, machine: Machine) -> Path:
        return instances.STATE_ROOT / machine.name

    def build_demo_image(self, machine: Machine) -> None:
        """Busybox with its applets, for the pods of a machine."""
        busybox = shutil.which("busybox")
        applets = subprocess.run([str(busybox), "--list"], capture_output=True, text=True, check=True).stdout.split()
        links = [part for applet in applets if applet != "busybox" for part in ("--link", f"/bin/{applet}:busybox")]
        machine.sampan(
            "image",
            "build",
            "--name",
            machine.name,
            "-t",
            DEMO_IMAGE,
            "--binary",
            f"{busybox}:/bin/busybox",
            *links,
        )

    def faults(self) -> list[str]:
        """What their processes logged at error level."""
        return [f"{machine.node_name}: {text}" for machine in self.each for text in faults_in_logs(machine.name)]

    def close(self) -> list[str]:
        """Takes all of it away; content when it is not there. Gives what a purge left in the machines' networks."""
        keep = os.environ.get("SAMPAN_KEEP_LOGS")
        for machine in self.all:
            logs = Path("/var/lib/sampan") / machine.name / "logs"
            if keep and logs.is_dir():
                shutil.copytree(logs, Path(keep) / machine.name, dirs_exist_ok=True)
        _at_once([functools.partial(purge, machine.name) for machine in self.all])
        left = [f"{machine.name}: {text}" for machine in self.all for text in _left(machine)]
        for machine in (*self.all, self.outside):
            subprocess.run(["ip", "netns", "delete", machine.name], check=False, capture_output=True)
        return left


def _after(option: str, said: str) -> str:
    found = re.search(rf"{option}[ =](\S+)", said)
    assert found, said
    return found[1]


def _left(machine: Machine) -> list[str]:
    """Of a purged instance, in its network: tables, interfaces, routes."""
    if not machine.netns.exists():
        return []
    tables = [line for line in machine.run("nft", "list", "tables").stdout.splitlines() if "sampan" in line]
    links = [line for line in machine.run("ip", "-o", "link").stdout.splitlines() if ": sam" in line]
    routes = [
        line for family in ("-4", "-6") for line in machine.run("ip", family, "route").stdout.splitlines()
        if "proto 83" in line
    ]  # fmt: skip
    return [*tables, *links, *routes]


def _at_once(work: Sequence[Callable[[], None]]) -> None:
    """Each in a thread of its own; what one of them raises is raised when all have ended."""
    with ThreadPoolExecutor(len(work) or 1) as pool:
        for done in [pool.submit(each) for each in work]:
            done.result()


def skip_where_there_can_be_none() -> None:
    missing = [program for program in (*NEEDS, "nsenter") if shutil.which(program) is None]
    if os.geteuid() != 0:
        pytest.skip("needs root: network namespaces, containers, cgroups and nftables")
    if missing:
        pytest.skip(f"needs {', '.join(missing)}: run scripts/setup dev")


@contextlib.contextmanager
def running(made: Machines, family: str, *options: str) -> Iterator[Machines]:
    """A cluster of these machines; what their processes log at error level fails whoever asked for it."""
    try:
        made.wire()
        made.up(family, *options)
        yield made
        faults = made.faults()
    finally:
        left = made.close()
    assert not left, "a purge left:\n" + "\n".join(left)
    assert not faults, "the machines' processes logged at error level:\n" + "\n".join(faults)


def pods_run(kubectl: Kubectl, names: Sequence[str]) -> None:
    """Waits until they are Ready."""
    kubectl("wait", "--for=condition=Ready", "--timeout=90s", *(f"pod/{name}" for name in names))


def reaches(kubectl: Kubectl, pod: str, url: str) -> str:
    """What a pod's wget gets from there, as soon as it gets anything."""
    return str(
        eventually(lambda: kubectl.run("exec", pod, "--", "timeout", "3", "wget", "-qO-", url, check=False).stdout)
    )


def _addresses(machine: Machine, interface: str) -> list[str]:
    return [
        f"addr add {machine.ipv4}/{27 if machine.routed else 24} dev {interface}",
        f"addr add {machine.ipv6}/64 dev {interface} nodad",
    ]


def _enter(descriptor: int) -> None:
    if _LIBC.setns(descriptor, _CLONE_NEWNET) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
