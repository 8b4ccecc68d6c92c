"""How an explanation looks to people: the cause first, then what shows it, then what mends it. Pure."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import Final

from sampan.api.types import Obj
from sampan.why.fixes import command
from sampan.why.model import Cause, Explanation

WIDTH: Final = 80
_OTHERS_SHOWN: Final = 5


def plain(text: str) -> str:
    """As a terminal may have it. Names and messages are what tenants wrote: a control character would move the cursor
    over what stands there, and one that turns the direction of writing would show another command than is copied."""
    return "".join(
        each if each.isprintable() or each == " " else each.encode("unicode_escape").decode() for each in text
    )


def words(found: Explanation, *, verbose: bool = False) -> str:
    return "\n".join(_lines(found, verbose))


def _lines(found: Explanation, verbose: bool) -> Iterator[str]:
    if not found.causes:
        yield from _line(_without_cause(found))
        if found.last_events:
            yield from ("", "What was said of it last:")
            for event in found.last_events:
                yield from _item(event)
        if found.healthy and found.checked:
            yield from ("", "What was looked at:")
            yield from _wrapped(", ".join(found.checked) + ".", "  ", "  ")
    else:
        yield from _cause(found, found.causes[0])
        if len(found.causes) > 1:
            yield from ("", "Also found:")
            for cause in found.causes[1 : None if verbose else 1 + _OTHERS_SHOWN]:
                yield from _item(cause.sentence)
                if verbose and cause.fix is not None:
                    yield from _line(f"To mend it: {cause.fix.text}{_risk(cause)}", "    ")
            if not verbose and len(found.causes) > 1 + _OTHERS_SHOWN:
                yield f"  - and {len(found.causes) - 1 - _OTHERS_SHOWN} more (--verbose)"
    if found.unseen:
        yield from ("", "What could not be seen:")
        for each in found.unseen[: None if verbose else _OTHERS_SHOWN]:
            yield from _item(each)


def _without_cause(found: Explanation) -> str:
    if found.healthy:
        return f"{found.state.text}: no rule found anything wrong."
    return f"{found.state.text}, and no rule knows why."


def _cause(found: Explanation, cause: Cause) -> Iterator[str]:
    unsure = "" if cause.confidence == "certain" else f" ({cause.confidence})"
    yield from _line(cause.sentence + unsure)
    evidence = list(cause.evidence)
    if cause.path:
        evidence.insert(0, f"{found.state.text}; " + " > ".join(map(str, (*cause.path, cause.subject))))
    elif found.state.text:  # of words alone there is no state
        evidence.insert(0, found.state.text)
    if evidence:
        yield from ("", "What shows it:")
    for each in evidence:
        yield from _item(each)
    if cause.fix is not None:
        yield ""
        yield from _line(f"To mend it: {cause.fix.text}")
        if cause.fix.risk:
            yield from _line(f"Before you do: {cause.fix.risk}.")
        for action in cause.fix.actions:
            # Not wrapped: it is to be copied.
            yield from (f"  {plain(line)}" for line in command(action).split("\n"))


def _risk(cause: Cause) -> str:
    return f" (before you do: {cause.fix.risk})" if cause.fix is not None and cause.fix.risk else ""


def _line(text: str, indent: str = "") -> Iterator[str]:
    """One paragraph whatever is in it: what a message quotes cannot look like a line of ours."""
    return _wrapped(" ".join(text.split()), indent, indent)


def _item(text: str) -> Iterator[str]:
    return _wrapped(text, "  - ", "    ")


def _wrapped(text: str, first: str = "", later: str = "") -> Iterator[str]:
    for line in text.splitlines():
        yield from textwrap.wrap(
            plain(line),
            WIDTH,
            initial_indent=first,
            subsequent_indent=later,
            break_long_words=False,
            break_on_hyphens=False,
        )
        first = later


def wire(found: Explanation) -> Obj:
    """For programs."""
    return {
        "object": found.subject.wire(),
        "found": found.found,
        "healthy": found.healthy,
        "state": found.state.text,
        "causes": [_cause_wire(cause) for cause in found.causes],
        "checked": list(found.checked),
        "unseen": list(found.unseen),
        **({"near": list(found.near)} if found.near else {}),
        **({"events": list(found.last_events)} if found.last_events else {}),
    }


def _cause_wire(cause: Cause) -> Obj:
    fix: Obj = {}
    if cause.fix is not None:
        commands = [command(action) for action in cause.fix.actions]
        actions = [action.wire() for action in cause.fix.actions]
        risk = {"risk": cause.fix.risk} if cause.fix.risk else {}
        fix = {"fix": {"text": cause.fix.text, **risk, "commands": commands, "actions": actions}}
    return {
        "rule": cause.rule,
        "cause": cause.sentence,
        "confidence": cause.confidence,
        **({"object": cause.subject.wire()} if cause.subject is not None else {}),
        **({"path": [ref.wire() for ref in cause.path]} if cause.path else {}),
        "evidence": list(cause.evidence),
        **fix,
    }
