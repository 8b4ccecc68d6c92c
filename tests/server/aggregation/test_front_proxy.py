"""The server takes a front proxy's word for who asks, and nobody else's; extension servers are told whose to take."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
from tests.server.http.pki import issue

from sampan.api.clock import SystemClock
from sampan.api.transport import Call
from sampan.server.app import Server
from sampan.server.authn.frontproxy import FrontProxy, FrontProxyConfig
from sampan.server.config import ServerConfig
from sampan.server.request import Request


class Asked:
    def __init__(self, server: Server, pki: Path) -> None:
        self.server, self._pki = server, pki

    async def who(self, certificate: str, *headers: tuple[str, str]) -> tuple[int, Any]:
        """Status and user of a SelfSubjectReview with this client certificate."""
        context = ssl.create_default_context(cafile=str(self._pki / "ca.crt"))
        context.load_cert_chain(self._pki / f"{certificate}.crt", self._pki / f"{certificate}.key")
        url = f"{self.server.url}/apis/authentication.k8s.io/v1/selfsubjectreviews"
        async with aiohttp.ClientSession() as http:
            request = http.post(url, json={}, headers=list(headers), ssl=context, server_hostname="localhost")
            async with request as response:
                body = await response.json()
                return response.status, body["status"]["userInfo"] if response.status == 201 else body["reason"]


@pytest.fixture(scope="session")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("front-proxy-pki")
    authority = issue(folder, "ca")
    front = issue(folder, "front-proxy-ca", path_length=0)
    issue(folder, "server", authority)
    issue(folder, "bob", authority)
    issue(folder, "front-proxy-client", front)
    issue(folder, "stranger", front)
    return folder


@pytest.fixture
async def asked(config_of: Callable[..., ServerConfig], pki: Path) -> AsyncIterator[Asked]:
    config = config_of(
        bootstrap=True,
        tls_cert=pki / "server.crt",
        tls_key=pki / "server.key",
        client_ca=pki / "ca.crt",
        requestheader_client_ca=pki / "front-proxy-ca.crt",
        requestheader_allowed_names=("front-proxy-client",),
        requestheader_uid_headers=("X-Remote-Uid",),
    )
    async with Server(config) as server:
        yield Asked(server, pki)


async def test_the_front_proxy_says_who_asks(asked: Asked) -> None:
    status, user = await asked.who(
        "front-proxy-client",
        ("X-Remote-User", "alice"),
        ("X-Remote-Uid", "u-1"),
        ("X-Remote-Group", "developers"),
        ("X-Remote-Group", "testers"),
        ("X-Remote-Extra-Scopes%2Fof", "read"),
    )
    assert status == 201
    assert user == {
        "username": "alice",
        "uid": "u-1",
        "groups": ["developers", "testers", "system:authenticated"],
        "extra": {"scopes/of": ["read"]},
    }


async def test_a_client_speaks_for_itself_alone(asked: Asked) -> None:
    for _ in range(2):  # not yet known, and known
        status, user = await asked.who("bob", ("X-Remote-User", "alice"), ("X-Remote-Group", "system:masters"))
        assert (status, user["username"], user["groups"]) == (201, "bob", ["system:authenticated"])


async def test_the_front_proxys_certificate_is_nobodys_identity(asked: Asked) -> None:
    """Its CA signs for proxies; a client of that name would be whoever the CA's holder likes."""
    assert await asked.who("front-proxy-client") == (401, "Unauthorized")


async def test_a_proxy_of_another_name_is_not_believed(asked: Asked) -> None:
    assert await asked.who("stranger", ("X-Remote-User", "alice")) == (401, "Unauthorized")
    assert await asked.who("stranger") == (401, "Unauthorized")


