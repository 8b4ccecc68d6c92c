"""The command line as a person meets it: help, wrong words, exit codes, never a traceback."""

from __future__ import annotations

import dataclasses
import errno
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml

from sampan.cli import entry as command_line
from sampan.cli.commands import Group
from sampan.cli.main import app
from sampan.cli.progress import steps
from sampan.client.kubeconfig import Connection, KubeConfig
from sampan.cluster import choosing, locks, supervisor
from sampan.cluster import instance as instances
from sampan.network import cni
from sampan.store.sqlite import StoreLocked

Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Runs ``sampan ARGUMENTS`` in this process on an empty machine; returns exit code and everything it said."""
    for function in (instances.load, instances.nameless):
        assert function.__kwdefaults__ is not None
        monkeypatch.setitem(function.__kwdefaults__, "state_root", tmp_path / "state")
        monkeypatch.setitem(function.__kwdefaults__, "run_root", tmp_path / "run")
    monkeypatch.setattr(instances.names, "__defaults__", (tmp_path / "state",))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    monkeypatch.setenv("COLUMNS", "200")
    # Should something pass that must be refused, no cluster starts on the machine of the tests.
    monkeypatch.setattr("sampan.cluster.up.make_ready", not_here)
    monkeypatch.setenv("NO_COLOR", "1")

    def call(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr("sys.argv", ["sampan", *arguments])
        code: object = 0
        try:
            command_line.main()
        except SystemExit as ended:
            code = ended.code or 0
        assert isinstance(code, int)
        said = capsys.readouterr()
        return code, said.out + said.err

    return call


def not_here(*_: object) -> None:
    raise AssertionError("a cluster would be started")


@pytest.mark.parametrize(
    "command",
    [
        "up",
        "down",
        "status",
        "kubeconfig",
        "logs",
        "server",
        "node",
        "controller-manager",
        "scheduler",
        "image",
        "version",
    ],
)
def test_every_command_has_help(run: Run, command: str) -> None:
    code, said = run(command, "--help")
    assert code == 0
    assert f"sampan {command}" in said


@pytest.mark.timeout(120)  # the programs of a cluster are imported
@pytest.mark.parametrize(
    "command", [["status"], ["down"], ["kubeconfig"], ["logs"], ["image", "ls"], ["server"], ["node"]]
)
def test_a_cluster_that_is_not_there_is_told_with_the_way_to_it(run: Run, command: list[str]) -> None:
    code, said = run(*command, "--name", "none")
    assert (code, said) == (
        1,
        "sampan: there is no cluster 'none' on this machine\nTo mend it: `sampan up --name none` makes one\n",
    )


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--name", "No/Good"], "instance name 'No/Good' is not valid"),
        (["--api-port", "99999"], "--api-port 99999 is not a port"),
        (["--node-port-range", "5"], "node port range '5' is not valid"),
        (["--runtime", "kata"], "runtime 'kata' is not known"),
        (["--allowed-unsafe-sysctls", "net.*,vm.swappiness"], 'sysctls "vm.swappiness" are not known to be namespaced'),
        (["--kubelet-config", "/no/such"], "--kubelet-config: /no/such: open /no/such: no such file or directory"),
        (["--image-credential-provider-config", "/no/such"], "a credential provider needs its configuration and its"),
        (
            ["--image-credential-provider-config", "/no/such", "--image-credential-provider-bin-dir", "/bin"],
            "--image-credential-provider-config: unable to read file /no/such: no such file or directory",
        ),
        (["--pod-cidr", "foo"], "address range is not valid"),
        (["--enable-admission-plugins", "Nope"], '--enable-admission-plugins plugin "Nope" is unknown'),
        (
            ["--enable-admission-plugins", "Priority", "--disable-admission-plugins", "Priority"],
            "sampan: [Priority] in enable-admission-plugins and disable-admission-plugins overlapped\n"
            "To mend it: name each plugin in one of them",
        ),
        (["--admission-control-config-file", "/no/such"], "--admission-control-config-file: /no/such: "),
        (["--runtime-config", "nonsense/v1=true"], "--runtime-config: unknown api groups nonsense"),
        (["--feature-gates", "Nonsense=true"], "--feature-gates: unrecognized feature gate: Nonsense"),
        (["--node-name", "A B"], "node name 'A B' is not valid"),
        (["--node-address", "1.2.3.4"], "--node-address 1.2.3.4 is not an address of this machine"),
        (["--node-address", "127.0.0.1"], "node address 127.0.0.1 is none that pods can reach"),
        (["--horizontal-pod-autoscaler-sync-period", "15"], 'sync-period: time: invalid duration "15"'),
        (["--horizontal-pod-autoscaler-sync-period", "0"], "sync-period must be more than 0 and at most 1h"),
        (["--horizontal-pod-autoscaler-tolerance", "2"], "-tolerance 2.0 is not from 0 to 1"),
        (["--node-cidr-mask", "9"], "--node-cidr-mask 9 does not divide --pod-cidr"),
    ],
)
def test_wrong_values_end_with_one_and_say_what_is_wrong(run: Run, options: list[str], words: str) -> None:
    code, said = run("up", *options)
    assert code == 1
    assert words in said and "To mend it:" in said


@pytest.mark.parametrize(
    "arguments", [["bogus"], ["up", "--bogus"], ["up", "--api-port", "x"], ["up", "--timeout", "0"]]
)
def test_wrong_usage_ends_with_two(run: Run, arguments: list[str]) -> None:
    assert run(*arguments)[0] == 2


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--controllers=*,-jobs"], '"jobs" is not in the list of known controllers\nTo mend it: all controllers: '),
        (["--leader-elect=perhaps"], "--leader-elect: 'perhaps' is neither true nor false"),
        (["--leader-elect-lease-duration=10"], "--leader-elect-lease-duration: '10' is not a duration"),
        (["--leader-elect-lease-duration=9s"], "leaseDuration must be greater than renewDeadline"),
        (["--tls-cert-file=/x.crt"], "--tls-cert-file and --tls-private-key-file belong together"),
        (["--allocate-node-cidrs"], "--allocate-node-cidrs needs --cluster-cidr"),
        (["--root-ca-file=/no/such"], "--root-ca-file: /no/such: "),
    ],
)
@pytest.mark.timeout(120)  # the controllers are imported
def test_a_manager_that_is_told_nonsense_ends_with_two(
    run: Run, tmp_path: Path, options: list[str], words: str
) -> None:
    config = tmp_path / "some.conf"
    KubeConfig.build("c", "u", Connection("https://127.0.0.1:1")).write(config)
    code, said = run("controller-manager", "--kubeconfig", str(config), *options)
    assert code == 2 and words in said


def test_a_metrics_adapter_at_an_address_that_is_none_does_not_begin(run: Run, tmp_path: Path) -> None:
    config, rules = tmp_path / "some.conf", tmp_path / "rules.yaml"
    KubeConfig.build("c", "u", Connection("https://127.0.0.1:1")).write(config)
    rules.write_text("externalRules: [{seriesQuery: x, metricsQuery: x}]")
    wanted = ["--prometheus", "http://127.0.0.1:1", "--config", str(rules), "--kubeconfig", str(config)]
    code, said = run("metrics-adapter", *wanted, "--address", "some.host")
    assert code == 2 and "--address: some.host is no IP address" in said


@pytest.mark.parametrize("command", ["controller-manager", "scheduler"])
def test_a_program_of_its_own_wants_to_know_where_the_api_server_is(
    run: Run, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    code, said = run(command)
    assert code == 1 and "not in a pod" in said and "name a file with --kubeconfig" in said


@pytest.mark.parametrize("arguments", [["down"], ["down", "--purge"]])
def test_whoever_is_not_root_is_told_before_anything_is_done(
    run: Run, stopped: instances.Instance, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    code, said = run(*arguments, "--name", "one")
    assert code == 1 and "not running as root\nTo mend it: `sudo sampan down" in said
    assert stopped.exists() and not stopped.run_root.exists()


@pytest.mark.parametrize(
    "error", [cni.NetworkError("nft delete: Operation not permitted"), FileNotFoundError(2, "x", "nft")]
)
def test_a_network_that_cannot_be_removed_is_told_and_the_state_stays(
    run: Run, stopped: instances.Instance, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    async def fails(*_: object) -> None:
        raise error

    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr(cni, "teardown", fails)
    code, said = run("down", "--purge", "--name", "one")
    assert code == 1 and "the network of cluster 'one' cannot be removed" in said and "To mend it:" in said
    assert stopped.exists() and "should not have happened" not in said and "[Errno" not in said


def test_purge_of_what_is_not_there_is_fine_and_leaves_no_file(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async def nothing(*_: object) -> None: ...

    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr("sampan.cluster.podnetwork.teardown", nothing)
    assert run("down", "--purge", "--name", "none")[0] == 0
    assert not list(tmp_path.rglob("*none*"))


@pytest.mark.parametrize("words", ["version", "--version"])
def test_version_names_the_release_it_follows(run: Run, words: str) -> None:
    assert "Kubernetes v1.37" in run(words)[1]


@pytest.fixture
def stopped(tmp_path: Path) -> instances.Instance:
    """A cluster that was made and does not run."""
    made = instances.nameless("one", state_root=tmp_path / "state", run_root=tmp_path / "run")
    made.save()
    made.logs.mkdir()
    return made


def test_help_names_its_options_whole_on_a_narrow_terminal(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    said = run("up", "--help")[1]
    for option in (*choosing.CLUSTER_OPTIONS, *choosing.NODE_OPTIONS, "--kubeconfig", "--timeout"):
        assert option in said


def test_a_list_of_commands_says_each_ones_purpose_in_a_whole_sentence() -> None:
    def cut(group: Group, path: str) -> Iterator[str]:
        yield from (f"{path} {name}" for name, text in group.listed() if not text.endswith((".", ")", '"')))
        for name, command in group._commands.items():
            if isinstance(command, Group):
                yield from cut(command, f"{path} {name}")

    assert list(cut(app, "sampan")) == []


WORKERS_CANNOT = {
    "backup": ["backup", "file"],
    "store info": ["store", "info"],
    "store migrate": ["store", "migrate", "--to", "sqlite"],
    "etcd serve": ["etcd", "serve"],
    "upgrade plan": ["upgrade", "plan"],
    "upgrade apply": ["upgrade", "apply"],
    "certs": ["certs", "check-expiration"],
    "server": ["server"],
}


@pytest.mark.parametrize("words", WORKERS_CANNOT.values(), ids=WORKERS_CANNOT.keys())
def test_what_needs_a_control_plane_says_so_on_a_worker(
    run: Run, stopped: instances.Instance, words: list[str]
) -> None:
    dataclasses.replace(stopped, node=dataclasses.replace(stopped.node, roles=("node",))).save()
    code, said = run(*words, "--name", "one")
    assert code == 1
    assert "cluster 'one' has no control plane on this machine" in said and "run it where the control plane is" in said


@pytest.mark.parametrize(("form", "read"), [("json", orjson.loads), ("yaml", yaml.safe_load)])
def test_status_is_there_for_programs_too(
    run: Run, stopped: instances.Instance, form: str, read: Callable[[str], Any]
) -> None:
    code, said = run("status", "--name", "one", "-o", form)
    seen = read(said)
    assert code == 1
    assert (seen["name"], seen["running"], seen["healthy"]) == ("one", False, False)
    assert seen["apiServer"] == {"url": "https://127.0.0.1:6443", "ready": False}
    assert seen["logs"] == str(stopped.logs)


def test_another_format_is_refused_by_name(run: Run, stopped: instances.Instance) -> None:
    code, said = run("status", "--name", "one", "-o", "xml")
    assert (code, said) == (
        2,
        "sampan: output format 'xml' is not known\nTo mend it: choose json or yaml, or leave --output out\n",
    )


def test_logs_show_the_end_of_one_or_of_all(run: Run, stopped: instances.Instance) -> None:
    (stopped.logs / "node.log").write_text("n1\nn2\n")
    (stopped.logs / "server.log").write_text("s1\ns2\n")
    (stopped.logs / "server.log.1").write_text("s0\n")
    assert run("logs", "server", "--name", "one", "--tail", "1") == (0, "s2\n")
    assert run("logs", "server", "--name", "one", "--previous") == (0, "s0\n")
    assert run("logs", "--name", "one")[1] == "==> node <==\nn1\nn2\n\n==> server <==\ns1\ns2\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["dns"], "cluster 'one' has no log of 'dns'"),
        (["node", "--previous"], "node has no earlier log"),
        (["node", "--previous", "-f"], "--previous does not grow"),
        (["../../x"], "has no log of '../../x'"),
    ],
)
def test_logs_that_are_not_there_are_told(
    run: Run, stopped: instances.Instance, arguments: list[str], words: str
) -> None:
    (stopped.logs / "node.log").write_text("n1\n")
    code, said = run("logs", *arguments, "--name", "one")
    assert code == 1 and words in said and "To mend it:" in said


@pytest.mark.parametrize("program", ["server", "node"])
def test_a_program_of_a_running_cluster_is_not_started_beside_it(
    run: Run, stopped: instances.Instance, program: str
) -> None:
    held = supervisor.hold_lock(stopped)
    try:
        code, said = run(program, "--name", "one")
    finally:
        os.close(held)
    assert (code, said) == (
        1,
        f"sampan: cluster 'one' is running, its {program} too\n"
        f"To mend it: `sampan down --name one` first; `sampan logs {program} -f --name one` shows what it says\n",
    )


@pytest.mark.parametrize("running", [False, True])
def test_the_node_of_a_cluster_that_only_simulates_is_not_started(run: Run, tmp_path: Path, running: bool) -> None:
    made = instances.nameless("one", state_root=tmp_path / "state", run_root=tmp_path / "run")
    made = dataclasses.replace(
        made, node=dataclasses.replace(made.node, roles=("control-plane",), simulate="2", simulated_count=2)
    )
    made.save()
    held = supervisor.hold_lock(made) if running else None
    try:
        code, said = run("node", "--name", "one")
    finally:
        if held is not None:
            os.close(held)
    assert (code, said) == (
        1,
        "sampan: cluster 'one' has no node on this machine: its nodes are simulated by the server\n"
        "To mend it: `sampan up --name one` runs all it has\n",
    )


@pytest.mark.timeout(120)  # the programs of a cluster are imported
@pytest.mark.parametrize(
    ("error", "words"),
    [
        (StoreLocked("the store in /x is open in another process"), "is open in another process"),
        (OSError(errno.EADDRINUSE, "Address already in use"), "(6443 or another) is taken by another program"),
        (ExceptionGroup("g", [OSError(errno.EADDRINUSE, "in use")]), "is taken by another program"),
        (PermissionError(errno.EACCES, "Permission denied", "/x"), "open /x: permission denied"),
        (RuntimeError("a fault of ours"), "this should not have happened: a fault of ours"),
    ],
)
def test_what_keeps_a_program_from_starting_is_told_without_a_traceback(
    run: Run, stopped: instances.Instance, monkeypatch: pytest.MonkeyPatch, error: Exception, words: str
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("sampan.cluster.control_plane.run", fails)
    code, said = run("server", "--name", "one")
    assert code == 1 and words in said and "To mend it:" in said
    for python in ("Traceback", "[Errno", "Error("):
        assert python not in said


def test_a_stopped_clusters_images_say_how_to_start_that_one(run: Run, stopped: instances.Instance) -> None:
    code, said = run("image", "list", "--name", "one")
    assert code == 1 and said.endswith("start it with `sampan up --name one`\n")


def test_a_kubeconfig_can_be_named_where_it_is_advised(run: Run, stopped: instances.Instance, tmp_path: Path) -> None:
    stopped.pki.mkdir()
    for name in ("ca.crt", "admin.crt", "admin.key"):
        (stopped.pki / name).write_text(name)
    (tmp_path / "bad").write_text("{")
    code, said = run("kubeconfig", "--name", "one", "--kubeconfig", str(tmp_path / "bad"))
    assert code == 1 and "--kubeconfig" in said
    assert run("kubeconfig", "--name", "one", "--kubeconfig", str(tmp_path / "good"))[0] == 0
    assert "sampan-one" in (tmp_path / "good").read_text()


def test_output_that_nobody_reads_is_no_error(tmp_path: Path) -> None:
    script = f"{sys.executable} -c 'from sampan.cli.entry import main; main()' --help | true"
    done = subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, check=False)
    assert done.stderr == ""


async def test_the_lock_of_a_cluster_that_was_never_made_does_not_stay(tmp_path: Path) -> None:
    instance = instances.Instance(instances.ClusterSettings(name="one"), tmp_path / "state", tmp_path / "run")
    with steps() as progress:
        async with locks.changing(instance, progress):
            assert instance.change_lock_file.exists()
    assert not instance.change_lock_file.exists()


def test_steps_end_with_a_cross_when_they_fail(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="no"), steps() as progress:
        progress.step("one")
        progress.step("two")
        raise ValueError("no")
    assert [line.split(" (")[0] for line in capsys.readouterr().out.splitlines()] == [" ✓ one", " ✗ two"]


def test_an_old_store_that_is_not_there_is_not_said_to_be_gone(run: Run, stopped: instances.Instance) -> None:
    assert run("store", "migrate", "--name", stopped.name, "--delete-old") == (0, "There is no old store of a move\n")


@pytest.mark.parametrize(
    "words, said",
    [
        (["up", "--simulate", "3"], "what was started has been stopped"),
        (["down", "--name", "x"], "the same command again does the rest"),
        ([], "what was started has been stopped"),
    ],
)
def test_an_interrupt_says_what_became_of_it(
    words: list[str], said: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("sampan.cli.main.run", interrupted)
    assert run(*words) == (130, f"sampan: interrupted; {said}\n")
