"""Flags and file of admission: what they switch and tell, and how they say what is wrong with them."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

import pytest

from sampan.server.admission import names
from sampan.server.admission.configuration import AdmissionSettings, load
from sampan.server.admission.fields import ConfigurationError
from sampan.server.app import Server
from sampan.server.config import ServerConfig
from sampan.store.memory import MemoryStore

HEAD = "apiVersion: apiserver.config.k8s.io/v1\nkind: AdmissionConfiguration\n"
POD_SECURITY = """\
plugins:
- name: PodSecurity
  configuration:
    apiVersion: pod-security.admission.config.k8s.io/v1
    kind: PodSecurityConfiguration
    defaults: {enforce: baseline, enforce-version: v1.30, warn: restricted}
    exemptions:
      usernames: [root]
      runtimeClasses: [kata]
      namespaces: [kube-system]
"""
OTHERS = """\
plugins:
- name: ResourceQuota
  configuration:
    apiVersion: apiserver.config.k8s.io/v1
    kind: ResourceQuotaConfiguration
    limitedResources:
    - {resource: pods, matchScopes: [{scopeName: PriorityClass, operator: In, values: [high]}]}
- name: EventRateLimit
  path: events.yaml
- name: PodNodeSelector
  configuration:
    podNodeSelectorPluginConfig: {clusterDefaultNodeSelector: disk=ssd, ns: "disk=ssd,zone=a"}
- name: PodTolerationRestriction
  configuration:
    apiVersion: podtolerationrestriction.admission.k8s.io/v1alpha1
    kind: Configuration
    default: [{key: a, operator: Exists}]
"""
EVENTS = """\
apiVersion: eventratelimit.admission.k8s.io/v1alpha1
kind: Configuration
limits: [{type: Namespace, qps: 50, burst: 100}]
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "admission.yaml"
    path.write_text(HEAD + text)
    return path


def test_without_a_file_everything_holds_by_default() -> None:
    assert load(None) == AdmissionSettings()


def test_plugins_are_told_in_the_file_or_in_files_beside_it(tmp_path: Path) -> None:
    (tmp_path / "events.yaml").write_text(EVENTS)
    settings = load(write(tmp_path, OTHERS))
    [limit], [rate] = settings.quota.limited, settings.event_rates
    assert (limit.resource, limit.scopes[0]["values"]) == (("", "pods"), ["high"])
    assert (rate.type, rate.qps, rate.burst, rate.cache_size) == ("Namespace", 50, 100, 4096)
    assert settings.node_selectors.default == {"disk": "ssd"}
    assert settings.node_selectors.allowed == {"ns": {"disk": "ssd", "zone": "a"}}
    assert settings.tolerations.default == ({"key": "a", "operator": "Exists"},)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("kind: Admission", "kind: Other"), 'kind: Unsupported value: "OtherConfiguration"'),
        (("/v1\nkind: Adm", "/v9\nkind: Adm"), "apiVersion: Unsupported value"),
        (("name: PodSecurity", "name: Nonsense"), 'plugins[0].name: "Nonsense" is no admission plugin of this server'),
        (("name: PodSecurity", "name: PodSecurity\n  extra: 1"), "plugins[0].extra: unknown field"),
        (("name: PodSecurity", "name: PodSecurity\n  path: x"), "plugins[0].configuration: may not be given together"),
        (("name: PodSecurity", "name: AlwaysDeny"), "plugins[0].configuration: the plugin AlwaysDeny takes none"),
        (
            ("enforce: baseline", "enforce: strict"),
            'plugins[0].configuration.defaults.enforce: Invalid value: "strict": must be one of privileged, baseline, '
            "restricted",
        ),
        (("v1.30", "1.30"), "plugins[0].configuration.defaults.enforce-version: must be a string"),
        (("v1.30", "v2.30"), 'defaults.enforce-version: Invalid value: "v2.30": must be "latest" or "v1.x"'),
        (("[root]", "['']"), "plugins[0].configuration.exemptions.usernames[0]: Invalid value"),
        (("[kube-system]", "[a, a]"), 'exemptions.namespaces[1]: Duplicate value: "a"'),
        (("[kube-system]", "[A]"), "exemptions.namespaces[0]: Invalid value"),
        (("[kata]", "kata"), "exemptions.runtimeClasses: must be a list of strings"),
        (("plugins:", "plugins: ["), "is no YAML at line"),
        (("- name: PodSecurity", "- PodSecurity\n- name: PodSecurity"), "plugins[0]: must be an object"),
    ],
)
def test_a_fault_is_told_with_the_file_and_the_field(tmp_path: Path, change: tuple[str, str], words: str) -> None:
    path = tmp_path / "admission.yaml"
    path.write_text((HEAD + POD_SECURITY).replace(*change))
    with pytest.raises(ConfigurationError) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert words in str(caught.value)


