"""``sampan completion``: what a shell needs to complete commands and options."""

from __future__ import annotations

from typing import Annotated

from sampan.cli.commands import Argument, Group
from sampan.cluster.errors import ClusterError

_SCRIPT = """\
# Bash and zsh. Now: eval "$(sampan completion bash)"; always: put that line into ~/.bashrc or ~/.zshrc.
[ -n "$ZSH_VERSION" ] && autoload -U +X bashcompinit && bashcompinit
_sampan() {{
    local place=' ' word
    for word in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
        case "$word" in -*) ;; *) place="$place$word " ;; esac
    done
    local words
    case "$place" in
{cases}
    esac
    COMPREPLY=($(compgen -W "$words" -- "${{COMP_WORDS[COMP_CWORD]}}"))
}}
complete -o default -F _sampan sampan"""


def add_to(group: Group) -> None:
    @group.command()
    def completion(shell: Annotated[str, Argument(help="bash or zsh.")] = "bash") -> None:
        """Print what makes the shell complete: eval "$(sampan completion bash)"."""
        if shell not in ("bash", "zsh"):
            raise ClusterError(f"shell {shell!r} is not known", fix="choose bash or zsh")
        print(render(group))


def render(group: Group) -> str:
    # The deepest place first: each pattern covers all that is below it.
    places = sorted(group.words(), key=lambda each: -len(each[0]))
    cases = [f"        ' {' '.join(path)}'*) words='{' '.join(words)}' ;;" for path, words in places if path]
    cases += [f"        *) words='{' '.join(words)}' ;;" for path, words in places if not path]
    return _SCRIPT.format(cases="\n".join(cases))
