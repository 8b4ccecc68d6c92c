"""What ``init`` leaves for those who join: tokens, the hash of the CA, the sealed keys, ConfigMaps and rights."""

from __future__ import annotations

import base64
import random
import socket
import subprocess
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml

from sampan.api.clock import FixedClock, SystemClock, parse_time
from sampan.api.resources import CONFIG_MAPS, ROLE_BINDINGS, SECRETS
from sampan.client.client import Client
from sampan.client.kubeconfig import Connection
from sampan.cluster import addons, pki
from sampan.cluster.errors import ClusterError
from sampan.cluster.initializing import certificates, objects, reaching, tokens
from sampan.cluster.instance import ClusterSettings, Instance, NodeSettings
from sampan.server.app import Server
from sampan.server.config import ServerConfig

NOW = parse_time("2026-01-01T00:00:00Z")
KEY = "00" * 32
OWNER = {"metadata": {"name": "bootstrap-token-abcdef", "uid": "u"}}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Instance:
    home = tmp_path_factory.mktemp("control")
    instance = Instance(ClusterSettings("one"), home, home, NodeSettings(name="first", address="192.0.2.1"))
    pki.ensure(instance, SystemClock())
    return instance


def test_a_generated_token_has_the_form_of_one() -> None:
    assert tokens.parse(tokens.generate(random.Random(1))) == tuple(tokens.generate(random.Random(1)).split("."))


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ({"token": "short"}, "was not of the form"),
        ({"usages": ("signing", "eating")}, "invalid bootstrap token usage 'eating'"),
        ({"groups": ("system:masters",)}, "bootstrap group 'system:masters' is invalid"),
        ({"usages": ("signing",)}, "token groups cannot be specified"),
        ({"ttl_seconds": 1e12}, "100 years"),
    ],
    ids=["form", "usage", "group", "groups of nobody", "life"],
)
def test_what_cannot_be_a_token_is_refused_by_name(how: dict[str, Any], why: str) -> None:
    token = how.pop("token", "abcdef.0123456789abcdef")
    with pytest.raises(ClusterError) as caught:
        tokens.make(token, NOW, **how)
    assert why in caught.value.message


def test_a_token_without_a_time_to_live_has_no_end() -> None:
    assert tokens.make("abcdef.0123456789abcdef", NOW, ttl_seconds=0).expires is None
    assert tokens.make("abcdef.0123456789abcdef", NOW).expires == parse_time("2026-01-02T00:00:00Z")


def test_the_hash_of_the_ca_is_the_one_that_the_openssl_pipeline_prints(made: Instance) -> None:
    pipeline = (
        "openssl x509 -pubkey -in {} | openssl pkey -pubin -outform der 2>/dev/null | openssl dgst -sha256 -hex"
        " | sed 's/^.* //'"
    )
    shown = subprocess.run(
        ["sh", "-c", pipeline.format(made.pki / "ca.crt")], capture_output=True, text=True, check=True
    ).stdout.strip()
    assert certificates.public_key_hash((made.pki / "ca.crt").read_bytes()) == f"sha256:{shown}"


def test_sealed_keys_open_with_the_same_key_alone(made: Instance) -> None:
    files = certificates.read_shared(made.pki)
    secret = certificates.seal(files, certificates.parse_key(KEY), random.Random(2).randbytes, OWNER)
    assert files["ca.key"] not in base64.b64decode(secret["data"]["ca.key"])
    assert certificates.unseal(secret, certificates.parse_key(KEY), etcd=False) == files
    with pytest.raises(ClusterError, match=r"ca\.crt .* cannot be decrypted"):
        certificates.unseal(secret, bytes(31) + b"\1", etcd=False)
    with pytest.raises(ClusterError, match=r"has no etcd/ca\.crt"):
        certificates.unseal(secret, certificates.parse_key(KEY), etcd=True)


