"""Unmodified Helm 3 and 4: a chart's whole life. Helm 4 applies on the server's side unless told otherwise."""

from __future__ import annotations

import base64
from pathlib import Path

from client_harness import Program

CHARTS = Path(__file__).parent / "charts"
SHOP = str(CHARTS / "shop")
#: ends the wait for what never comes; no test waits for it unless it fails
LIMIT = "--timeout=90s"


def install(helm: Program, *arguments: str) -> str:
    return helm("install", "shop", SHOP, "--wait", LIMIT, *arguments)


def test_a_release_is_installed_upgraded_rolled_back_and_uninstalled(each_helm: Program, kubectl: Program) -> None:
    helm = each_helm
    told = install(helm)
    assert f"The shop says hello in {kubectl.leading[1]}." in told
    assert "Its namespace is Active." in told
    deployment = kubectl.json("get", "deployment", "shop")
    assert deployment["status"]["readyReplicas"] == 2
    assert deployment["metadata"]["annotations"]["meta.helm.sh/release-name"] == "shop"

    helm("upgrade", "shop", SHOP, "--wait", LIMIT, "--set", "greeting=hi,motto=m,replicas=3,image=example.com/shop:2")
    assert kubectl.json("get", "configmap", "shop")["data"] == {"greeting": "hi", "motto": "m"}
    assert kubectl.json("get", "configmap", "shop-prepare")["data"] == {"revision": "2"}
    assert kubectl.json("get", "deployment", "shop")["status"]["readyReplicas"] == 3

    helm("rollback", "shop", "1", "--wait", LIMIT)
    assert kubectl.json("get", "configmap", "shop")["data"] == {"greeting": "hello"}
    rolled_back = kubectl.json("get", "deployment", "shop")
    assert rolled_back["spec"]["replicas"] == 2
    assert rolled_back["spec"]["template"]["spec"]["containers"][0]["image"] == "example.com/shop:1"

    assert [each["revision"] for each in helm.json("history", "shop")] == [1, 2, 3]
    assert [(each["name"], each["status"]) for each in helm.json("list")] == [("shop", "deployed")]
    assert "The shop says hello" in helm("get", "notes", "shop")

    assert 'release "shop" uninstalled' in helm("uninstall", "shop", "--wait", LIMIT)
    assert helm.json("list") == []
    left = kubectl(
        "get", "deployments,services,configmaps,secrets,roles,rolebindings,poddisruptionbudgets", "-o", "name"
    )
    of_hooks = ["configmap/shop-farewell", "configmap/shop-prepare"]
    assert left.split() == ["configmap/kube-root-ca.crt", *of_hooks]


def test_hooks_run_in_their_order_and_a_failed_one_fails_the_release(each_helm: Program, kubectl: Program) -> None:
    refused = each_helm.fails("install", "shop", SHOP, LIMIT, "--set", "hooks.prepare=example.com/fails:1")
    assert "pre-install" in refused
    assert kubectl("get", "deployment", "shop", "--ignore-not-found") == ""
    assert kubectl.json("get", "configmap", "shop-prepare")["data"] == {"revision": "1"}
    assert kubectl.json("get", "pod", "shop-prepare")["status"]["phase"] == "Failed"
    assert [each["status"] for each in each_helm.json("list", "--failed")] == ["failed"]
    assert "has been upgraded" in each_helm("upgrade", "--install", "shop", SHOP, "--reset-values", "--wait", LIMIT)
    assert kubectl("get", "pod", "shop-prepare", "--ignore-not-found") == ""


def test_the_tests_of_a_chart_run(each_helm: Program) -> None:
    install(each_helm)
    assert "Succeeded" in each_helm("test", "shop", LIMIT)
    each_helm("upgrade", "shop", SHOP, "--set", "hooks.check=example.com/fails:1", LIMIT)
    assert "shop-check" in each_helm.fails("test", "shop", LIMIT)


def test_an_upgrade_that_the_server_refuses_is_failed_and_can_be_undone(each_helm: Program, kubectl: Program) -> None:
    install(each_helm)
    refused = each_helm.fails("upgrade", "shop", SHOP, LIMIT, "--set", "replicas=-1")
    assert "spec.replicas: Invalid value: -1: must be greater than or equal to 0" in refused
    assert [each["status"] for each in each_helm.json("history", "shop")] == ["deployed", "failed"]
    each_helm("rollback", "shop", "--wait", LIMIT)
    assert kubectl.json("get", "deployment", "shop")["spec"]["replicas"] == 2


