"""Credential providers of the kubelet: programs that are asked for credentials, what is kept of their answers, and how
those that hang, shout or lie are borne."""

from __future__ import annotations

import asyncio
import base64
import os
from pathlib import Path
from typing import Any

import orjson
import pytest

from sampan.node import runtime
from sampan.node.images import helpers, provider_config
from sampan.node.images.provider_config import Provider, ProviderConfigError, TokenAttributes
from sampan.node.images.providers import BadAnswerError, CredentialProviders, read_answer

V1 = "credentialprovider.kubelet.k8s.io/v1"
POD: Any = {"metadata": {"namespace": "shop", "name": "web", "uid": "p1"}, "spec": {"serviceAccountName": "seller"}}


def provider(**changes: Any) -> Provider:
    settings: dict[str, Any] = {
        "name": "vault", "program": Path("/bin/vault"), "api_version": V1, "match_images": ("*.r.example",),
        "cache_seconds": 0.0,
    }  # fmt: skip
    return Provider(**settings | changes)


def answer(kind: str = "Registry", duration: str | None = None, **auth: str) -> bytes:
    entries = auth or {"a.r.example": "me"}
    return orjson.dumps(
        {
            "kind": "CredentialProviderResponse", "apiVersion": V1, "cacheKeyType": kind, "cacheDuration": duration,
            "auth": {registry: {"username": user, "password": "pw"} for registry, user in entries.items()},
        }
    )  # fmt: skip


class Accounts:
    """One account, with a token that is another each time."""

    def __init__(self, **annotations: str) -> None:
        self.annotations = annotations
        self.tokens = 0

    async def account(self, namespace: str, name: str) -> Any:
        return {
            "metadata": {"namespace": namespace, "name": name, "uid": f"uid-{name}", "annotations": self.annotations}
        }

    async def token(self, pod: Any, audience: str, seconds: int) -> str:
        self.tokens += 1
        return f"token-{self.tokens}-for-{audience}"


class Asked:
    """Gives one answer each time; remembers what it was asked."""

    def __init__(self, said: bytes) -> None:
        self.said = said
        self.requests: list[Any] = []

    async def __call__(self, which: Provider, request: Any) -> bytes:
        self.requests.append(request)
        await asyncio.sleep(0)
        return self.said


async def users(providers: CredentialProviders, repository: str = "a.r.example/app", pod: Any = POD) -> list[str]:
    return [each.auth.username for each in await providers.credentials(pod, repository)]


async def test_a_provider_is_asked_for_its_images_alone() -> None:
    asked = Asked(answer())
    providers = CredentialProviders([provider()], Accounts(), ask=asked)
    assert await users(providers, "other.example/app") == []
    assert await users(providers) == ["me"]
    assert asked.requests == [{"kind": "CredentialProviderRequest", "apiVersion": V1, "image": "a.r.example/app"}]


async def test_credentials_are_for_what_the_answer_says() -> None:
    said = answer(**{"*.r.example": "all", "a.r.example/team": "team", "b.r.example": "b"})
    providers = CredentialProviders([provider()], Accounts(), ask=Asked(said))
    assert await users(providers, "a.r.example/team/app") == ["team", "all"]
    assert await users(providers, "a.r.example/app") == ["all"]


@pytest.mark.parametrize(("kind", "times"), [("Image", 4), ("Registry", 2), ("Global", 1)])
async def test_an_answer_is_kept_for_an_image_a_registry_or_all(kind: str, times: int) -> None:
    asked = Asked(answer(kind, "1h"))
    providers = CredentialProviders([provider()], Accounts(), ask=asked)
    for _ in range(2):
        for image in ("a.r.example/one", "a.r.example/two", "b.r.example/one", "b.r.example/two"):
            await users(providers, image)
    assert len(asked.requests) == times


async def test_an_answer_that_may_not_be_kept_is_asked_for_again() -> None:
    asked = Asked(answer(duration="0s"))
    providers = CredentialProviders([provider(cache_seconds=600.0)], Accounts(), ask=asked)
    await users(providers)
    await users(providers)
    assert len(asked.requests) == 2


