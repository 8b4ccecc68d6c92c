"""Functions as commands: what their parameters become, what is refused, and how little is loaded for it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any

import pytest

from sampan.cli.commands import Argument, Group, Option

called: list[dict[str, Any]] = []
group = Group("Things.", epilog="The end.", version=lambda: "v1")
below = Group("Things below.")
group.add("below", below)


@group.command()
def make(
    what: Annotated[str, Argument(help="What.")],
    count: Annotated[int | None, Option(help="How many, 100% of them.")] = None,
    weight: Annotated[float, Option("--weight", "-w", min=1)] = 2.0,
    also: Annotated[list[str] | None, Option(help="More.")] = None,
    where: Annotated[Path | None, Option()] = None,
    force: Annotated[bool, Option("--force")] = False,
    side: Annotated[bool | None, Option("--side/--no-side")] = None,
) -> None:
    """Make a thing.

    Of wood.
    """
    called.append({"what": what, "count": count, "weight": weight, "also": also, "where": where,
                   "force": force, "side": side})  # fmt: skip


@below.command("rm")
@below.command("del", hidden=True)
def remove(names: Annotated[list[Path], Argument()], tag: Annotated[str, Option("--tag", "-t", help="Which.")]) -> None:
    """Remove things."""
    called.append({"names": names, "tag": tag})


def run(*words: str) -> Any:
    called.clear()
    group.run("x", list(words))
    return called[-1] if called else None


def ends(*words: str) -> int:
    with pytest.raises(SystemExit) as ended:
        run(*words)
    assert isinstance(ended.value.code, int)
    return ended.value.code


def test_what_is_not_given_is_the_functions_own_default() -> None:
    assert run("make", "a") == {"what": "a", "count": None, "weight": 2.0, "also": None, "where": None,
                                "force": False, "side": None}  # fmt: skip


def test_options_are_of_the_type_that_the_annotation_says() -> None:
    words = ["--count", "3", "-w", "4.5", "--also", "p", "--also", "q", "--where", "/tmp", "--force", "--no-side"]
    assert run("make", *words, "a") == {"what": "a", "count": 3, "weight": 4.5, "also": ["p", "q"],
                                        "where": Path("/tmp"), "force": True, "side": False}  # fmt: skip


@pytest.mark.parametrize("name", ["rm", "del"])
def test_commands_lie_below_groups_and_may_have_a_second_name(name: str) -> None:
    assert run("below", name, "-t", "1", "a", "b") == {"names": [Path("a"), Path("b")], "tag": "1"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["bogus"], "no such command: bogus"),
        (["--bogus"], "no such option: --bogus"),
        (["make"], "the following arguments are required: WHAT"),
        (["make", "a", "--bogus"], "unrecognized arguments: --bogus"),
        (["make", "a", "--coun", "3"], "unrecognized arguments: --coun"),  # no abbreviations
        (["make", "a", "--count", "x"], "argument --count: 'x' is not a whole number"),
        (["make", "a", "--weight", "y"], "'y' is not a number"),
        (["make", "a", "--weight", "0.5"], "0.5 is less than 1"),
        (["make", "a", "--weight", "nan"], "nan is less than 1"),
        (["below", "rm", "a"], "the following arguments are required: --tag/-t"),
        (["below", "bogus"], "no such command: bogus"),
    ],
)
def test_wrong_usage_ends_with_two_and_says_what_is_wrong(
    capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    assert ends(*words) == 2
    shown = capsys.readouterr().err
    assert said in shown and "--help` shows what there is" in shown


def test_help_is_of_the_place_where_it_is_asked(capsys: pytest.CaptureFixture[str]) -> None:
    run()  # nothing asked: help
    run("--help")
    both = capsys.readouterr().out
    assert both.count("Things.") == 2 and "make" in both and "The end." in both
    run("below", "-h")
    assert "Remove things." in (shown := capsys.readouterr().out) and "del " not in shown
    assert ends("make", "--help") == 0
    assert "100% of them" in (shown := capsys.readouterr().out) and "Make a thing.\n\nOf wood." in shown
    run("--version")
    assert capsys.readouterr().out == "v1\n"


def test_help_fits_a_narrow_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    assert ends("make", "--help") == 0
    assert all(len(line) <= 30 for line in capsys.readouterr().out.splitlines())


def test_completion_knows_every_place() -> None:
    words = dict(group.words())
    assert words[()] == ["below", "make"]
    assert words[("below",)] == ["rm"]
    assert {"--tag", "-t", "--help"} <= set(words[("below", "rm")])


@pytest.mark.parametrize(
    ("line", "words"), [("sampan ima", ["image"]), ("sampan image li", ["list"]), ("sampan up --api", ["--api-port"]),
                        ("sampan image build --entry", ["--entrypoint"])]
)  # fmt: skip
def test_a_shell_completes_with_what_is_printed_for_it(line: str, words: list[str]) -> None:
    from sampan.cli import completion, main

    script = completion.render(main.app) + (
        f'\nCOMP_WORDS=({line}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); _sampan; echo "${{COMPREPLY[@]}}"\n'
    )
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
    assert (done.stdout.split(), done.stderr) == (words, "")


@pytest.mark.parametrize("words", [["--help"], ["up", "--help"], ["up", "--bogus"], ["status", "--name", "none-such"]])
def test_help_and_errors_load_nothing_that_takes_long(words: list[str]) -> None:
    script = (
        "import sys\nfrom sampan.cli.entry import main\nsys.argv[1:] = " + repr(words) + "\n"
        "try: main()\nexcept SystemExit: pass\n"
        "slow = {'asyncio', 'aiohttp', 'cryptography', 'grpc', 'numpy', 'ssl', 'yaml'}\n"
        "print('loaded:', *sorted(slow & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1] == "loaded:", done.stderr
