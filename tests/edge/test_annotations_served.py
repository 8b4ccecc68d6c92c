"""What annotations of ingress-nginx ask for happens to requests, with the real program."""

from __future__ import annotations

import base64
from collections import Counter

import pytest
from edge_lab import Connection, connected, lab
from ingress_world import World, ingress, path, rule, secret

from sampan.edge.merging import merge

APR1 = "$apr1$abcdefgh$h9FWgUz3n9YxylKLlR5SQ/"
SHA512 = "$6$abcdefgh$ltjgWl6579NluT/Vi1nwEvcil.G5Nbc4NiXZaNGStk8PSwGfQv72N2CKPPrVACtLtip/cZ/1GM/O6IND4WQhG."
SHA1 = "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ="


def _annotated(name: str, *paths: object, **annotations: str) -> object:
    served = paths or (path("/", "one"),)
    named = {key.replace("_", "-"): value for key, value in annotations.items()}
    return ingress(name, rule(f"{name}.io", *served), annotations=named)  # type: ignore[arg-type]


INGRESSES = [
    _annotated("capture", path("/some(/|$)(.*)", "one", "ImplementationSpecific"), rewrite_target="/new/$2"),
    _annotated("flat", path("/app", "one"), rewrite_target="/flat"),
    _annotated("small", proxy_body_size="1k"),
    _annotated("vast", proxy_body_size="999999999999g"),
    _annotated("locked", auth_type="basic", auth_secret="users", auth_realm="Mine"),
    _annotated("keys", auth_type="basic", auth_secret="keys", auth_secret_type="auth-map"),
    _annotated("nokey", auth_type="basic", auth_secret="nothing"),
    _annotated("inside", whitelist_source_range="127.0.0.0/8"),
    _annotated("outside", whitelist_source_range="10.0.0.0/8,192.0.2.1"),
    _annotated("wrong", whitelist_source_range="10.0.0.0/8,nonsense"),
    _annotated("denied", denylist_source_range="127.0.0.0/8"),
    _annotated("slow", limit_rps="1"),
    _annotated("guarded", auth_url="http://auth.io/"),
    _annotated("snippet", configuration_snippet="deny all;"),
    _annotated("cors", enable_cors="true", cors_allow_origin="https://*.x.io", cors_max_age="10"),
    _annotated("vhost", upstream_vhost="inner.io", x_forwarded_prefix="/p"),
    _annotated("sticky", path("/", "both"), affinity="cookie", session_cookie_name="who", session_cookie_max_age="60"),
    _annotated("bare", from_to_www_redirect="true"),
    _annotated("head"), _annotated("share"),
    ingress("head-canary", rule("head.io", path("/", "two")),
            annotations={"canary": "true", "canary-by-header": "X-New", "canary-by-cookie": "new"}),
    ingress("share-canary", rule("share.io", path("/", "two")), annotations={"canary": "true", "canary-weight": "50"}),
]  # fmt: skip


