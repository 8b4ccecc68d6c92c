"""Every program of a machine as a systemd unit of its own, without Sampan's supervisor: ``sampan units``.

For sites that start, watch and log each component by systemd, as kubeadm's or by hand. No unit waits for another:
each program tries again until what it needs is there, so that any order of starting works; systemd starts again what
ends. Options come from ``/etc/default/sampan-NAME``. The node agent and the service proxy are one program, and so one
unit. ``render`` is pure.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from sampan.cluster import boot, containerd, kubernetesdir
from sampan.cluster.errors import ClusterError
from sampan.cluster.instance import Instance
from sampan.records import dataclass

DEFAULTS = Path("/etc/default")
#: of all machines: what there may be a unit for
PROGRAMS = ("etcd", "containerd", "apiserver", "controller-manager", "scheduler", "node", "dns")
#: systemd gives each program 90 seconds before it kills it.
_STOP_SECONDS = 120.0

_UNIT = """\
# Written by `{written}`; `{removed}` removes it.
[Unit]
Description={description} of Sampan cluster {name}
Wants=network-online.target
After=network-online.target local-fs.target
Conflicts={whole}
StartLimitIntervalSec=0
PartOf={target}

[Service]
Type=exec
EnvironmentFile=-{defaults}
ExecStart={command}
Restart=always
RestartSec=1
{kill}RuntimeDirectory=sampan/{name}
RuntimeDirectoryMode=0700
RuntimeDirectoryPreserve=yes
Delegate=yes
LimitNOFILE=1048576
TasksMax=infinity

[Install]
WantedBy={target}
"""

_TARGET = """\
# Written by `{written}`; `{removed}` removes it.
[Unit]
Description=Sampan cluster {name}, each program by itself
Wants={units}

