"""What anybody writes into an object stays text: it ends no word, no line and no section of the configuration."""

from __future__ import annotations

import dataclasses
from typing import Any

from edge_lab import ADDRESS, HTTP, OWNER, ask, lab
from hypothesis import example, given, settings
from hypothesis import strategies as st
from ingress_world import World, ingress, path, rule

from sampan.edge.checking import check, expression_faults
from sampan.edge.haproxy.render import Rendered, Settings, render
from sampan.edge.merging import merge
from sampan.edge.model import (
    Access,
    Affinity,
    Backend,
    BasicAuth,
    Cors,
    Endpoint,
    HeaderEdit,
    Listener,
    Match,
    PathEdit,
    PathMatch,
    Plane,
    Redirect,
    Rewrite,
    Route,
    ValueMatch,
    VirtualHost,
    Weighted,
)

NASTY = "it's \"100%\" \\ %[src] ${HOME} # } if { always_true } 'x' -i"
LINE = "x\n  http-request deny\nfrontend evil\n  bind :1"
BACKEND = Backend("default/web:80", (Endpoint("127.0.0.1", 1),))
#: Where text of a user's comes to stand, as a function from it to a route.
PLACES: dict[str, Any] = {
    "header": lambda text: {"request_headers": HeaderEdit(set=(("X-A", text),))},
    "header name": lambda text: {"request_headers": HeaderEdit(set=((text, "1"),))},
    "removed": lambda text: {"response_headers": HeaderEdit(remove=(text,))},
    "matched": lambda text: {"match": Match(PathMatch(), headers=(ValueMatch("x-a", text),))},
    "matched name": lambda text: {"match": Match(PathMatch(), queries=(ValueMatch(text, "1"),))},
    "expression": lambda text: {"match": Match(PathMatch("regex", text))},
    "value expression": lambda text: {"match": Match(PathMatch(), cookies=(ValueMatch("c", text, "regex"),))},
    "path": lambda text: {"match": Match(PathMatch("exact", "/" + text))},
    "method": lambda text: {"match": Match(PathMatch(), method=text)},
    "location": lambda text: {"redirect": Redirect(location=text)},
    "redirect host": lambda text: {"redirect": Redirect(host=text, path=PathEdit("full", text))},
    "rewrite": lambda text: {"rewrite": Rewrite(text, PathEdit("captures", text))},
    "realm": lambda text: {"access": Access(auth=BasicAuth(text, (("joe", "$1$a$b"),)))},
    "user": lambda text: {"access": Access(auth=BasicAuth("r", ((text, text),)))},
    "sources": lambda text: {"access": Access(sources=(text,))},
    "cors": lambda text: {"cors": Cors((text,), (text,), (text,), (text,))},
    "cookie": lambda text: {
        "backends": (Weighted(dataclasses.replace(BACKEND, affinity=Affinity(text, text, text))),),
    },
    "server name": lambda text: {"backends": (Weighted(dataclasses.replace(BACKEND, name=text)),)},
}
SETTINGS = Settings(files="/files", run="/run", default_certificate="pem")


def _rendered(**what: Any) -> tuple[Rendered, bool]:
    """The configuration for a route, and whether it was refused."""
    route = dataclasses.replace(Route("r", OWNER, backends=(Weighted(BACKEND),)), **what)
    neighbour = Route("n", OWNER, Match(PathMatch("prefix", "/n")), (Weighted(BACKEND),))
    hosts = (VirtualHost("a.io", (route, neighbour)),)
    plane, problems = check(Plane((Listener("http", HTTP, hosts=hosts),)))
    return render(plane, SETTINGS, {}), bool(problems)


def _words(line: str) -> list[str]:
    """As HAProxy reads a line: quotes, backslashes, comments (its manual, 2.2)."""
    found, word, quoted, at = [], None, False, 0
    while at < len(line):
        character = line[at]
        if quoted:
            quoted = character != "'"
            word = (word or "") + ("" if character == "'" else character)
        elif character == "'":
            quoted, word = True, word or ""
        elif character == "\\" and at + 1 < len(line):
            at += 1
            word = (word or "") + line[at]
        elif character == "#":
            break
        elif character in ' "$':
            assert character == " ", f"{character} has a meaning in {line!r}"
            found += [] if word is None else [word]
            word = None
        else:
            word = (word or "") + character
        at += 1
    assert not quoted, f"a quote is open in {line!r}"
    return found if word is None else [*found, word]


