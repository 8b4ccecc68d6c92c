"""Credentials that ``sampan image pull`` finds."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from sampan.cluster import logins
from sampan.cluster.errors import ClusterError


def test_a_password_is_a_line_of_standard_input() -> None:
    auth = logins.of_user("me", b"s3cret\n").auth
    assert (auth.username, auth.password) == ("me", "s3cret")
    with pytest.raises(ClusterError, match="holds no password"):
        logins.of_user("me", b"\n")


def test_what_docker_keeps_for_the_registry_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = {"auth": base64.b64encode(b"me:s3cret").decode()}
    content = {"auths": {"https://r.example/v2/": entry, "helper.example": {}}, "credsStore": "desktop"}
    (tmp_path / "config.json").write_text(json.dumps(content))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    [found] = logins.of_docker("r.example/team/app:1")
    assert (found.auth.username, found.auth.password) == ("me", "s3cret")
    assert logins.of_docker("other.example/app:1") == []
    assert logins.of_docker("helper.example/app:1") == []


def test_no_docker_configuration_is_no_error_unless_it_was_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    assert logins.of_docker("r.example/app:1") == []
    with pytest.raises(ClusterError, match="no such file"):
        logins.of_docker("r.example/app:1", tmp_path / "absent.json")
    (tmp_path / "bad.json").write_text("not json")
    with pytest.raises(ClusterError, match="not JSON"):
        logins.of_docker("r.example/app:1", tmp_path / "bad.json")


def helper(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str, **config: object) -> None:
    """A credential helper in PATH, and a docker configuration."""
    program = folder / "docker-credential-safe"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    (folder / "config.json").write_text(json.dumps(config))
    monkeypatch.setenv("DOCKER_CONFIG", str(folder))
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


SAID = """read server; echo '{"ServerURL": "'"$server"'", "Username": "'"$server"'", "Secret": "s3cret"}'"""


@pytest.mark.parametrize(
    ("image", "server"), [("r.example:5000/team/app", "r.example:5000"), ("redis", "https://index.docker.io/v1/")]
)
@pytest.mark.parametrize(
    "config", [{"credsStore": "safe"}, {"credHelpers": {"docker.io": "safe", "r.example:5000": "safe"}}]
)
def test_a_credential_helper_is_asked_for_the_registry(
    config: dict[str, object], image: str, server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    helper(tmp_path, monkeypatch, SAID, **config)
    [found] = logins.of_docker(image)
    assert (found.auth.username, found.auth.password) == (server, "s3cret")


def test_a_helpers_token_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    helper(tmp_path, monkeypatch, """echo '{"Username": "<token>", "Secret": "t0ken"}'""", credsStore="safe")
    assert logins.of_docker("r.example/app")[0].auth.identity_token == "t0ken"


def test_a_helper_that_knows_nothing_leaves_what_the_configuration_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = "echo 'credentials not found in native keychain' >&2; exit 1"
    auths = {"r.example": {"auth": base64.b64encode(b"me:s3cret").decode()}}
    helper(tmp_path, monkeypatch, script, credsStore="safe", auths=auths)
    assert logins.of_docker("r.example/app")[0].auth.username == "me"
    assert logins.of_docker("other.example/app") == []


@pytest.mark.parametrize("script", ["echo 's3cret {'", "echo '{\"Username\": 3}'", "echo s3cret; exit 9"])
def test_a_helper_that_talks_nonsense_is_told_without_what_it_said(
    script: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    helper(tmp_path, monkeypatch, script, credsStore="safe")
    with pytest.raises(ClusterError, match="docker-credential-safe") as caught:
        logins.of_docker("r.example/app")
    assert "s3cret" not in str(caught.value)
