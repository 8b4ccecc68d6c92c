"""Rules in prometheus-adapter's format: what they say, and what is refused by its place in the file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from sampan.api import labels
from sampan.metricsadapter import catalog, promql
from sampan.metricsadapter.catalog import CustomMetric, Known, Resources
from sampan.metricsadapter.main import read_config
from sampan.metricsadapter.promql import NotSayable
from sampan.metricsadapter.rules import Config, ConfigError, GroupResource, read
from sampan.metricsadapter.templates import TemplateError, parse

#: the example of upstream's documentation, but for its misspelt commas
UPSTREAM = """
rules:
- seriesQuery: '{__name__=~"^container_.*",container_name!="POD",namespace!="",pod_name!=""}'
  resources:
    overrides:
      namespace: {resource: "namespace"}
      pod_name: {resource: "pod"}
  name:
    matches: "^container_(.*)_seconds_total$"
  metricsQuery: "sum(rate(<<.Series>>{<<.LabelMatchers>>,container_name!=\\"POD\\"}[2m])) by (<<.GroupBy>>)"
"""
PODS = Known(GroupResource("", "pods"), "pod", "Pod", "v1", True)
NAMESPACES = Known(GroupResource("", "namespaces"), "namespace", "Namespace", "v1", False)
NODES = Known(GroupResource("", "nodes"), "node", "Node", "v1", False)
DEPLOYMENTS = Known(GroupResource("apps", "deployments"), "deployment", "Deployment", "v1", True)
INGRESSES = Known(GroupResource("networking.k8s.io", "ingresses"), "ingress", "Ingress", "v1", True)
RESOURCES = Resources([PODS, NAMESPACES, NODES, DEPLOYMENTS, INGRESSES])
OVERRIDES = {"namespace": {"resource": "namespace"}, "pod": {"resource": "pod"}}


def rule(**more: Any) -> dict[str, Any]:
    query = "sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)"
    return {"seriesQuery": "up", "resources": {"overrides": OVERRIDES}, "metricsQuery": query, **more}


def made(*series: tuple[str, str], **more: Any) -> Config:
    return read({"rules": [rule(**more)]})


def built(config: Config, **series: str) -> dict[str, str]:
    """Metrics as the API lists them, with the label that names the object."""
    found = catalog.build(
        config, lambda rule: [(name, frozenset(names.split())) for name, names in series.items()], RESOURCES
    )
    return {f"{metric.resource}/{metric.name}": source.label for metric, source in found.custom.items()}


def test_upstreams_example_is_understood(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(UPSTREAM)
    config = read_config(path)
    series = {
        "container_cpu_usage_seconds_total": "namespace pod_name id",
        "container_fs_limit_bytes": "namespace pod_name",
    }
    assert built(config, **series) == {"namespaces/cpu_usage": "namespace", "pods/cpu_usage": "pod_name"}
    (one,) = config.custom
    asked = promql.of_objects(one, "container_cpu_usage_seconds_total", "pod_name", ["a", "b"], ("namespace", "ns"))
    assert asked == (
        'sum(rate(container_cpu_usage_seconds_total{namespace="ns",pod_name=~"a|b",container_name!="POD"}[2m]))'
        " by (pod_name)"
    )


@pytest.mark.parametrize(
    ("name", "series", "expected"),
    [
        ({}, "http_requests_total", "http_requests_total"),
        ({"matches": "^http_"}, "http_requests_total", "http_"),
        ({"matches": "^http_"}, "grpc_total", None),
        ({"matches": "^(.*)_total$"}, "http_requests_total", "http_requests"),
        ({"matches": "^(.*)_total$", "as": "${1}_per_second"}, "http_requests_total", "http_requests_per_second"),
        ({"matches": "^(.*)_total$", "as": "$1_per_second"}, "http_requests_total", ""),
        ({"matches": "^(?P<what>.*)_(total)$", "as": "$what.$2.$$.$9"}, "http_total", "http.total.$."),
        ({"as": "renamed"}, "anything", "renamed"),
    ],
)
def test_names_are_made_as_go_makes_them(name: dict[str, str], series: str, expected: str | None) -> None:
    """``$1_per_second`` is a group of that name: there is none, so nothing is left, and nothing is served."""
    (one,) = made(name=name).custom
    assert one.metric_name(series) == expected


def test_series_are_filtered_by_name() -> None:
    (one,) = made(seriesFilters=[{"is": "^container_"}, {"isNot": "_total$"}]).custom
    names = ["container_bytes", "container_seconds_total", "node_bytes"]
    assert [one.metric_name(name) for name in names] == ["container_bytes", None, None]


@pytest.mark.parametrize(
    ("template", "label_names", "expected"),
    [
        ("<<.Resource>>", "pod namespace code", {"pods/x": "pod", "namespaces/x": "namespace"}),
        ("kube_<<.Resource>>", "kube_pod kube_namespace pod", {"pods/x": "kube_pod", "namespaces/x": "kube_namespace"}),
        (
            "k_<<.Group>>_<<.Resource>>",
            "k_apps_deployment k__namespace k_networking_k8s_io_ingress",
            {
                "deployments.apps/x": "k_apps_deployment",
                "namespaces/x": "k__namespace",
                "ingresses.networking.k8s.io/x": "k_networking_k8s_io_ingress",
            },
        ),
    ],
)
def test_labels_name_resources_by_a_template(template: str, label_names: str, expected: dict[str, str]) -> None:
    assert built(made(resources={"template": template}), x=label_names) == expected


def test_without_a_namespace_only_objects_of_the_cluster_have_the_metric() -> None:
    config = made(resources={"template": "<<.Resource>>"})
    assert built(config, x="pod node") == {"nodes/x": "node"}


def test_external_metrics_are_of_a_namespace_unless_they_are_not() -> None:
    query = "<<.Series>>{<<.LabelMatchers>>}"
    rules = [
        {"seriesQuery": "a", "metricsQuery": query, "resources": {"overrides": {"space": {"resource": "namespaces"}}}},
        {"seriesQuery": "b", "metricsQuery": query, "resources": {"namespaced": False}},
        {"seriesQuery": "c", "metricsQuery": query},
    ]
    config = read({"externalRules": rules})
    found = catalog.build(config, lambda rule: [(rule.series_query, frozenset())], RESOURCES).external
    assert {name: source.namespace_label for name, source in found.items()} == {"a": "space", "b": "", "c": "namespace"}


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ("verb=GET", 'x{verb="GET"}'),
        ("verb!=GET", 'x{verb!="GET"}'),
        ("verb in (GET,PUT)", 'x{verb=~"GET|PUT"}'),
        ("host in (a.b,c)", 'x{host=~"a[.]b|c"}'),
        ("host notin (a.b)", 'x{host!~"a[.]b"}'),
        ("verb notin (GET,PUT)", 'x{verb!~"GET|PUT"}'),
        ("verb", 'x{verb!=""}'),
        ("!verb", 'x{verb=""}'),
    ],
)
def test_selectors_become_matchers(selector: str, expected: str) -> None:
    (one,) = made(metricsQuery="<<.Series>>{<<.LabelMatchers>>}").custom
    assert promql.of_external(one, "x", None, labels.parse(selector).requirements) == expected


@pytest.mark.parametrize("selector", ["app.kubernetes.io/name=a", "verb>5", "1st=a"])
def test_what_prometheus_has_no_words_for_is_refused(selector: str) -> None:
    (one,) = made().custom
    with pytest.raises(NotSayable):
        promql.of_external(one, "x", None, labels.parse(selector).requirements)


def test_values_cannot_leave_their_quotes() -> None:
    (one,) = made(metricsQuery="<<.Series>>{<<.LabelMatchers>>}").custom
    asked = promql.of_objects(one, "x", "pod", ['a"} or vector(1) #\\'], None)
    assert asked == 'x{pod="a\\"} or vector(1) #\\\\"}'


def test_what_is_written_into_a_query_as_it_is_cannot_be_a_part_of_it() -> None:
    """Who may read one object's metric would read those of another namespace."""
    (one,) = made(metricsQuery='<<.Series>>{<<.LabelMatchers>>,r=~"<<index .LabelValuesByName "pod">>"}').custom
    for name in ('a"} or vector(1) #', "a\\", "a\n", "a{}"):
        with pytest.raises(NotSayable, match="the value of pod would be a part of the query"):
            promql.of_objects(one, "x", "pod", [name], None)
    assert promql.of_objects(one, "x", "pod", ["a.b-c"], None) == 'x{pod="a.b-c",r=~"a.b-c"}'
    assert promql.of_objects(one, "x", "pod", ["a.b", "c"], None) == 'x{pod=~"a[.]b|c",r=~"a[.]b|c"}'


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (None, "the file: it has no rules"),
        ([], "the file: fields and their values are wanted"),
        ({"rulez": []}, "the file: rulez is not understood; there are rules, externalRules, resourceRules"),
        ({"rules": {}, "resourceRules": {"cpu": {}}}, "resourceRules: the cluster serves metrics.k8s.io by itself"),
        ({"rules": "x"}, "rules: a list of at most 500 rules is wanted"),
        ({"rules": [rule(seriesQuery="")]}, r"rules\[0\].seriesQuery: it is needed"),
        ({"rules": [rule(metricsQuery="")]}, r"rules\[0\].metricsQuery: it is needed"),
        ({"rules": [rule(metricsQuery=5)]}, r"rules\[0\].metricsQuery: a text is wanted"),
        ({"rules": [rule(resources={})]}, r"rules\[0\].resources: a template or overrides are needed"),
        ({"rules": [rule(labelValueReplacements=[])]}, r"rules\[0\]: labelValueReplacements is not understood"),
        ({"rules": [rule(name={"matches": "("})]}, r"rules\[0\].name.matches: \( is no regular expression"),
        ({"rules": [rule(name={"matches": "(a)(b)"})]}, r"rules\[0\].name.as: it is needed"),
        ({"rules": [rule(seriesFilters=[{}])]}, r"rules\[0\].seriesFilters\[0\]: one of is and isNot is wanted"),
        (
            {"rules": [rule(metricsQuery="<<range .GroupBySlice>>")]},
            r"rules\[0\].metricsQuery: <<range .GroupBySlice>> is not understood; there are <<.Series>>",
        ),
        ({"rules": [rule(resources={"template": "<<.Kind>>"})]}, r"rules\[0\].resources.template: <<.Kind>> is not"),
        (
            {"rules": [rule(resources={"overrides": {"a-b": {"resource": "pod"}}})]},
            r"rules\[0\].resources.overrides: a-b is no name of a label",
        ),
        (
            {"rules": [rule(resources={"overrides": {"pod": {"group": "x"}}})]},
            r"rules\[0\].resources.overrides.pod.resource: it is needed",
        ),
        ({"externalRules": [rule(resources={"namespaced": "no"})]}, r"externalRules\[0\].resources.namespaced: true"),
    ],
)
def test_what_is_not_understood_is_refused_by_its_place(document: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=f"^{message}"):
        read(document)


@pytest.mark.parametrize("text", ["a: [", "&a [*a, *a", "x" * (1 << 20) + ": 1"])
def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"^the file: "):
        read_config(path)


def test_a_template_that_does_not_end_is_refused() -> None:
    with pytest.raises(TemplateError):
        parse("<<.Series", ("Series",))


def test_resources_are_found_by_any_of_their_names() -> None:
    assert RESOURCES.parse("pods") is RESOURCES.parse("pod") is PODS
    assert RESOURCES.parse("deployments.apps") is RESOURCES.parse("deployments") is DEPLOYMENTS
    assert RESOURCES.parse("deployments.example.com") is None
    assert CustomMetric(PODS.resource, True, "x") == CustomMetric(GroupResource("", "pods"), True, "x")


def test_upstreams_example_is_yaml() -> None:
    assert yaml.safe_load(UPSTREAM)["rules"]