def _basic(user: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


async def _statuses(connection: Connection, host: str, count: int) -> list[int]:
    return [(await connection.ask(host, "/")).status for _ in range(count)]


async def test_annotations_do_to_requests_what_they_say() -> None:
    async with lab() as made:
        world = World(ingresses=INGRESSES)  # type: ignore[arg-type]
        one, two = await made.backend("one"), await made.backend("two")
        world.serve("one", one)
        world.serve("two", two)
        world.serve("both", one, two)
        world.secrets["users"] = secret(auth=f"joe:{APR1}\nann:{SHA512}\nsue:{SHA1}\nbad:plain\n")
        world.secrets["keys"] = secret(kay=APR1)
        plane, _ = merge(world.plan().listeners)
        assert [problem.owner.name for problem in await made.plane.apply(plane)] == ["wrong"]
        async with connected() as connection:
            await _paths(connection)
            await _guards(connection)
            await _canaries(connection)
            await _headers(connection)
            # in the end: the program closes a connection on which it did not read a body
            assert (await connection.ask("vast.io", "/", "POST", body=b"x" * 900)).got["size"] == 900
            assert (await connection.ask("small.io", "/", "POST", body=b"x" * 900)).got["size"] == 900
            assert (await connection.ask("small.io", "/", "POST", body=b"x" * 2000)).status == 413
        for declared, status in ((2**31, 413), (2**32, 413), (10**18 - 1, 413), (2**64 - 1, 400), (2**64, 400)):
            async with connected() as connection:
                length = {"Content-Length": str(declared)}
                assert (await connection.ask("small.io", "/", "POST", headers=length)).status == status, declared


async def _paths(connection: Connection) -> None:
    assert (await connection.ask("capture.io", "/some/thing?a=1")).got["path"] == "/new/thing?a=1"
    assert (await connection.ask("capture.io", "/some")).got["path"] == "/new/"
    assert (await connection.ask("capture.io", "/something")).status == 404
    assert (await connection.ask("flat.io", "/app/x?a=1")).got["path"] == "/flat?a=1"
    www = await connection.ask("www.bare.io", "/x")
    assert (www.status, www.headers["location"]) == (308, "http://bare.io:9180/x")


async def _guards(connection: Connection) -> None:
    async def status(host: str, **headers: str) -> int:
        return (await connection.ask(host, "/", headers=headers)).status

    refused = await connection.ask("locked.io", "/")
    assert (refused.status, refused.headers["www-authenticate"]) == (401, 'Basic realm="Mine"')
    for user in ("joe", "ann", "sue"):
        assert await status("locked.io", **_basic(user, "secret")) == 200
        assert await status("locked.io", **_basic(user, "wrong")) == 401
    assert await status("locked.io", **_basic("bad", "plain")) == 401
    assert await status("locked.io", Authorization="Basic ????") == 401
    assert (await status("keys.io", **_basic("kay", "secret")), await status("keys.io")) == (200, 401)
    assert await status("nokey.io", **_basic("joe", "secret")) == 401
    assert [await status(f"{name}.io") for name in ("inside", "outside", "denied")] == [200, 403, 403]
    # What was to keep people out and cannot be read, or is not known, lets nobody in; a snippet is left away.
    assert [await status(f"{name}.io") for name in ("wrong", "guarded", "snippet")] == [503, 503, 200]
    statuses = await _statuses(connection, "slow.io", 20)
    assert statuses[:6] == [200] * 6 and 503 in statuses


async def _canaries(connection: Connection) -> None:
    async def backend(**headers: str) -> str:
        return str((await connection.ask("head.io", "/", headers=headers)).got["backend"])

    assert await backend() == "one"
    assert (await backend(**{"X-New": "always"}), await backend(**{"X-New": "never"})) == ("two", "one")
    assert (await backend(Cookie="new=always"), await backend(Cookie="new=never")) == ("two", "one")
    assert await backend(**{"X-New": "never", "Cookie": "new=always"}) == "one"
    shares = Counter([(await connection.ask("share.io", "/")).got["backend"] for _ in range(60)])
    assert set(shares) == {"one", "two"}  # one in 2**59 is otherwise


async def _headers(connection: Connection) -> None:
    origin = {"Origin": "https://a.x.io"}
    asked = {**origin, "Access-Control-Request-Method": "PUT"}
    preflight = await connection.ask("cors.io", "/", "OPTIONS", headers=asked)
    assert (preflight.status, preflight.headers["access-control-allow-origin"]) == (204, "https://a.x.io")
    assert preflight.headers["access-control-max-age"] == "10"
    answer = await connection.ask("cors.io", "/", headers=origin)
    assert answer.headers["access-control-allow-credentials"] == "true"
    stranger = await connection.ask("cors.io", "/", headers={"Origin": "https://x.io.evil"})
    assert "access-control-allow-origin" not in stranger.headers
    got = (await connection.ask("vhost.io", "/", headers={"X-Forwarded-For": "6.6.6.6"})).got
    assert (got["host"], got["headers"]["x-forwarded-prefix"]) == ("inner.io", "/p")
    assert got["headers"]["x-forwarded-for"] == "127.0.0.1"
    assert got["headers"]["x-forwarded-host"] == "vhost.io"
    first = await connection.ask("sticky.io", "/")
    cookie, _, attributes = first.headers["set-cookie"].partition(";")
    assert cookie.startswith("who=") and "Max-Age=60" in attributes and "Path=/" in attributes
    again = {(await connection.ask("sticky.io", "/", headers={"Cookie": cookie})).got["backend"] for _ in range(8)}
    assert again == {first.got["backend"]}


def test_annotations_that_are_refused_are_told_by_name() -> None:
    world = World(ingresses=INGRESSES)  # type: ignore[arg-type]
    for name in ("one", "two", "both"):
        world.serve(name)
    world.secrets["users"] = secret(auth="bad:plain\n")
    told = {note.owner.name: note.message for note in world.plan().notes}
    assert "configuration-snippet is refused" in told["snippet"]
    assert "all requests are answered with 503" in told["guarded"]
    assert "user bad" in told["locked"]
    assert "there is no Secret default/nothing" in told["nokey"]


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("proxy-body-size", "much", "a size such as 8m is expected"),
        ("proxy-read-timeout", "-1", "a number of seconds is expected"),
        ("use-regex", "perhaps", "true or false is expected"),
        ("permanent-redirect", "javascript:x", "begins with http"),
        ("backend-protocol", "FCGI", "one of AUTO_HTTP, GRPC"),
        ("affinity", "ip", "only cookie is known"),
        ("auth-type", "digest", "only basic is known"),
        ("no-such-thing", "1", "is not known here"),
    ],
)
def test_values_that_cannot_be_read_are_told_with_what_is_expected(name: str, value: str, said: str) -> None:
    world = World(ingresses=[ingress("it", rule("it.io", path("/", "one")), annotations={name: value})])
    world.serve("one")
    (note,) = world.plan().notes
    assert note.reason == "AnnotationRefused" and said in note.message