def test_what_others_made_is_not_taken_over(each_helm: Program, kubectl: Program) -> None:
    kubectl("create", "configmap", "shop")
    assert "invalid ownership metadata" in each_helm.fails("install", "shop", SHOP, LIMIT)


def test_a_rehearsal_on_the_server_leaves_nothing(each_helm: Program, kubectl: Program) -> None:
    shown = each_helm("install", "shop", SHOP, "--dry-run=server")
    assert "Its namespace is Active." in shown
    assert kubectl("get", "deployments,secrets", "-o", "name") == ""


def test_the_values_of_a_release_are_kept_as_helm_keeps_them(each_helm: Program, kubectl: Program) -> None:
    install(each_helm, "--set", "password=x")
    assert each_helm.json("get", "values", "shop") == {"password": "x"}
    kept = kubectl.json("get", "secret", "sh.helm.release.v1.shop.v1")
    assert (kept["type"], kept["metadata"]["labels"]["status"]) == ("helm.sh/release.v1", "deployed")
    held = kubectl.json("get", "secret", "shop")["data"]["password"]
    assert base64.b64decode(held) == b"x"


def test_a_chart_brings_its_own_kinds(each_helm: Program, kubectl: Program) -> None:
    chart = str(CHARTS / "widgets")
    try:
        each_helm("install", "w", chart, "--wait", LIMIT)
        assert kubectl.json("get", "widget", "w")["spec"] == {"size": 3, "colour": "blue"}
        each_helm("upgrade", "w", chart, "--wait", LIMIT, "--set", "size=5")
        assert kubectl("get", "wdg", "w", "--no-headers").split()[:2] == ["w", "5"]
        assert "spec.size" in each_helm.fails("upgrade", "w", chart, LIMIT, "--set", "size=-1")
        each_helm("rollback", "w", "1", "--wait", LIMIT)
        assert kubectl.json("get", "widget", "w")["spec"]["size"] == 3
        each_helm("uninstall", "w", "--wait", LIMIT)
        assert kubectl("get", "widgets", "-o", "name") == ""
    finally:
        kubectl("delete", "crd", "widgets.charts.example.com", "--ignore-not-found", "--timeout=60s")


def test_helm_4_applies_on_the_servers_side_and_leaves_others_their_fields(helm: Program, kubectl: Program) -> None:
    install(helm)
    managers = kubectl.json("get", "configmap", "shop", "--show-managed-fields")["metadata"]["managedFields"]
    assert [(each["manager"], each["operation"]) for each in managers] == [("helm", "Apply")]
    kubectl("patch", "configmap", "shop", "--field-manager=me", "-p", '{"data":{"greeting":"mine","own":"1"}}')
    refused = helm.fails("upgrade", "shop", SHOP, LIMIT, "--set", "greeting=theirs")
    assert 'conflict with "me"' in refused and ".data.greeting" in refused
    helm("upgrade", "shop", SHOP, LIMIT, "--set", "greeting=theirs", "--force-conflicts")
    assert kubectl.json("get", "configmap", "shop")["data"] == {"greeting": "theirs", "own": "1"}


def test_a_chart_of_years_ago_is_installed_changed_and_gone_and_its_job_runs_first(
    each_helm: Program, kubectl: Program
) -> None:
    chart = str(CHARTS / "former")
    each_helm("install", "f", chart, "--wait", LIMIT)
    assert kubectl.json("get", "job", "f-migrate")["status"]["succeeded"] == 1
    assert kubectl.json("get", "deployment", "f")["spec"]["selector"] == {"matchLabels": {"app": "f"}}
    backend = kubectl.json("get", "ingress", "f")["spec"]["defaultBackend"]
    assert backend == {"service": {"name": "f", "port": {"number": 80}}}
    target = kubectl.json("get", "hpa", "f")["spec"]["metrics"][0]["resource"]["target"]
    assert target == {"type": "Utilization", "averageUtilization": 50}

    each_helm("upgrade", "f", chart, "--wait", LIMIT, "--set", "replicas=2")
    assert kubectl.json("get", "deployment", "f")["spec"]["replicas"] == 2
    refused = each_helm.fails("upgrade", "f", chart, LIMIT, "--set", "migrate=example.com/fails:1,replicas=3")
    assert "pre-upgrade hooks failed" in refused
    assert kubectl.json("get", "deployment", "f")["spec"]["replicas"] == 2

    each_helm("uninstall", "f", "--wait", LIMIT)
    assert kubectl("get", "deployments,ingresses,poddisruptionbudgets,hpa,cronjobs", "-o", "name") == ""
