"""Which of a pod's pull secrets are for an image, in all the ways people spell a registry."""

from __future__ import annotations

import base64
from typing import Any

import orjson
import pytest

from sampan.node.images.keyring import BadPullSecretError, find_credentials, is_heavy


def secret(name: str, auths: Any, kind: str = "dockerconfigjson") -> Any:
    content = {"auths": auths} if kind == "dockerconfigjson" else auths
    data = base64.b64encode(orjson.dumps(content)).decode()
    meta = {"name": name, "namespace": "default", "uid": f"uid-{name}"}
    return {"metadata": meta, "type": f"kubernetes.io/{kind}", "data": {f".{kind}": data}}


def user(name: str) -> Any:
    return {"auth": base64.b64encode(f"{name}:pass:word".encode()).decode()}


def users(repository: str, *secrets: Any) -> list[str]:
    found = find_credentials(repository, secrets)
    assert all(each.auth.password == "pass:word" and each.auth.server_address == "" for each in found)
    return [each.auth.username for each in found]


@pytest.mark.parametrize(
    ("spelling", "repository"),
    [
        ("r.example", "r.example/app"),
        ("r.example:5000", "r.example:5000/app"),
        ("localhost:15001", "localhost:15001/app"),
        ("http://localhost:15001", "localhost:15001/app"),
        ("https://r.example", "r.example/app"),
        ("https://r.example/", "r.example/app"),
        ("https://r.example/v2/", "r.example/app"),
        ("https://r.example/v1/", "r.example/app"),
        ("http://r.example:5000/v2/", "r.example:5000/app"),
        ("r.example/team", "r.example/team/app"),
        ("https://r.example/v2/team", "r.example/team/app"),
        ("r.example/team/app", "r.example/team/app"),
        ("*.example", "r.example/app"),
        ("r*.example", "r1.example/app"),
        ("*.*.example", "eu.r.example/app"),
        ("*.r.example:5000", "eu.r.example:5000/app"),
        ("https://index.docker.io/v1/", "docker.io/library/busybox"),
        ("index.docker.io", "docker.io/library/busybox"),
        ("docker.io", "docker.io/me/app"),
        ("docker.io/me", "docker.io/me/app"),
    ],
)
def test_a_registry_is_found_however_it_is_spelled(spelling: str, repository: str) -> None:
    assert users(repository, secret("s", {spelling: user("u")})) == ["u"]
    assert users(repository, secret("s", {spelling: user("u")}, "dockercfg")) == ["u"]


@pytest.mark.parametrize(
    ("spelling", "repository"),
    [
        ("r.example", "other.example/app"),
        ("r.example", "r.example:5000/app"),
        ("r.example:5000", "r.example/app"),
        ("r.example:5000", "r.example:5001/app"),
        ("*.example", "eu.r.example/app"),
        ("example", "r.example/app"),
        ("r.example/team", "r.example/other/app"),
        ("r.example/*", "r.example/team/app"),
        ("index.docker.io", "r.example/app"),
        ("http://[", "r.example/app"),
        ("r.example:port", "r.example/app"),
        ("", "r.example/app"),
    ],
)
def test_credentials_go_to_no_other_registry(spelling: str, repository: str) -> None:
    assert users(repository, secret("s", {spelling: user("u")})) == []


def test_a_longer_path_comes_first_and_every_fitting_one_is_tried() -> None:
    one = secret("one", {"r.example": user("all"), "r.example/team": user("team"), "other": user("x")})
    two = secret("two", {"https://r.example": user("second")})
    assert users("r.example/team/app", one, two) == ["team", "all", "second"]


def test_the_default_registrys_credentials_are_a_last_resort() -> None:
    both = secret("s", {"docker.io/me": user("me"), "https://index.docker.io/v1/": user("hub")})
    assert users("docker.io/me/app", both) == ["me"]
    assert users("docker.io/library/app", both) == ["hub"]