async def test_pods_that_ask_at_once_are_one_question() -> None:
    asked = Asked(answer())
    providers = CredentialProviders([provider()], Accounts(), ask=asked)
    assert await asyncio.gather(users(providers), users(providers)) == [["me"], ["me"]]
    assert len(asked.requests) == 1


def by_account(cache_type: Any = "ServiceAccount", **changes: Any) -> Provider:
    wanted = {"audience": "r", "cache_type": cache_type, "require_account": True, **changes}
    return provider(token=TokenAttributes(**wanted), cache_seconds=600.0)


async def test_a_provider_gets_the_token_and_the_annotations_of_the_pods_account() -> None:
    asked = Asked(answer())
    which = by_account(required_annotations=("r.example/role",), optional_annotations=("r.example/more",))
    providers = CredentialProviders([which], Accounts(**{"r.example/role": "reader", "x": "y"}), ask=asked)
    [found] = await providers.credentials(POD, "a.r.example/app")
    assert (found.namespace, found.name, found.uid, found.of_node) == ("shop", "seller", "uid-seller", False)
    [request] = asked.requests
    assert request["serviceAccountToken"] == "token-1-for-r"
    assert request["serviceAccountAnnotations"] == {"r.example/role": "reader"}


async def test_what_one_account_got_is_not_anothers() -> None:
    asked = Asked(answer())
    providers = CredentialProviders([by_account()], Accounts(), ask=asked)
    other = {**POD, "spec": {"serviceAccountName": "buyer"}}
    for pod in (POD, POD, other):
        await users(providers, pod=pod)
    assert len(asked.requests) == 2


async def test_an_answer_kept_by_token_goes_with_it() -> None:
    asked = Asked(answer())
    providers = CredentialProviders([by_account("Token")], Accounts(), ask=asked)
    await users(providers)
    await users(providers)
    assert len(asked.requests) == 2


@pytest.mark.parametrize(
    ("which", "pod"),
    [
        (by_account(), {**POD, "spec": {}}),
        (by_account(required_annotations=("r.example/role",)), POD),
    ],
)
async def test_a_pod_that_a_provider_is_not_for_gets_nothing(which: Provider, pod: Any) -> None:
    asked = Asked(answer())
    assert await users(CredentialProviders([which], Accounts(), ask=asked), pod=pod) == []
    assert asked.requests == []


async def test_the_nodes_own_credentials_are_no_accounts() -> None:
    [found] = await CredentialProviders([provider()], Accounts(), ask=Asked(answer())).credentials(POD, "a.r.example/a")
    assert found.of_node
    assert "pw" not in repr(found)


async def test_a_provider_that_fails_leaves_the_others() -> None:
    async def ask(which: Provider, request: Any) -> bytes:
        if which.name == "broken":
            raise helpers.HelperError("broken failed with exit code 1")
        return answer()

    providers = CredentialProviders([provider(name="broken"), provider()], Accounts(), ask=ask)
    assert await users(providers) == ["me"]


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (b"password: hunter2", "its answer is not JSON"),
        (b"[]", "is no CredentialProviderResponse"),
        (answer().replace(b"/v1", b"/v1beta1"), "is not of version credentialprovider.kubelet.k8s.io/v1"),
        (answer("Planet"), "cacheKeyType of its answer"),
        (answer(duration="soon"), "cacheDuration of its answer"),
        (answer().replace(b'"me"', b"[]"), "auth of its answer"),
    ],
)
def test_an_answer_that_is_none_is_told_without_what_it_holds(said: bytes, words: str) -> None:
    with pytest.raises(BadAnswerError, match=words) as caught:
        read_answer(said, provider())
    assert "hunter2" not in str(caught.value)


def program(folder: Path, script: str) -> Path:
    made = folder / "vault"
    made.write_text(f"#!/bin/sh\n{script}\n")
    made.chmod(0o755)
    return made


async def test_a_program_is_asked_on_its_standard_input_with_its_own_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/dev/null")
    made = program(tmp_path, 'read line; echo "$1 $MINE ${SSL_CERT_FILE-unset} $line"')
    said = await helpers.ask([str(made), "one"], b"question\n", seconds=30, environment={"MINE": "yes"})
    assert said == b"one yes unset question\n"