@pytest.mark.parametrize("text", ["", "00", "zz" * 32, KEY + "0"])
def test_a_certificate_key_is_64_hexadecimal_digits(text: str) -> None:
    with pytest.raises(ClusterError, match="64 hexadecimal digits"):
        certificates.parse_key(text)


def test_settings_for_others_name_no_file_of_this_machine() -> None:
    _, obj = objects.settings(ClusterSettings("one", admission_config="/a/file"), "192.0.2.1")
    told = orjson.loads(obj["data"][objects.SETTINGS_KEY])
    assert (told["name"], told["api_address"], told["admission_config"]) == ("one", "192.0.2.1", "")


async def test_a_cluster_tells_strangers_its_ca_and_token_holders_its_settings(made: Instance) -> None:
    clock = FixedClock(NOW)
    async with Server(ServerConfig(listen=False, clock=clock, openapi=False)) as server:
        admin = Client(server.local_transport())
        wanted = [
            *objects.rights(),
            objects.cluster_info((made.pki / "ca.crt").read_bytes(), "https://192.0.2.1:6443"),
            objects.settings(made.cluster, "192.0.2.1"),
        ]
        for _ in range(2):  # whatever is there already is no fault
            await objects.apply(admin, wanted)
        stranger = Client(server.local_transport("system:anonymous", ("system:unauthenticated",)))
        shown = yaml.safe_load((await stranger.get(CONFIG_MAPS, "cluster-info", "kube-public"))["data"]["kubeconfig"])
        assert shown["clusters"][0]["cluster"]["server"] == "https://192.0.2.1:6443"
        joiner = Client(server.local_transport("system:bootstrap:abcdef", ("system:bootstrappers", tokens.NODE_GROUP)))
        assert (await joiner.get(CONFIG_MAPS, "sampan-config", "kube-system"))["data"]["cluster"]
        bindings = await admin.list(ROLE_BINDINGS, "kube-system")
        assert "kubeadm:kubeadm-certs" in {each["metadata"]["name"] for each in bindings["items"]}


async def test_tokens_are_made_listed_and_deleted_by_id_or_whole() -> None:
    clock = FixedClock(NOW)
    async with Server(ServerConfig(listen=False, clock=clock, openapi=False)) as server:
        client = Client(server.local_transport())
        token = tokens.make("abcdef.0123456789abcdef", NOW, description="d")
        await tokens.create(client, token)
        with pytest.raises(ClusterError, match="already exists"):
            await tokens.create(client, token)
        await client.create(SECRETS, {**_secret("bootstrap-token-broken"), "type": "bootstrap.kubernetes.io/token"})
        found, faults = await tokens.listed(client)
        assert found == [token]
        assert faults == [
            "Secret bootstrap-token-broken: bootstrap token name is not of the form 'bootstrap-token-<token-id>'"
        ]
        await tokens.delete(client, tokens.identity_of("abcdef.0123456789abcdef"))
        with pytest.raises(ClusterError, match="there is no bootstrap token 'abcdef'"):
            await tokens.delete(client, tokens.identity_of("abcdef"))


def _secret(name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": "kube-system"}}


def test_what_is_neither_a_token_nor_an_id_cannot_be_deleted() -> None:
    with pytest.raises(ClusterError, match="didn't match pattern"):
        tokens.identity_of("abc")


def test_a_missing_key_is_told_by_its_path(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match=r"cannot read .*/ca\.crt"):
        certificates.read_shared(tmp_path)


@pytest.mark.parametrize("together", [False, True])
async def test_a_server_that_is_not_there_is_told_whatever_was_asked(together: bool) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and nobody listens
        url = f"https://127.0.0.1:{taken.getsockname()[1]}"
        await _is_told(url, together=together)


async def _is_told(url: str, *, together: bool) -> None:
    reached = reaching.Reached(Connection(url))
    with pytest.raises(ClusterError, match=f"{url}: ") as error:
        async with reaching.connected(reached) as client:
            if together:
                await addons.ensure(client, ClusterSettings("one"))
            else:
                await tokens.listed(client)
    assert "see that it runs" in error.value.fix
