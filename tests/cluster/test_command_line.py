"""The command line as a person meets it: help, wrong words, exit codes, never a traceback."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sampan.cli import entry as command_line
from sampan.cli.progress import steps
from sampan.cluster import instance as instances
from sampan.cluster import locks

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


@pytest.mark.parametrize("command", ["up", "down", "status", "kubeconfig", "server", "node", "image", "version"])
def test_every_command_has_help(run: Run, command: str) -> None:
    code, said = run(command, "--help")
    assert code == 0
    assert f"sampan {command}" in said


@pytest.mark.timeout(120)  # the programs of a cluster are imported
@pytest.mark.parametrize("command", [["status"], ["down"], ["kubeconfig"], ["image", "list"], ["server"], ["node"]])
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
        (["--pod-cidr", "foo"], "address range is not valid"),
        (["--node-name", "A B"], "node name 'A B' is not valid"),
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


def test_purge_of_what_is_not_there_is_fine_and_leaves_no_file(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async def nothing(*_: object) -> None: ...

    monkeypatch.setattr("sampan.cluster.podnetwork.teardown", nothing)
    assert run("down", "--purge", "--name", "none")[0] == 0
    assert not list(tmp_path.rglob("*none*"))


def test_version_names_the_release_it_follows(run: Run) -> None:
    assert "Kubernetes v1.37" in run("version")[1]


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
