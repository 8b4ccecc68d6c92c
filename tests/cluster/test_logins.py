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