def test_a_file_that_is_not_there_is_told_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"admission.yaml: .*no such file"):
        load(tmp_path / "admission.yaml")
    with pytest.raises(ConfigurationError, match=r"events.yaml: .*no such file"):
        load(write(tmp_path, OTHERS))


@pytest.mark.parametrize("junk", ["", "5", "[]", "a: b", "{plugins: 7}", "\x00", "a: &a [*a]", "- " * 500])
def test_whatever_is_in_the_file_there_is_an_answer(tmp_path: Path, junk: str) -> None:
    path = tmp_path / "admission.yaml"
    path.write_text(junk)
    with pytest.raises(ConfigurationError):
        load(path)


@pytest.mark.parametrize(
    ("enable", "disable", "words"),
    [
        (["Nonsense"], [], 'enable-admission-plugins plugin "Nonsense" is unknown'),
        ([], ["Nonsense"], 'disable-admission-plugins plugin "Nonsense" is unknown'),
        (
            ["Priority"],
            ["Priority"],
            r"\[Priority\] in enable-admission-plugins and disable-admission-plugins overlapped",
        ),
        (["ImagePolicyWebhook"], [], '"ImagePolicyWebhook" is not part of this server'),
    ],
)
def test_flags_that_make_no_sense_are_refused_by_name(enable: list[str], disable: list[str], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        names.check(enable, disable)


def server(clock: Any, **options: Any) -> Server:
    common: dict[str, Any] = {
        "listen": False,
        "bootstrap": False,
        "openapi": False,
        "clock": clock,
        "random": Random(1),
    }
    config = ServerConfig(authorization_modes=("AlwaysAllow",), **common, **options)
    return Server(config, store=MemoryStore(clock=clock))


async def test_without_the_service_account_plugin_pods_have_no_mounted_token(api_of: Any, clock: Any) -> None:
    """Admission plug-ins by flag; ServiceAccount admission may be removed: enabling it brings the token back."""
    body = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    mounted = {}
    for switched_off in ((), ("ServiceAccount",)):
        async with server(clock, disable_admission_plugins=switched_off) as running:
            api = api_of(running, clock)
            await api("POST", "/api/v1/namespaces", {"metadata": {"name": "n"}})
            await api("POST", "/api/v1/namespaces/n/serviceaccounts", {"metadata": {"name": "default"}})
            made = await api("POST", "/api/v1/namespaces/n/pods", body)
            assert made.status == 201
            spec = made.obj["spec"]
            mounted[switched_off] = bool(spec.get("volumes")), "volumeMounts" in spec["containers"][0]
    assert mounted == {(): (True, True), ("ServiceAccount",): (False, False)}


async def test_the_file_sets_what_pod_security_asks_by_default_and_whom_it_exempts(
    api_of: Any, clock: Any, tmp_path: Path
) -> None:
    path = write(tmp_path, POD_SECURITY)
    async with server(clock, admission_config=path, disable_admission_plugins=("ServiceAccount",)) as running:
        api = api_of(running, clock)
        for name in ("n", "kube-system"):
            await api("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
        container = {"name": "c", "image": "i", "securityContext": {"privileged": True}}
        body = {"metadata": {"name": "p"}, "spec": {"containers": [container]}}
        refused = await api("POST", "/api/v1/namespaces/n/pods", body)
        assert refused.message.startswith('pods "p" is forbidden: violates PodSecurity "baseline:v1.30": privileged')
        assert (await api("POST", "/api/v1/namespaces/kube-system/pods", body)).status == 201
        handler = {"metadata": {"name": "kata"}, "handler": "kata"}
        await api("POST", "/apis/node.k8s.io/v1/runtimeclasses", handler)
        body["spec"]["runtimeClassName"] = "kata"
        assert (await api("POST", "/api/v1/namespaces/n/pods", body)).status == 201


async def test_the_file_limits_what_may_be_used_without_a_quota(api_of: Any, clock: Any, tmp_path: Path) -> None:
    (tmp_path / "events.yaml").write_text(EVENTS)
    path = write(tmp_path, OTHERS)
    async with server(clock, admission_config=path, disable_admission_plugins=("ServiceAccount",)) as running:
        api = api_of(running, clock)
        await api("POST", "/api/v1/namespaces", {"metadata": {"name": "n"}})
        classes = "/apis/scheduling.k8s.io/v1/priorityclasses"
        await api("POST", classes, {"metadata": {"name": "high"}, "value": 5})
        spec = {"containers": [{"name": "c", "image": "i"}], "priorityClassName": "high"}
        refused = await api("POST", "/api/v1/namespaces/n/pods", {"metadata": {"name": "p"}, "spec": spec})
        assert refused.message == "insufficient quota to match these scopes: [{PriorityClass In [high]}]"
