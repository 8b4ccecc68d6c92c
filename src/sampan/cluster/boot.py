"""Starting an instance with the machine: a systemd unit that ``sampan up --boot`` installs and a purge removes.

The unit runs this module, which makes ready what a boot may have changed (the machine's address, certificates that run
out) and then becomes the supervisor. systemd starts it again when it dies; the programs it leaves are adopted. Where
there is no systemd, ``advice`` says which line does the same.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

from sampan.api.clock import SystemClock
from sampan.cluster import logfiles, machine, supervisor
from sampan.cluster import up as starting
from sampan.cluster.arguments import instance_from_arguments, log_to_stderr
from sampan.cluster.errors import ClusterError
from sampan.cluster.instance import Instance

UNITS = Path("/etc/systemd/system")
#: There when systemd is the machine's first process (sd_booted(3)).
BOOTED = Path("/run/systemd/system")
SYSTEMCTL_SECONDS = 60

_UNIT = """\
# Written by `sampan up --boot`; `{down}` removes it.
[Unit]
Description=Sampan cluster {name}
Wants=network-online.target
After=network-online.target local-fs.target
StartLimitIntervalSec=0

[Service]
Type=exec
ExecStart={command}
Restart=on-failure
RestartSec=1
# The supervisor stops its programs, and they their pods; what it leaves when it is killed is adopted by the next one.
KillMode=process
TimeoutStopSec={stop_seconds}
Delegate=yes
LimitNOFILE=1048576
TasksMax=infinity

[Install]
WantedBy=multi-user.target
"""


def unit_name(instance: Instance) -> str:
    return f"sampan-{instance.name}.service"


def command(instance: Instance) -> list[str]:
    """What the unit executes: after it returns from its preparations it is the supervisor itself."""
    roots = ["--state-root", str(instance.state_root), "--run-root", str(instance.run_root)]
    return [sys.executable, "-m", "sampan.cluster.boot", "--name", instance.name, *roots]


def render(instance: Instance) -> str:
    words = " ".join(quoted(word) for word in command(instance))
    return _UNIT.format(
        stop_seconds=90 + instance.node.shutdown_seconds,
        name=instance.name,
        command=words,
        down=f"{instance.command('down')} --purge",
    )


def quoted(word: str) -> str:
    """As systemd reads a word of a command line (systemd.service(5)): ``%`` and ``$`` would mean something."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{escaped}"' if escaped != word or any(character.isspace() for character in word) else word


def install(instance: Instance) -> bool:
    """Has systemd start the instance with the machine. False: there is no systemd. Raises ClusterError."""
    if not BOOTED.is_dir():
        return False
    unit = UNITS / unit_name(instance)
    try:
        fresh = unit.with_name(f".{unit.name}.new")
        fresh.write_text(render(instance))
        fresh.replace(unit)  # systemd must not read half of it after a crash
        for link in _links(instance):
            link.parent.mkdir(parents=True, exist_ok=True)
            link.unlink(missing_ok=True)
            link.symlink_to(unit)
    except OSError as error:
        raise ClusterError(f"cannot write {unit}: {error.strerror}", fix="run as root (sudo)") from error
    _reload()
    return True


def remove(instance: Instance) -> bool:
    """Takes the unit away again, whatever it is called by now to be. False: there was none. Raises ClusterError."""
    unit = UNITS / unit_name(instance)
    there = unit.exists() or any(link.is_symlink() for link in _links(instance))
    try:
        for path in (*_links(instance), unit):
            path.unlink(missing_ok=True)
    except OSError as error:
        raise ClusterError(f"cannot remove {unit}: {error.strerror}", fix="run as root (sudo)") from error
    if there and BOOTED.is_dir():
        _reload()
    return there


def _links(instance: Instance) -> tuple[Path, ...]:
    """What ``systemctl enable`` makes of ``WantedBy``."""
    return (UNITS / "multi-user.target.wants" / unit_name(instance),)


def _reload() -> None:
    with contextlib.suppress(OSError, subprocess.SubprocessError):  # it reads its units at the next boot anyhow
        subprocess.run(["systemctl", "daemon-reload"], timeout=SYSTEMCTL_SECONDS, capture_output=True, check=False)


def advice(instance: Instance) -> str:
    """How to start an instance with a machine that has no systemd."""
    program = Path(sys.executable).with_name("sampan")
    line = f"{program} {instance.command('up').removeprefix('sampan ')}"
    return (
        "This machine has no systemd. One of these lines starts the cluster with it:\n"
        f"  in root's crontab (crontab -e):   @reboot {line}\n"
        f"  in /etc/rc.local:                 {line}"
    )


class _Told:
    """Steps of the preparations, in the supervisor's log."""

    def step(self, text: str) -> None:
        sys.stderr.write(f"boot: {text}\n")

    warn = step


def main(instance: Instance) -> int:
    """Makes ready and becomes the supervisor; returns only when that cannot be."""
    machine.complete_path()
    told = _Told()
    try:
        if supervisor.is_running(instance):
            told.step("it is already running")
            return 0
        ready = starting.complete(instance)
        starting.make_ready(ready, SystemClock(), told)
    except ClusterError as error:
        told.warn(f"{error.message} ({error.fix})")
        return 1
    return _become_supervisor(ready)


def _become_supervisor(instance: Instance) -> NoReturn:
    log = logfiles.open_log(instance.logs / "supervisor.log")
    for descriptor in (1, 2):
        os.dup2(log, descriptor)
    os.chdir("/")
    os.execv(sys.executable, [sys.executable, *starting.supervisor_arguments(instance)])


if __name__ == "__main__":
    log_to_stderr()
    try:
        chosen = instance_from_arguments("Starts a Sampan instance with the machine")
    except ClusterError as failed:
        sys.stderr.write(f"boot: {failed.message}\n")
        sys.exit(1)
    sys.exit(main(chosen))
