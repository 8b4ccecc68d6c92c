"""From a request to a section: the rules and maps of one listener. Pure.

Host and path are looked up in maps, so that the number of hosts and paths costs nothing; the value is the section, or
a question (``@...``) that rules after it answer: headers, methods, weights. A request that no rule takes stays at a
question, or at nothing, and gets 404. Which routes may match when a path's own do not (a shorter prefix of the same
host) is worked out here, not when a request comes.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import field

from sampan.edge.haproxy import sections, words
from sampan.edge.haproxy.sections import Section
from sampan.edge.matching import exactness, in_order, prefix_key
from sampan.edge.model import Listener, Match, Owner, PathMatch, Route, ValueMatch, VirtualHost
from sampan.records import dataclass

Line = tuple[str, Owner | None]
Known = dict[tuple[int, int], str]


@dataclass(slots=True)
class Dispatch:
    """``lines`` of the frontend, each with whom it is for; ``maps``: lines of a file by its name."""

    lines: list[Line] = field(default_factory=list)
    maps: dict[str, list[str]] = field(default_factory=dict)
    sections: dict[str, Section] = field(default_factory=dict)
    #: names of sections, by the identity of a route and the share: listeners have most of their routes in common
    known: Known = field(default_factory=dict)
    #: questions, by the identity of the routes that may answer them
    asked: dict[tuple[tuple[int, bool], ...], str] = field(default_factory=dict)
    _acls: int = 0
    _questions: int = 0

    def rule(self, text: str, owner: Owner | None = None) -> None:
        self.lines.append((text, owner))

    def acl(self, text: str, owner: Owner) -> str:
        """Named, for in an anonymous one a pattern "}" would be its end."""
        self._acls += 1
        name = f"c{self._acls}"
        self.rule(f"acl {name} {text}", owner)
        return name

    def question(self) -> str:
        self._questions += 1
        return f"@{self._questions}"


def dispatch(
    listener: Listener, place: str, server_options: sections.Options, all_sections: dict[str, Section], known: Known
) -> Dispatch:
    """``place``: the directory of the maps, and what their names begin with. The sections are added to those of all
    listeners."""
    made = Dispatch(sections=all_sections, known=known)
    hosts = sorted((host for host in listener.hosts if host.routes), key=lambda host: exactness(host.name))
    _host_rules(made, hosts, place)
    exact: list[str] = []
    prefixes: dict[str, str] = {}
    questions: list[tuple[str, list[tuple[Route, bool]]]] = []
    expressions: list[tuple[str, Route, str]] = []
    for number, host in enumerate(hosts):
        label = f"v{number}"
        for path, leaf in _leaves(host).items():
            target = _target(made, leaf, questions, server_options)
            if path.kind == "regex":
                expressions.append((label, leaf[0][0], target))
            elif path.kind == "exact":
                exact.append(f"{label}{path.value} {target}")
            else:
                prefixes.setdefault(f"{label}{prefix_key(path)}", target)
    key = "var(txn.host_id),concat(,txn.path,"
    made.rule("http-request set-var(txn.path) path")
    if exact:
        made.maps["exact"] = exact
        made.rule(f"http-request set-var(txn.to) {key}),map_str({place}exact.map)")
    for label, route, target in expressions:
        path = route.match.path
        flags = "-i " if path.ignore_case else ""
        taken = made.acl(f"path -m reg {flags}{words.expression(f'^(?:{path.value})')}", route.owner)
        made.rule(
            f"http-request set-var(txn.to) str({target}) if !{{ var(txn.to) -m found }} "
            f"{{ var(txn.host_id) -m str {label} }} {taken}",
            route.owner,
        )
    if prefixes:
        made.maps["prefix"] = [f"{beginning} {target}" for beginning, target in sorted(prefixes.items())]
        rule = f"http-request set-var(txn.to) {key}/),map_beg({place}prefix.map)"
        made.rule(rule + " if !{ var(txn.to) -m found }")
    for question, candidates in questions:
        _answer(made, question, candidates, server_options)
    return made


def _host_rules(made: Dispatch, hosts: Sequence[VirtualHost], place: str) -> None:
    names: dict[str, list[str]] = {"hosts": [], "labels": [], "suffixes": []}
    anyhow = ""
    for number, host in enumerate(hosts):
        label = f"v{number}"
        if not host.name:
            anyhow = label
        elif not host.name.startswith("*."):
            names["hosts"].append(f"{host.name.lower()} {label}")
        else:
            names["suffixes" if host.deep else "labels"].append(f"{host.name[1:].lower()} {label}")
    unknown = "!{ var(txn.host_id) -m found }"
    made.maps |= {name: lines for name, lines in names.items() if lines}
    if names["hosts"]:
        made.rule(f"http-request set-var(txn.host_id) var(txn.host),map_str({place}hosts.map)")
    if names["labels"]:
        rule = f"http-request set-var(txn.host_id) var(txn.host),regsub('^[^.]+',''),map_str({place}labels.map)"
        made.rule(f"{rule} if {unknown}")
    if names["suffixes"]:  # in the order of their lengths, as ``hosts`` has them: the first fitting one is the longest
        made.rule(f"http-request set-var(txn.host_id) var(txn.host),map_end({place}suffixes.map) if {unknown}")
    if anyhow:
        made.rule(f"http-request set-var(txn.host_id) str({anyhow}) if {unknown}")


def _leaves(host: VirtualHost) -> dict[PathMatch, list[tuple[Route, bool]]]:
    """For each path of a host the routes that may take its requests, in order, and whether the path of each has still
    to be looked at. The last of them, if any, takes all that is left."""
    paths = _Paths(host.routes)
    return {path: list(paths.candidates(path)) for path in paths.places}


def _canonical(path: PathMatch) -> PathMatch:
    """Prefixes that are one key of the map are one path."""
    return PathMatch("begins", prefix_key(path)) if path.kind in ("prefix", "begins") else path


class _Paths:
    """The routes of a host by their paths: what else may take a path's requests is found without a look at all."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._routes = in_order(routes)
        #: by path: where its routes are in the order
        self.places: dict[PathMatch, list[int]] = {}
        for place, route in enumerate(self._routes):
            self.places.setdefault(_canonical(route.match.path), []).append(place)
        self._expressions = [path for path in self.places if path.kind == "regex"]
        self._prefixes = [path for path in self.places if path.kind == "begins"]
        self._lengths = sorted({len(path.value) for path in self._prefixes}, reverse=True)

    def candidates(self, leaf: PathMatch) -> Iterator[tuple[Route, bool]]:
        """Exact paths, longer prefixes and expressions before this one have had their turn."""
        own = self.places[leaf]
        others: Iterable[PathMatch] = self._shorter(leaf)
        if leaf.kind == "regex":
            others = (*self._expressions, *self._prefixes)
        elif leaf.kind == "exact":
            others = (*self._expressions, *others)
        found = (self.places[path] for path in others if path != leaf)
        later = ((place for place in places if place > own[0]) for places in found)
        for place in heapq.merge(own, *later):
            route = self._routes[place]
            open_path = leaf.kind != "begins" and _canonical(route.match.path) != leaf
            open_path = open_path and (leaf.kind == "regex" or route.match.path.kind == "regex")
            yield route, open_path
            if not open_path and not route.match.conditional:
                return

    def _shorter(self, leaf: PathMatch) -> Iterator[PathMatch]:
        """Prefixes of it."""
        value = leaf.value + ("/" if leaf.kind == "exact" else "")
        for length in self._lengths:
            if length <= len(value):
                path = PathMatch("begins", value[:length])
                if path in self.places:
                    yield path