async def test_extension_servers_are_told_whom_to_believe(asked: Asked, pki: Path) -> None:
    found = await asked.server.local_transport().call(
        Call("GET", "/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication")
    )
    assert found["data"] == {
        "client-ca-file": (pki / "ca.crt").read_text(),
        "requestheader-client-ca-file": (pki / "front-proxy-ca.crt").read_text(),
        "requestheader-allowed-names": '["front-proxy-client"]',
        "requestheader-username-headers": '["X-Remote-User"]',
        "requestheader-uid-headers": '["X-Remote-Uid"]',
        "requestheader-group-headers": '["X-Remote-Group"]',
        "requestheader-extra-headers-prefix": '["X-Remote-Extra-"]',
    }


async def test_who_may_read_that_is_upstreams_role(asked: Asked) -> None:
    role = await asked.server.local_transport().call(
        Call(
            "GET",
            "/apis/rbac.authorization.k8s.io/v1/namespaces/kube-system/roles/extension-apiserver-authentication-reader",
        )
    )
    (rule,) = role["rules"]
    assert rule["resourceNames"] == ["extension-apiserver-authentication"]


# -- which CA signed ---------------------------------------------------------------------------------------------------


def der(folder: Path, name: str) -> bytes:
    return ssl.PEM_cert_to_DER_cert((folder / f"{name}.crt").read_text())


def proxy_of(folder: Path, **more: Any) -> FrontProxy:
    config = FrontProxyConfig(client_ca=folder / "front-proxy-ca.crt", **more)
    return FrontProxy(config, folder / "ca.crt", SystemClock())


def request(**headers: str) -> Request:
    return Request("GET", "/", {}, {name.replace("_", "-"): value for name, value in headers.items()})


def test_a_client_below_an_intermediate_is_one_where_the_front_proxys_ca_has_none(tmp_path: Path) -> None:
    middle = issue(tmp_path, "middle", issue(tmp_path, "ca"), ca=True)
    issue(tmp_path, "carol", middle)
    issue(tmp_path, "front-proxy-ca", path_length=0)
    assert proxy_of(tmp_path).is_client(der(tmp_path, "carol"))
    issue(tmp_path, "front-proxy-ca")  # from here on she may be below either
    assert not proxy_of(tmp_path).is_client(der(tmp_path, "carol"))


def test_without_names_every_certificate_of_the_ca_counts(pki: Path) -> None:
    user = proxy_of(pki).authenticate(request(x_remote_user="alice"), der(pki, "stranger"))
    assert user is not None
    assert user.name == "alice"


def test_headers_of_other_names_are_read_and_go_no_further(pki: Path) -> None:
    front = proxy_of(pki, username_headers=("X-First", "X-Who"), extra_prefixes=("X-More-",))
    asked = request(x_who="alice", x_more_scopes="a", accept="b")
    user = front.authenticate(asked, der(pki, "front-proxy-client"))
    assert user is not None
    assert (user.name, user.extra) == ("alice", {"scopes": ("a",)})
    front.drop_headers(asked)
    assert asked.headers == {"accept": "b"}


def test_files_that_cannot_be_read_leave_what_was(pki: Path, tmp_path: Path) -> None:
    for name in ("ca.crt", "front-proxy-ca.crt"):
        (tmp_path / name).write_bytes((pki / name).read_bytes())
    front = proxy_of(tmp_path)
    (tmp_path / "front-proxy-ca.crt").write_bytes(b"rubbish")
    with pytest.raises(ValueError, match="PEM"):
        front.reload()
    assert front.authenticate(request(x_remote_user="alice"), der(pki, "front-proxy-client")) is not None


def test_what_is_published_is_json(pki: Path) -> None:
    said = proxy_of(pki, allowed_names=("a", "b")).published()
    assert orjson.loads(said["requestheader-allowed-names"]) == ["a", "b"]
    assert "requestheader-uid-headers" not in said


def test_a_quick_look_tells_clients_that_are_known_and_claim_nothing(pki: Path) -> None:
    front, bob = proxy_of(pki), der(pki, "bob")
    assert not front.is_plain_client_now(request(), bob)
    assert front.is_client(bob)
    assert front.is_plain_client_now(request(), bob)
    assert not front.is_plain_client_now(request(x_remote_user="alice"), bob)
    assert not front.is_client(der(pki, "stranger"))
    assert not front.is_plain_client_now(request(), der(pki, "stranger"))