[Install]
WantedBy=multi-user.target
"""

_DEFAULTS = """\
# Further options of the programs of Sampan cluster {name}, each with its own --help.
{variables}
"""


@dataclass(frozen=True, slots=True)
class Component:
    """``variable``: of the defaults' file, whose words are added to the command; "": it takes none. ``pods``: what it
    started goes on without it."""

    name: str
    description: str
    command: tuple[str, ...]
    variable: str = ""
    pods: bool = False


def components(instance: Instance) -> list[Component]:
    """In the order that a person expects; none depends on it. Raises ClusterError: the machine's control plane has no
    kubeconfigs of the parts."""
    sampan = str(Path(sys.executable).with_name("sampan"))
    python = (sys.executable, "-X", "frozen_modules=on", "-m")
    where = ("--name", instance.name, "--state-root", str(instance.state_root), "--run-root", str(instance.run_root))
    found = []
    if instance.node.runs_etcd and instance.cluster.manages_etcd:
        from sampan.cluster.etcd import member

        found.append(Component("etcd", "Member of etcd", member.command(instance)))
    if instance.node.runs_containers:
        found.append(Component("containerd", "Container runtime", containerd.command(instance), pods=True))
    if instance.node.runs_control_plane:
        found += _control_plane(instance, sampan)
    if instance.node.runs_containers:
        node = (sampan, "node", "--name", instance.name)
        found.append(Component("node", "Node agent (kubelet) and service proxy", node, pods=True))
        found.append(Component("dns", "DNS server of the node", (*python, "sampan.cluster.dns_process", *where)))
    return found


def _control_plane(instance: Instance, sampan: str) -> list[Component]:
    """Raises ClusterError."""
    place = kubernetesdir.directory(instance)
    if place is None:
        raise ClusterError(
            f"cluster {instance.name!r} was made by `sampan up`: its parts have no kubeconfigs of their own",
            fix="make one with `sampan init`; `sampan up --boot` starts this one with the machine, as one unit",
        )
    cluster, pki = instance.cluster, instance.pki
    manager = (
        sampan, "controller-manager", "--kubeconfig", str(place / kubernetesdir.CONTROLLER_MANAGER),
        "--controllers", "*,bootstrap-signer-controller,token-cleaner-controller",
        "--allocate-node-cidrs", "true", "--cluster-cidr", cluster.pod_cidr,
        "--node-cidr-mask-size", str(cluster.node_cidr_mask),
        "--node-cidr-mask-size-ipv6", str(cluster.node_cidr_mask_ipv6),
        "--root-ca-file", str(pki / "ca.crt"), "--client-ca-file", str(pki / "ca.crt"),
        "--cluster-signing-cert-file", str(pki / "ca.crt"), "--cluster-signing-key-file", str(pki / "ca.key"),
        "--cluster-signing-duration", f"{int(cluster.certificate_seconds)}s", "--bind-address", "127.0.0.1",
    )  # fmt: skip
    scheduler = (
        sampan, "scheduler", "--kubeconfig", str(place / kubernetesdir.SCHEDULER),
        "--client-ca-file", str(pki / "ca.crt"), "--bind-address", "127.0.0.1",
        *(("--config", cluster.scheduler_config) if cluster.scheduler_config else ()),
        *(("--plugin-files", cluster.scheduler_plugins) if cluster.scheduler_plugins else ()),
        *(("--feature-gates", cluster.feature_gates) if cluster.feature_gates else ()),
    )  # fmt: skip
    return [
        Component("apiserver", "API server", (sampan, "server", "--name", instance.name, "--apart"), "APISERVER_ARGS"),
        Component("controller-manager", "Controllers", manager, "CONTROLLER_MANAGER_ARGS"),
        Component("scheduler", "Scheduler", scheduler, "SCHEDULER_ARGS"),
    ]


def unit_name(instance: Instance, component: str) -> str:
    return f"sampan-{instance.name}-{component}.service"


def target_name(instance: Instance) -> str:
    return f"sampan-{instance.name}.target"


def defaults_file(instance: Instance, directory: Path = DEFAULTS) -> Path:
    return directory / f"sampan-{instance.name}"


def render(instance: Instance, parts: Sequence[Component], defaults: Path) -> dict[str, str]:
    """The text of each unit, by its name. Pure."""
    words = {
        "written": instance.command("units --install"),
        "removed": instance.command("units --remove"),
        "name": instance.name,
    }
    made = {}
    for part in parts:
        line = " ".join(boot.quoted(word) for word in part.command)
        made[unit_name(instance, part.name)] = _UNIT.format(
            description=part.description,
            command=f"{line} ${part.variable}" if part.variable else line,
            defaults=defaults,
            whole=boot.unit_name(instance),
            target=target_name(instance),
            # Containers outlive who started them, as under the supervisor.
            kill="KillMode=process\n" if part.pods else "",
            **words,
        )
    made[target_name(instance)] = _TARGET.format(units=" ".join(made), **words)
    return made


def render_defaults(instance: Instance, parts: Sequence[Component]) -> str:
    variables = "\n".join(f"{part.variable}=" for part in parts if part.variable)
    return _DEFAULTS.format(name=instance.name, variables=variables)


def write(instance: Instance, units: Path, defaults: Path) -> list[Path]:
    """Into these directories; a file of defaults that is there stays as a person wrote it. Raises ClusterError."""
    parts, file = components(instance), defaults_file(instance, defaults)
    written = []
    try:
        units.mkdir(parents=True, exist_ok=True)
        defaults.mkdir(parents=True, exist_ok=True)
        for name, text in render(instance, parts, file).items():
            fresh = units / f".{name}.new"
            fresh.write_text(text)
            fresh.replace(units / name)
            written.append(units / name)
        if not file.exists():
            file.write_text(render_defaults(instance, parts))
            written.append(file)
    except OSError as error:
        raise ClusterError(
            f"cannot write {error.filename}: {error.strerror}", fix="run as root (sudo), or name a directory: --output"
        ) from error
    return written


def install(instance: Instance) -> list[Path]:
    """Has systemd start them with the machine, from the next start on. Raises ClusterError."""
    if not boot.BOOTED.is_dir():
        raise ClusterError(
            "this machine has no systemd", fix="`sampan units --output DIRECTORY` writes the units for one that has"
        )
    written = write(instance, boot.UNITS, DEFAULTS)
    _systemctl("daemon-reload")
    _systemctl("enable", target_name(instance))
    return written


def refuse_installed(instance: Instance, units: Path = boot.UNITS) -> None:
    """Before something starts the programs under the supervisor. Raises ClusterError: systemd keeps them."""
    if (units / target_name(instance)).exists():
        raise ClusterError(
            f"the programs of cluster {instance.name!r} are kept by systemd ({target_name(instance)}), not by Sampan's "
            "supervisor",
            fix=f"`systemctl restart {target_name(instance)}` starts them as they are installed now; "
            f"`{instance.command('units --remove')}` gives them back to the supervisor",
        )


def remove(instance: Instance, units: Path = boot.UNITS, defaults: Path = DEFAULTS) -> list[Path]:
    """Takes them away again; programs that run go on until they are stopped. Raises ClusterError."""
    # By their names, each: another cluster may be called like this one with more behind a dash.
    names = [*(unit_name(instance, program) for program in PROGRAMS), target_name(instance)]
    if boot.BOOTED.is_dir() and units == boot.UNITS:
        _systemctl("disable", target_name(instance))
    gone = []
    try:
        for path in [*(units / name for name in names), defaults_file(instance, defaults)]:
            if path.exists():
                path.unlink()
                gone.append(path)
    except OSError as error:
        raise ClusterError(f"cannot remove {error.filename}: {error.strerror}", fix="run as root (sudo)") from error
    if boot.BOOTED.is_dir() and units == boot.UNITS:
        _systemctl("daemon-reload")
    return gone


def retire(instance: Instance, units: Path = boot.UNITS, defaults: Path = DEFAULTS) -> list[Path]:
    """Where they are installed: stops them, since systemd would start again what somebody else ends, and takes them
    away. Raises ClusterError."""
    if not (units / target_name(instance)).exists():
        return []
    if boot.BOOTED.is_dir() and units == boot.UNITS:
        _systemctl("stop", target_name(instance), seconds=_STOP_SECONDS)
    return remove(instance, units, defaults)


def _systemctl(*words: str, seconds: float = boot.SYSTEMCTL_SECONDS) -> None:
    """Raises ClusterError."""
    try:
        done = subprocess.run(["systemctl", *words], capture_output=True, text=True, timeout=seconds, check=False)
    except (OSError, subprocess.SubprocessError) as error:
        raise ClusterError(f"systemctl {' '.join(words)}: {error}", fix="see `systemctl status`") from error
    if done.returncode != 0:
        raise ClusterError(f"systemctl {' '.join(words)}: {done.stderr.strip()}", fix="see `systemctl status`")
