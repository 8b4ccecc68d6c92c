"""How a registry is reached: hosts.toml as containerd reads it."""

from __future__ import annotations

from pathlib import Path

import pytest

from sampan.node.images import hosts
from sampan.node.images.hosts import Endpoint


def test_what_is_written_is_what_is_read() -> None:
    server = Endpoint("https://r.example:5000", ca=("/ca.pem",), client=(("/c.pem", "/c.key"),), skip_verify=True)
    mirror = Endpoint('http://mirror.example/a"b', ("pull", "resolve"))
    assert hosts.parse(hosts.render(server, [mirror]), "r.example:5000") == [mirror, server]


@pytest.mark.parametrize(
    ("written", "client"),
    [
        ('"/c.pem"', (("/c.pem", ""),)),
        ('["/c.pem", "/d.pem"]', (("/c.pem", ""), ("/d.pem", ""))),
        ('[["/c.crt", "/c.key"], ["/d.pem", ""]]', (("/c.crt", "/c.key"), ("/d.pem", ""))),
    ],
)
def test_client_certificates_may_be_written_in_three_ways(written: str, client: tuple[tuple[str, str], ...]) -> None:
    [found] = hosts.parse(f'[host."https://r.example"]\n  client = {written}\n', "r.example")
    assert found.client == client


def test_a_path_that_is_given_is_the_whole(tmp_path: Path) -> None:
    text = '[host."https://r.example/mirror/v2"]\n  override_path = true\n[host."https://s.example/v2"]\n'
    assert [each.api for each in hosts.parse(text, "r.example")][:2] == [
        "https://r.example/mirror/v2",
        "https://s.example/v2",
    ]


def test_an_address_that_is_none_is_shown_without_its_password() -> None:
    for url, shown in (("ftp://r.example/x", "ftp://r.example/x"), ("http://a:secret@r.example", "http://r.example")):
        with pytest.raises(ValueError, match=f"^{shown} is no address of a registry"):
            hosts.parse(f'[host."{url}"]\n', "r.example")


def test_the_registry_itself_is_asked_last() -> None:
    text = '[host."https://mirror.example/v2/"]\n  capabilities = ["pull"]\n'
    mirror, itself = hosts.parse(text, "docker.io")
    assert mirror == Endpoint("https://mirror.example", ("pull",))
    assert itself.url == "https://registry-1.docker.io"


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("localhost:5000", "http://localhost:5000"),
        ("127.0.0.1", "http://127.0.0.1"),
        ("r.example", "https://r.example"),
        ("docker.io", "https://registry-1.docker.io"),
    ],
)
def test_plain_http_is_for_this_machine_alone(host: str, url: str) -> None:
    assert hosts.default_endpoint(host).url == url


def test_the_registrys_own_folder_comes_before_that_of_all_others(tmp_path: Path) -> None:
    for name, url in (("_default", "https://all.example"), ("r.example_5000_", "https://one.example")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "hosts.toml").write_text(f'server = "{url}"\n')
    assert [each.url for each in hosts.endpoints(tmp_path, "r.example:5000", "push")] == ["https://one.example"]
    assert [each.url for each in hosts.endpoints(tmp_path, "x.example", "pull")] == ["https://all.example"]


def test_a_mirror_for_pulls_takes_no_pushes(tmp_path: Path) -> None:
    (tmp_path / "r.example").mkdir()
    text = hosts.render(Endpoint("https://r.example"), [Endpoint("https://mirror.example", ("pull", "resolve"))])
    (tmp_path / "r.example/hosts.toml").write_text(text)
    assert [each.url for each in hosts.endpoints(tmp_path, "r.example", "push")] == ["https://r.example"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("server = ", "it is no TOML"),
        ('server = "ftp://r.example"', "write it like https://"),
        ('server = "https://user:secret@r.example"', "r.example is no address of a registry"),
        ('host = "r.example"', "host is not a table"),
        ('[host."https://r.example"]\nca = 3', "ca is no list of texts"),
    ],
)
def test_what_cannot_be_read_is_told_without_what_is_secret(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "r.example").mkdir()
    (tmp_path / "r.example/hosts.toml").write_text(text)
    with pytest.raises(hosts.HostsError, match=words) as caught:
        hosts.endpoints(tmp_path, "r.example", "pull")
    assert "secret" not in str(caught.value)
