"""Bootstrap tokens: which of them sign, with what, and when they are over."""

import base64
from datetime import timedelta

import pytest

from sampan.api.clock import format_time
from sampan.api.resources import CONFIG_MAPS, SECRETS
from sampan.controllers.bootstrap import tokens
from sampan.controllers.bootstrap.cleaner import TokenCleaner
from sampan.controllers.bootstrap.signer import BootstrapSigner
from sampan.controllers.context import ControllersConfig
from sampan.controllers.manager import CONTROLLERS
from sampan.testing import virtual

#: (what, with which secret, as the reference signs it for token "joshua"): header, nothing, signature
_HELLO = "Hello from the other side. I must have called a thousand times."
_PASSCODE = "my voice is my passcode"
SIGNED = [
    (_HELLO, _PASSCODE, "VShe2taLd-YTrmWuRkcL_8QTNDHYxQIEBsAYYiIj1_8"),
    ("", _PASSCODE, "7Ui1ALizW4jXphVUB7xUqC9vLYLL9RZeOFfVLoB7Tgk"),
    (_HELLO, "", "UfkqvDGiIFxrMnFseDj9LYJOLNrvjW8aHhF71mvvAs8"),
]


def secret(identity="abcdef", *, name="", namespace="kube-system", kind=tokens.TOKEN_TYPE, **data):
    given = {"token-id": identity, "token-secret": "secret", "usage-bootstrap-signing": "true", **data}
    encoded = {key: base64.b64encode(each.encode()).decode() for key, each in given.items() if each is not None}
    name = name or f"bootstrap-token-{identity}"
    return {"metadata": {"name": name, "namespace": namespace, "uid": name}, "type": kind, "data": encoded}


def cluster_info(**data):
    return {"metadata": {"name": "cluster-info", "namespace": "kube-public"}, "data": data}


@pytest.mark.parametrize(("content", "key", "signature"), SIGNED)
def test_a_signature_is_the_reference_s(content, key, signature):
    made = tokens.detached_signature(content, "joshua", key)
    assert made == f"eyJhbGciOiJIUzI1NiIsImtpZCI6Impvc2h1YSJ9..{signature}"


@pytest.mark.parametrize(
    "data",
    [
        {"name": "token-abcdef"},
        {"name": "bootstrap-token-other1"},
        {"token-id": None},
        {"token-secret": None},
        {"usage-bootstrap-signing": None},
        {"usage-bootstrap-signing": "yes"},
        {"expiration": "2025-12-31T23:59:59Z"},
        {"expiration": "tomorrow"},
    ],
)
def test_what_is_not_whole_or_over_signs_nothing(data, now):
    assert tokens.signing_key(secret(), now) == ("abcdef", "secret")
    assert tokens.signing_key(secret(**data), now) is None


def test_signatures_follow_tokens_and_content(now):
    signed = tokens.signed_data({"kubeconfig": "a"}, [secret()], now)
    assert signed == {"kubeconfig": "a", "jws-kubeconfig-abcdef": tokens.detached_signature("a", "abcdef", "secret")}
    assert tokens.signed_data(signed, [secret()], now) is None
    assert tokens.signed_data(signed, [], now) == {"kubeconfig": "a"}
    assert tokens.signed_data({**signed, "kubeconfig": "b"}, [secret()], now) not in (None, signed)
    assert tokens.signed_data({"other": "x"}, [secret()], now) is None


@pytest.mark.parametrize(
    ("expiration", "left"), [(None, None), ("2026-01-01T01:00:10Z", 10), ("2026-01-01T01:00:00Z", 0), ("soon", 0)]
)
def test_a_token_is_over_at_its_end_or_when_that_cannot_be_read(expiration, left, now):
    assert tokens.seconds_left(secret(expiration=expiration), now) == left


async def test_cluster_info_is_signed_with_each_token_of_the_system_namespace(api, context, running, wait):
    api.add(CONFIG_MAPS, cluster_info(kubeconfig="k"))
    api.add(SECRETS, secret("aaaaaa"))
    api.add(SECRETS, secret("bbbbbb", namespace="default"))
    async with running(BootstrapSigner(context)):
        await wait.quiet(api)
        assert set(api.get(CONFIG_MAPS, "kube-public", "cluster-info")["data"]) == {
            "kubeconfig", "jws-kubeconfig-aaaaaa",
        }  # fmt: skip
        api.add(SECRETS, secret("cccccc"))
        api.remove(SECRETS, "kube-system", "bootstrap-token-aaaaaa")
        await wait.quiet(api)
    assert set(api.get(CONFIG_MAPS, "kube-public", "cluster-info")["data"]) == {
        "kubeconfig", "jws-kubeconfig-cccccc",
    }  # fmt: skip


def test_a_token_goes_at_its_end_and_its_signature_with_it(make_api, make_context, run_with, virtual_clock):
    async def scenario():
        api, clock = make_api(), virtual_clock()
        end = format_time(clock.now() + timedelta(hours=30))
        api.add(CONFIG_MAPS, cluster_info(kubeconfig="k"))
        api.add(SECRETS, secret("aaaaaa", expiration=end, **{"usage-bootstrap-signing": "true"}))
        api.add(SECRETS, secret("bbbbbb"))
        api.add(SECRETS, secret("cccccc", namespace="default", expiration="2020-01-01T00:00:00Z"))
        api.add(SECRETS, secret("dddddd", kind="Opaque", expiration="2020-01-01T00:00:00Z"))
        context = make_context(api, clock)
        async with run_with(context, BootstrapSigner(context), TokenCleaner(context)):
            await clock.sleep(30 * 3600 - 1)
            assert len(api.all(SECRETS)) == 4
            assert len(api.get(CONFIG_MAPS, "kube-public", "cluster-info")["data"]) == 3
            await clock.sleep(2)
        assert {obj["metadata"]["name"][-6:] for obj in api.all(SECRETS)} == {"bbbbbb", "cccccc", "dddddd"}
        assert set(api.get(CONFIG_MAPS, "kube-public", "cluster-info")["data"]) == {
            "kubeconfig", "jws-kubeconfig-bbbbbb",
        }  # fmt: skip

    virtual.run(scenario())


def test_both_run_only_where_somebody_asks_for_them():
    assert ControllersConfig().disabled == {"bootstrap-signer-controller", "token-cleaner-controller"}
    assert ControllersConfig().disabled <= set(CONTROLLERS)