@pytest.mark.parametrize(
    ("script", "seconds", "words"),
    [
        ("sleep 600 & sleep 600", 0.2, "vault did not answer within 0.2 seconds"),
        ("yes", 30, "vault said more than 1 MiB"),
        ("yes >&2", 30, "vault said more than 1 MiB"),
        ("echo hunter2; echo no key >&2; exit 3", 30, "vault failed with exit code 3: no key"),
    ],
)
async def test_a_program_that_hangs_shouts_or_fails_is_ended_and_told(
    script: str, seconds: float, words: str, tmp_path: Path
) -> None:
    made = program(tmp_path, f"echo $$ >{tmp_path}/pid; {script}")
    with pytest.raises(helpers.HelperError, match=words) as caught:
        await helpers.ask([str(made)], b"", seconds=seconds)
    assert "hunter2" not in str(caught.value)
    pid = (tmp_path / "pid").read_text() if (tmp_path / "pid").exists() else ""
    if pid.strip():  # on a busy machine it may have been ended before it could say
        with pytest.raises(ProcessLookupError):
            os.kill(int(pid), 0)


async def test_a_program_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(helpers.HelperError, match="vault cannot be started: no such file or directory"):
        await helpers.ask([str(tmp_path / "vault")], b"", seconds=30)


def config(*entries: Any) -> Any:
    return {"kind": "CredentialProviderConfig", "apiVersion": "kubelet.config.k8s.io/v1", "providers": list(entries)}


TOKEN = {"serviceAccountTokenAudience": "r", "requireServiceAccount": True}
ENTRY = {"name": "vault", "matchImages": ["*.r.example"], "defaultCacheDuration": "12h", "apiVersion": V1}


def test_a_configuration_is_read_from_a_file_or_a_directory(tmp_path: Path) -> None:
    program(tmp_path, "")
    (tmp_path / "config").mkdir()
    (tmp_path / "config/b.json").write_bytes(orjson.dumps(config({**ENTRY, "env": [{"name": "A", "value": "b"}]})))
    (tmp_path / "config/README").write_text("not read")
    for place in (tmp_path / "config", tmp_path / "config/b.json"):
        [found] = provider_config.load(place, tmp_path)
        assert (found.program, found.cache_seconds, found.env) == (tmp_path / "vault", 43200.0, (("A", "b"),))


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({}, "it is no CredentialProviderConfig"),
        (config(), "providers: Required value: at least 1 item in plugins is required"),
        (config({**ENTRY, "name": "../sh"}), "provider name cannot contain '/'"),
        (config({**ENTRY, "matchImages": []}), "providers.matchImages: Required value"),
        (config({**ENTRY, "apiVersion": "v2"}), 'providers.apiVersion: Unsupported value: "v2": supported values: '),
        (config({**ENTRY, "defaultCacheDuration": None}), "providers.defaultCacheDuration: Required value"),
        (config({**ENTRY, "defaultCacheDuration": "-1h"}), "providers.defaultCacheDuration: Invalid value"),
        (config(ENTRY, ENTRY), 'providers.name: Duplicate value: "vault"'),
        (config({**ENTRY, "tokenAttributes": TOKEN}), "tokenAttributes.cacheType: Required value: "),
        (config(ENTRY), "plugin binary executable .*vault did not exist"),
    ],
)  # fmt: skip
def test_a_configuration_that_cannot_be_is_refused_in_the_kubelets_words(
    document: Any, words: str, tmp_path: Path
) -> None:
    (tmp_path / "config.yaml").write_bytes(orjson.dumps(document))
    with pytest.raises(ProviderConfigError, match=words):
        provider_config.load(tmp_path / "config.yaml", tmp_path)


def test_credentials_are_not_shown_when_they_are_printed() -> None:
    encoded = base64.b64encode(b"me:hunter2").decode()
    shown = repr(runtime.RegistryAuth("me", "hunter2", auth=encoded, identity_token="hunter2"))
    assert "hunter2" not in shown
    assert encoded not in shown
