"""Who this server is to webhooks: named in a kubeconfig, which the AdmissionConfiguration names; shown to its own."""

from __future__ import annotations

import base64
import ssl
from pathlib import Path
from typing import Any

import pytest
from tests.server.http.pki import issue

from sampan.server.admission.configuration import load
from sampan.server.admission.fields import ConfigurationError
from sampan.server.webhooks.client import CallError, WebhookClient
from sampan.server.webhooks.credentials import Credentials, Identity
from sampan.server.webhooks.targets import target_of

from .conftest import Hook, OneService, Pki


@pytest.mark.parametrize(
    ("host", "port", "name"),
    [
        ("hook.ns.svc", 443, "hook.ns.svc"),
        ("hook.ns.svc", 8443, "hook.ns.svc:8443"),
        ("other.ns.svc", 443, "*.ns.svc"),
        ("other.far.svc", 443, "*.svc"),
        ("example.com", 8443, "*.com:8443"),
        ("example.com", 443, ""),
        ("other.ns.svc", 8443, ""),
    ],
)
def test_the_longest_name_that_fits_a_webhook_is_its_identity(host: str, port: int, name: str) -> None:
    names = ("hook.ns.svc", "hook.ns.svc:8443", "*.ns.svc", "*.svc", "*.com:8443")
    credentials = Credentials({each: Identity(token=each) for each in names})
    found = credentials.of(host, port)
    assert (found.token if found is not None else "") == name


def configured(folder: Path, *users: dict[str, Any], plugin: str = "MutatingAdmissionWebhook") -> Credentials:
    """As the AdmissionConfiguration file is read; JSON is YAML."""
    kubeconfig, path = folder / "webhooks.kubeconfig", folder / "admission.yaml"
    kubeconfig.write_text(f'{{"kind": "Config", "apiVersion": "v1", "users": {list(users)!r}}}')
    path.write_text(
        "apiVersion: apiserver.config.k8s.io/v1\nkind: AdmissionConfiguration\nplugins:\n"
        f"- name: {plugin}\n  configuration:\n    apiVersion: apiserver.config.k8s.io/v1\n"
        f"    kind: WebhookAdmissionConfiguration\n    kubeConfigFile: {kubeconfig}\n"
    )
    return load(path).webhook_credentials


async def heard(hook: Hook, service: OneService, credentials: Credentials) -> dict[str, str]:
    client = WebhookClient(service, credentials)
    hook.reply = lambda body: {}
    try:
        await client.post(target_of(hook.by_service()), b"{}", timeout_seconds=5)
    finally:
        await client.close()
    return hook.asked[-1][1]


async def test_a_token_is_shown_to_the_webhook_that_it_is_for(tmp_path: Path, hook: Hook, service: OneService) -> None:
    user = {"name": "hook.default.svc", "user": {"token": "secret"}}
    shown = await heard(hook, service, configured(tmp_path, user, plugin="ValidatingAdmissionWebhook"))
    assert shown["Authorization"] == "Bearer secret"
    other = {"name": "hook.other.svc", "user": {"token": "secret"}}
    assert "Authorization" not in await heard(hook, service, configured(tmp_path, other))


async def test_a_token_file_is_read_anew_for_each_call(tmp_path: Path, hook: Hook, service: OneService) -> None:
    credentials = configured(tmp_path, {"name": "*.svc", "user": {"tokenFile": "token"}})
    for token in ("one", "two"):
        (tmp_path / "token").write_text(token + "\n")
        assert (await heard(hook, service, credentials))["Authorization"] == f"Bearer {token}"
    (tmp_path / "token").unlink()
    with pytest.raises(CallError, match="unable to read the token for webhooks: no such file or directory"):
        await heard(hook, service, credentials)


@pytest.mark.parametrize("written", ["files", "data"])
async def test_a_client_certificate_is_shown(
    tmp_path: Path, pki: Pki, serve: Any, service: OneService, written: str
) -> None:
    issue(tmp_path, "client", (pki.ca, pki.key))
    context = pki.server("hook.default.svc")
    context.load_verify_locations(cadata=pki.ca_pem.decode())
    context.verify_mode = ssl.CERT_REQUIRED
    hook = await serve(context=context)
    service.port = hook.port
    if written == "files":
        user = {"client-certificate": "client.crt", "client-key": "client.key"}
    else:
        pems = {"client-certificate": "client.crt", "client-key": "client.key"}
        user = {f"{key}-data": base64.b64encode((tmp_path / name).read_bytes()).decode() for key, name in pems.items()}
    await heard(hook, service, configured(tmp_path, {"name": "hook.default.svc", "user": user}))
    with pytest.raises(CallError):
        await heard(hook, service, Credentials())
    assert len(hook.asked) == 1


async def test_a_certificate_that_cannot_be_read_fails_the_call(
    tmp_path: Path, hook: Hook, service: OneService
) -> None:
    user = {"client-certificate": "missing.crt", "client-key": "missing.key"}
    with pytest.raises(CallError, match="unable to load the client certificate for webhooks"):
        await heard(hook, service, configured(tmp_path, {"name": "*.svc", "user": user}))


@pytest.mark.parametrize(
    ("user", "words"),
    [
        ({"name": "", "user": {}}, "users[0].name: Required value"),
        ({"name": "x", "user": {"client-key": "k"}}, "users[0].user.client-key: a client certificate and its key"),
        ({"name": "x", "user": {"client-key-data": "*"}}, "users[0].user.client-key-data: illegal base64 data"),
        ({"name": "x", "user": {"exec": {}}}, "users[0].user.exec: is not supported towards webhooks"),
    ],
)
def test_what_is_wrong_in_the_kubeconfig_is_told_with_file_and_field(
    tmp_path: Path, user: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        configured(tmp_path, user)
    assert words in str(caught.value) and "webhooks.kubeconfig" in str(caught.value)