def _shape(rendered: Rendered) -> list[int]:
    """How many words each line has."""
    text, owners = rendered.text()
    lines = text.split("\n")[:-1]
    assert len(lines) == len(owners)
    return [len(_words(line)) for line in lines]


def test_a_range_with_a_scope_is_refused() -> None:
    """Whatever text follows the percent sign is an address to Python, and would be a line of a file to HAProxy."""
    rendered, refused = _rendered(access=Access(sources=("2001:db8::%x\nnonsense/64",)))
    assert refused and not any("nonsense" in each for each in rendered.files.values())


@settings(max_examples=70)
@given(st.sampled_from(sorted(PLACES)), st.text(st.characters(max_codepoint=0x2FF), max_size=30))
@example("header", NASTY)
@example("header", LINE)
@example("path", "x y\nv0/admin evil")
@example("user", "joe' password 'x")
@example("server name", LINE)
@example("redirect host", "a.io\nbackend x")
def test_text_of_anybody_changes_no_word_but_its_own(place: str, text: str) -> None:
    rendered, refused = _rendered(**PLACES[place](text))
    if refused:
        return
    benign, refused = _rendered(**PLACES[place](_BENIGN.get(place, "word")))
    assert refused or len(_shape(rendered)) == len(_shape(benign)) or place in _VARIES
    assert all("\n" not in line for line, _ in rendered.lines)
    _shape(rendered)
    for name, content in rendered.files.items():
        if name.endswith(".map"):
            assert all(len(line.split(" ")) == 2 for line in content.splitlines()), name


_BENIGN = {"sources": "10.0.0.0/8", "expression": "/x", "cors": "word"}
#: Where an empty text or a star means another number of lines.
_VARIES = frozenset((
    "cors", "location", "redirect host", "rewrite", "cookie", "method", "sources", "user", "matched",
    "value expression",
))  # fmt: skip


async def test_a_nasty_value_arrives_as_it_was_written() -> None:
    async with lab() as made:
        backend = Backend("default/web:80", (await made.backend("web"),))
        route = Route(
            "r",
            OWNER,
            Match(PathMatch(), headers=(ValueMatch("X-Nasty", NASTY),)),
            (Weighted(backend),),
            request_headers=HeaderEdit(set=(("X-Got", NASTY),)),
            response_headers=HeaderEdit(add=(("X-Back", NASTY),)),
        )
        listener = Listener("http", HTTP, address=ADDRESS, hosts=(VirtualHost("a.io", (route,)),))
        assert await made.plane.apply(Plane((listener,))) == []
        answer = await ask("a.io", "/", headers={"X-Nasty": NASTY})
        assert (answer.got["headers"]["x-got"], answer.headers["x-back"]) == (NASTY, NASTY)
        assert (await ask("a.io", "/", headers={"X-Nasty": "other"})).status == 404


def test_an_annotation_with_a_line_break_costs_its_own_ingress_alone() -> None:
    evil = ingress("evil", rule("evil.io", path("/", "one")), annotations={"upstream-vhost": LINE})
    good = ingress("good", rule("good.io", path("/", "one")))
    world = World(ingresses=[evil, good])
    world.serve("one", Endpoint("127.0.0.1", 1))
    plane, problems = check(merge(world.plan().listeners)[0])
    assert {problem.owner.name for problem in problems} == {"evil"}
    text, _ = render(plane, SETTINGS, {}).text()
    assert "evil\n" not in text and "default_good" in text


def test_expressions_that_may_take_exponential_time_are_refused() -> None:
    for text in (r"(a+)+$", r"(a*)*b", r"((x|y+)*z)*", r"(?:\d+\s?)+$", "(", r"(?=x)", "x" * 5000):
        assert list(expression_faults(text)), text
    for text in (r"/foo(/|$)(.*)", r"/item/[0-9]+", r"/a/([^/]+)/b/.*", r"\.(png|jpe?g)$", r"(ab?){1,20}x*"):
        assert not list(expression_faults(text)), text
