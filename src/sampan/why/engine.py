"""``explain``: from what is asked about to ranked causes, along the objects that lead from one to the other. Pure.

A rule that fails ends itself alone, and is told among what was not seen.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import field, replace
from typing import Final

from sampan.api.reading import part, text
from sampan.api.types import Obj
from sampan.records import dataclass
from sampan.why import states
from sampan.why.model import CONFIDENCES, Cause, Condition, Explanation, Lead, Ref
from sampan.why.near import nearest
from sampan.why.table import Rule, rules
from sampan.why.world import Query, Wanted, World

#: How far leads are followed, and to how many objects.
DEEPEST: Final = 6
MOST_OBJECTS: Final = 24
MOST_CAUSES: Final = 12
_EVENTS_SHOWN: Final = 5


@dataclass(slots=True)
class _Search:
    """``wanted``: questions without an answer yet."""

    world: World
    causes: list[Cause] = field(default_factory=list)
    checked: dict[str, None] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)
    wanted: dict[Query, None] = field(default_factory=dict)
    visited: set[Ref] = field(default_factory=set)


def explain(subject: Ref, world: World) -> Explanation | tuple[Query, ...]:
    """The explanation, or what has to be known first."""
    query = Query(subject.resource, subject.name, subject.namespace)
    try:
        answer = world.answer(query)
    except Wanted as wanted:
        return wanted.queries
    if not answer.objects:
        return _absent(subject, world, answer.fault)
    search = _Search(world)
    obj = answer.objects[0]
    _visit(search, subject, obj, ())
    try:
        state = _state(world, subject, obj, search)
        events = _events(world, subject)
    except Wanted as wanted:
        search.wanted.update(dict.fromkeys(wanted.queries))
        state, events = Condition(None, ""), ()
    if search.wanted:
        return tuple(search.wanted)
    causes = tuple(_ranked(search.causes))[:MOST_CAUSES]
    return Explanation(
        subject,
        state,
        causes,
        tuple(search.checked),
        (*world.unseen, *search.failed),
        last_events=events if not causes and state.well is False else (),
    )


def _state(world: World, subject: Ref, obj: Obj, search: _Search) -> Condition:
    """Raises Wanted."""
    try:
        return states.state(world, subject.resource, obj)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        search.failed.append(f"how {subject.place} is: its status is not as it has to be ({error})")
        return Condition(False, f"{subject.place} has a status that cannot be read")


def _visit(search: _Search, ref: Ref, obj: Obj, path: tuple[Ref, ...]) -> None:
    if ref in search.visited or len(search.visited) >= MOST_OBJECTS:
        return
    search.visited.add(ref)
    world = replace(search.world, about=ref)
    for rule in rules():
        if not rule.concerns(ref.resource):
            continue
        search.checked[rule.says] = None
        try:
            for found in rule.judge(world, obj):
                _take(search, rule, found, ref, path)
        except Wanted as wanted:
            search.wanted.update(dict.fromkeys(wanted.queries))
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, RecursionError) as error:
            search.failed.append(f"rule {rule.name} of {ref.place}: failed ({type(error).__name__}: {error})")


def _take(search: _Search, rule: Rule, found: Cause | Lead, ref: Ref, path: tuple[Ref, ...]) -> None:
    if isinstance(found, Cause):
        search.causes.append(replace(found, rule=rule.name, subject=ref, path=path))
        return
    if len(path) >= DEEPEST:
        return
    obj = search.world.get(found.ref.resource, found.ref.name, found.ref.namespace)
    if obj is not None:
        _visit(search, found.ref, obj, (*path, ref))


def _ranked(causes: list[Cause]) -> Iterator[Cause]:
    """Surest first, then by rank; what one change mends is told once, of what was come to first."""
    order = {rule.name: rule.order for rule in rules()}
    told: dict[Hashable, Cause] = {}
    alike: dict[Hashable, set[Ref | None]] = {}
    for cause in sorted(causes, key=lambda c: (CONFIDENCES.index(c.confidence), c.rank, order[c.rule], len(c.path))):
        key = _key(cause)
        told.setdefault(key, cause)
        alike.setdefault(key, set()).add(cause.subject)
    for key, cause in told.items():
        same = sorted({str(each) for each in alike[key] if each is not None and each != cause.subject})
        kind = cause.subject.resource if cause.subject is not None else None
        of_kind = [each for each in same if kind is not None and each.startswith(f"{kind.kind.lower()}/")]
        yield replace(cause, evidence=(*cause.evidence, f"so it is with {', '.join(of_kind)}")) if of_kind else cause


def _key(cause: Cause) -> Hashable:
    """The same for causes that one change mends."""
    if cause.fix is None or not cause.fix.actions:
        return cause.rule, cause.sentence
    # A pod that has to go besides is each one's own.
    changes = [each for each in cause.fix.actions if each.verb != "delete"] or cause.fix.actions
    return cause.rule, tuple((each.verb, each.ref, repr(each.body)) for each in changes)


def _absent(subject: Ref, world: World, fault: str) -> Explanation | tuple[Query, ...]:
    if fault:
        return Explanation(subject, Condition(None, fault), unseen=(fault,), found=False)
    try:
        there = world.all(subject.resource, subject.namespace)
    except Wanted as wanted:
        return wanted.queries
    names = [text(part(each, "metadata"), "name") for each in there]
    near = nearest(subject.name, names)
    return Explanation(
        subject, Condition(None, f"there is no {subject.place}"), unseen=tuple(world.unseen), found=False, near=near
    )


def _events(world: World, subject: Ref) -> tuple[str, ...]:
    found = world.events(subject)[:_EVENTS_SHOWN]
    return tuple(f"{text(each, 'type')} {text(each, 'reason')}: {text(each, 'message')}" for each in found)