def test_auth_wins_over_user_name_and_password() -> None:
    entry = {"username": "plain", "password": "x", **user("encoded")}
    assert users("r.example/app", secret("s", {"r.example": entry})) == ["encoded"]


def test_plain_user_name_and_password_are_enough() -> None:
    entry = {"username": "plain", "password": "pass:word"}
    assert users("r.example/app", secret("s", {"r.example": entry})) == ["plain"]


def test_an_identity_token_comes_before_the_placeholder_beside_it() -> None:
    entry = {**user("00000000-0000-0000-0000-000000000000"), "identitytoken": "t0ken"}
    [found] = find_credentials("r.example/app", [secret("s", {"r.example": entry})])
    assert (found.auth.username, found.auth.password, found.auth.identity_token) == ("", "", "t0ken")
    [other] = find_credentials("r.example/app", [secret("s", {"r.example": {**entry, "identitytoken": "another"}})])
    assert found.hash != other.hash


def test_auth_may_lack_its_padding() -> None:
    entry = {"auth": user("uv")["auth"].rstrip("=")}
    assert users("r.example/app", secret("s", {"r.example": entry})) == ["uv"]


def test_a_secret_of_another_type_holds_no_credentials() -> None:
    other = {**secret("s", {"r.example": user("u")}), "type": "Opaque"}
    assert users("r.example/app", other) == []
    assert users("r.example/app", {"metadata": {}, "type": "kubernetes.io/dockerconfigjson"}) == []


@pytest.mark.parametrize(
    ("auths", "words"),
    [
        ({"r.example": {"auth": "!!!"}}, "unable to parse auth field, it is not base64"),
        (
            {"r.example": {"auth": base64.b64encode(b"no colon").decode()}},
            r"unable to parse auth field, must be formatted as base64\(username:password\)",
        ),
        ({"r.example": {"auth": 5}}, "must be strings"),
        ({"r.example": {"username": ["u"]}}, "must be strings"),
        ({"r.example": "u:p"}, "not a map"),
        (["r.example"], "not a map"),
        ("text", "not a map"),
    ],
)
def test_what_cannot_be_read_as_credentials_is_an_error_in_words(auths: Any, words: str) -> None:
    with pytest.raises(BadPullSecretError, match=words):
        find_credentials("elsewhere.example/app", [secret("s", auths)])


@pytest.mark.parametrize("data", ["bm8ganNvbg==", "%%%", "Ww=="])
def test_data_that_is_no_json_is_an_error_in_words(data: str) -> None:
    broken = {**secret("s", {}), "data": {".dockerconfigjson": data}}
    with pytest.raises(BadPullSecretError, match="not JSON"):
        find_credentials("r.example/app", [broken])


def test_a_hash_tells_credentials_apart_and_not_what_they_are() -> None:
    [a], [b], [c] = (
        find_credentials("r.example/app", [secret(name, {"r.example": user(who)})])
        for name, who in (("a", "u"), ("b", "u"), ("c", "v"))
    )
    assert a.hash == b.hash != c.hash
    assert "pass" not in a.hash


def test_a_pattern_longer_than_any_host_is_for_none_and_compiled_for_nobody() -> None:
    long = "*" * 100_000
    assert users("r.example/app", secret("s", {f"{long}.example": user("u"), "r.example": user("v")})) == ["v"]


def test_text_that_is_no_base64_is_told_of_the_secret() -> None:
    with pytest.raises(BadPullSecretError, match="not base64"):
        find_credentials("r.example/app", [secret("s", {"r.example": {"auth": "\u00e9"}})])


def test_what_takes_long_to_look_through_is_known_by_its_size() -> None:
    few, many = ({f"r{number}.example": user("u") for number in range(count)} for count in (3, 1000))
    assert not is_heavy([secret("s", few)])
    assert is_heavy([secret("s", few), secret("t", many)])