def _target(
    made: Dispatch,
    candidates: list[tuple[Route, bool]],
    questions: list[tuple[str, list[tuple[Route, bool]]]],
    options: sections.Options,
) -> str:
    route, open_path = candidates[0]
    if not open_path and not route.match.conditional and len(shares := sections.shares(route)) == 1:
        return _section(made, route, shares[0][1], options)
    asked = tuple((id(route), open_path) for route, open_path in candidates)
    if asked not in made.asked:
        made.asked[asked] = made.question()
        questions.append((made.asked[asked], candidates))
    return made.asked[asked]


def _section(made: Dispatch, route: Route, share: int, options: sections.Options) -> str:
    name = made.known.get((id(route), share))
    if name is None:
        section = sections.section(route, share, options)
        for each in (section, *section.copies):
            made.sections.setdefault(each.name, each)
        name = made.known[id(route), share] = section.name
    return name


def _answer(made: Dispatch, question: str, candidates: list[tuple[Route, bool]], options: sections.Options) -> None:
    for route, open_path in candidates:
        conditions = list(_conditions(made, route.match, route.owner, open_path))
        asked = f"{{ var(txn.to) -m str {question} }} {' '.join(conditions)}".rstrip()
        shares = sections.shares(route)
        if len(shares) == 1:
            target = _section(made, route, shares[0][1], options)
            made.rule(f"http-request set-var(txn.to) str({target}) if {asked}", route.owner)
            continue
        dice = made.question()
        total = sum(weight for weight, _ in shares)
        made.rule(f"http-request set-var(txn.to) str({dice}) if {asked}", route.owner)
        asked = f"{{ var(txn.to) -m str {dice} }}"
        made.rule(f"http-request set-var(txn.dice) rand({total}) if {asked}", route.owner)
        below = 0
        for weight, share in shares:
            below += weight
            target = _section(made, route, share, options)
            made.rule(
                f"http-request set-var(txn.to) str({target}) if {asked} {{ var(txn.dice) -m int lt {below} }}",
                route.owner,
            )


def _conditions(made: Dispatch, match: Match, owner: Owner, open_path: bool) -> Iterator[str]:
    if open_path:
        path = match.path
        if path.kind == "regex":
            flags = "-i " if path.ignore_case else ""
            yield made.acl(f"path -m reg {flags}{words.expression(f'^(?:{path.value})')}", owner)
        else:
            beginning = prefix_key(path)
            name = made.acl(f"path -m beg {words.pattern(beginning)}", owner)
            if beginning.endswith("/") and beginning != "/":  # a second line of an acl is an alternative
                made.rule(f"acl {name} path -m str {words.pattern(beginning[:-1])}", owner)
            yield name
    if match.method:
        yield made.acl(f"method {words.pattern(match.method)}", owner)
    for header in match.headers:
        yield made.acl(_value(f"req.fhdr({header.name})", header), owner)
    for parameter in match.queries:
        yield made.acl(_value(f"url_param({parameter.name}),url_dec(1)", parameter), owner)
    for cookie in match.cookies:
        yield made.acl(_value(f"req.cook({cookie.name})", cookie), owner)


def _value(sample: str, wanted: ValueMatch) -> str:
    if wanted.kind == "present":
        return f"{sample} -m found"
    if wanted.kind == "exact":
        return f"{sample} -m str {words.pattern(wanted.value)}"
    return f"{sample} -m reg {words.expression(f'^(?:{wanted.value})$')}"
