"""Monitoring, after the Prometheus operator: whole pod templates, resources inside, scale."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tests.customresources.sets import parts

MONITORING = "monitoring.sets.example.com"


def _tls() -> parts.Schema:
    source = parts.obj({"configMap": parts.secret_key(), "secret": parts.secret_key()})
    return parts.obj(
        {
            "ca": source,
            "cert": source,
            "keySecret": parts.secret_key(),
            "insecureSkipVerify": parts.boolean(),
            "serverName": parts.text(),
            "minVersion": parts.text(enum=["TLS10", "TLS11", "TLS12", "TLS13"]),
        }
    )


def _client() -> dict[str, parts.Schema]:
    return {
        "tlsConfig": _tls(),
        "basicAuth": parts.obj({"username": parts.secret_key(), "password": parts.secret_key()}),
        "authorization": parts.obj({"type": parts.text(), "credentials": parts.secret_key()}),
        "oauth2": parts.obj(
            {
                "clientId": parts.obj({"configMap": parts.secret_key(), "secret": parts.secret_key()}),
                "clientSecret": parts.secret_key(),
                "tokenUrl": parts.text(minLength=1),
                "scopes": parts.many(parts.text()),
                "endpointParams": parts.of_texts(),
                "tlsConfig": _tls(),
            },
            "clientId",
            "clientSecret",
            "tokenUrl",
        ),
        "proxyUrl": parts.text(pattern="^(http|https|socks5)://.+$"),
        "followRedirects": parts.boolean(),
    }


def _relabelings() -> parts.Schema:
    return parts.many(
        parts.obj(
            {
                "action": parts.text(
                    default="replace", enum=["replace", "Replace", "keep", "Keep", "drop", "Drop", "hashmod"]
                ),
                "modulus": {"type": "integer", "format": "int64"},
                "regex": parts.text(),
                "replacement": parts.text(),
                "separator": parts.text(),
                "sourceLabels": parts.many(parts.text(pattern="^[a-zA-Z_][a-zA-Z0-9_]*$")),
                "targetLabel": parts.text(),
            }
        ),
        minItems=1,
    )


def _pods() -> dict[str, parts.Schema]:
    """What every kind that runs pods lets its user say of them: most of a pod's spec."""
    return {
        "affinity": parts.builtin(parts.CORE + "Affinity"),
        "containers": parts.by_key(parts.builtin(parts.CORE + "Container"), "name"),
        "initContainers": parts.by_key(parts.builtin(parts.CORE + "Container"), "name"),
        "volumes": parts.many(parts.builtin(parts.CORE + "Volume")),
        "volumeMounts": parts.many(parts.builtin(parts.CORE + "VolumeMount")),
        "tolerations": parts.many(parts.builtin(parts.CORE + "Toleration")),
        "topologySpreadConstraints": parts.many(parts.builtin(parts.CORE + "TopologySpreadConstraint")),
        "securityContext": parts.builtin(parts.CORE + "PodSecurityContext"),
        "resources": parts.builtin(parts.CORE + "ResourceRequirements"),
        "hostAliases": parts.by_key(parts.builtin(parts.CORE + "HostAlias"), "ip"),
        "imagePullSecrets": parts.many(
            parts.obj({"name": parts.text(default="")}, **{"x-kubernetes-map-type": "atomic"})
        ),
        "nodeSelector": parts.of_texts(),
        "podMetadata": parts.obj({"labels": parts.of_texts(), "annotations": parts.of_texts(), "name": parts.text()}),
        "priorityClassName": parts.text(),
        "serviceAccountName": parts.text(),
        "replicas": parts.integer(minimum=0),
        "image": parts.text(),
        "paused": parts.boolean(),
        "logLevel": parts.text(enum=["", "debug", "info", "warn", "error"]),
        "storage": parts.obj(
            {
                "disableMountSubPath": parts.boolean(),
                "emptyDir": parts.builtin(parts.CORE + "EmptyDirVolumeSource"),
                "volumeClaimTemplate": {
                    "type": "object",
                    "x-kubernetes-embedded-resource": True,
                    "properties": {
                        "metadata": {"type": "object"},
                        "spec": parts.builtin(parts.CORE + "PersistentVolumeClaimSpec"),
                    },
                },
            }
        ),
    }


def _endpoint() -> parts.Schema:
    return parts.obj(
        {
            "port": parts.text(),
            "targetPort": {"x-kubernetes-int-or-string": True, "anyOf": [{"type": "integer"}, {"type": "string"}]},
            "path": parts.text(),
            "scheme": parts.text(enum=["http", "https"]),
            "interval": parts.duration(),
            "scrapeTimeout": parts.duration(),
            "params": {"type": "object", "additionalProperties": parts.many(parts.text())},
            "honorLabels": parts.boolean(),
            "relabelings": _relabelings(),
            "metricRelabelings": _relabelings(),
            **_client(),
        }
    )


def monitoring() -> list[dict[str, Any]]:
    status = parts.obj(
        {
            "availableReplicas": parts.integer(),
            "replicas": parts.integer(),
            "selector": parts.text(),
            "paused": parts.boolean(),
            "conditions": parts.conditions(),
        }
    )
    scale = {
        "specReplicasPath": ".spec.replicas",
        "statusReplicasPath": ".status.replicas",
        "labelSelectorPath": ".status.selector",
    }
    scaled: Mapping[str, Any] = {"subresources": {"status": {}, "scale": scale}}
    selector = parts.builtin(parts.META + "LabelSelector", **{"x-kubernetes-map-type": "atomic"})
    monitors = {
        f"{kind}{what}": selector
        for kind in ("podMonitor", "serviceMonitor", "probe")
        for what in ("Selector", "NamespaceSelector")
    }
    remote = parts.many(
        parts.obj(
            {
                "url": parts.text(),
                "name": parts.text(),
                "remoteTimeout": parts.duration(),
                "writeRelabelConfigs": _relabelings(),
                **_client(),
            },
            "url",
        )
    )
    server = {
        **_pods(),
        **monitors,
        "scrapeInterval": parts.duration(default="30s"),
        "evaluationInterval": parts.duration(default="30s"),
        "externalLabels": parts.of_texts(),
        "retention": parts.duration(),
        "remoteWrite": remote,
        "remoteRead": remote,
        "enableFeatures": parts.many(parts.text(minLength=1), **{"x-kubernetes-list-type": "set"}),
    }
    receivers = {
        name: parts.many(
            parts.obj(
                {
                    "apiURL": parts.secret_key(),
                    "channel": parts.text(minLength=1),
                    "sendResolved": parts.boolean(),
                    "httpConfig": parts.obj(_client()),
                }
            )
        )
        for name in ("chatConfigs", "pagerConfigs", "mailConfigs", "hookConfigs", "pushConfigs", "opsConfigs")
    }
    config = parts.obj(
        {
            "receivers": parts.many(parts.obj({"name": parts.text(minLength=1), **receivers}, "name")),
            "route": parts.obj(
                {
                    "receiver": parts.text(),
                    "groupBy": parts.many(parts.text()),
                    "groupWait": parts.duration(),
                    "repeatInterval": parts.duration(),
                    "routes": parts.many({"x-kubernetes-preserve-unknown-fields": True}),
                }
            ),
            "inhibitRules": parts.many(parts.obj({"equal": parts.many(parts.text())})),
        }
    )
    groups = parts.by_key(
        parts.obj(
            {
                "name": parts.text(minLength=1),
                "interval": parts.duration(),
                "rules": parts.many(
                    parts.obj(
                        {
                            "alert": parts.text(),
                            "record": parts.text(),
                            "expr": {
                                "x-kubernetes-int-or-string": True,
                                "anyOf": [{"type": "integer"}, {"type": "string"}],
                            },
                            "for": parts.duration(),
                            "labels": parts.of_texts(),
                            "annotations": parts.of_texts(),
                        },
                        "expr",
                        oneOf=[{"required": ["alert"]}, {"required": ["record"]}],
                    )
                ),
            },
            "name",
        ),
        "name",
    )
    endpoints = {
        "selector": selector,
        "namespaceSelector": parts.obj({"any": parts.boolean(), "matchNames": parts.many(parts.text())}),
        "jobLabel": parts.text(),
    }
    one: list[tuple[str, str, Callable[[], parts.Schema], Mapping[str, Any]]] = [
        ("Prometheus", "v1", lambda: parts.obj(server), {**scaled}),
        (
            "PrometheusAgent",
            "v1alpha1",
            lambda: parts.obj({**server, "mode": parts.text(enum=["StatefulSet", "DaemonSet"])}),
            {**scaled},
        ),
        (
            "Alertmanager",
            "v1",
            lambda: parts.obj({**_pods(), "configSecret": parts.text(), "alertmanagerConfigSelector": selector}),
            {**scaled},
        ),
        (
            "ThanosRuler",
            "v1",
            lambda: parts.obj({**_pods(), "queryEndpoints": parts.many(parts.text()), "ruleSelector": selector}),
            {**scaled},
        ),
        (
            "ServiceMonitor",
            "v1",
            lambda: parts.obj({**endpoints, "endpoints": parts.many(_endpoint())}, "endpoints", "selector"),
            {},
        ),
        (
            "PodMonitor",
            "v1",
            lambda: parts.obj({**endpoints, "podMetricsEndpoints": parts.many(_endpoint())}, "selector"),
            {},
        ),
        (
            "Probe",
            "v1",
            lambda: parts.obj(
                {
                    "interval": parts.duration(),
                    "module": parts.text(),
                    "targets": parts.obj({"staticConfig": parts.obj({"static": parts.many(parts.text())})}),
                }
            ),
            {},
        ),
        ("PrometheusRule", "v1", lambda: parts.obj({"groups": groups}), {}),
        (
            "ScrapeConfig",
            "v1alpha1",
            lambda: parts.obj(
                {
                    f"{name}Configs": parts.many(_endpoint())
                    for name in ("http", "dns", "file", "kubernetes", "consul", "cloud", "docker")
                }
            ),
            {},
        ),
    ]
    made = [
        parts.definition(MONITORING, kind, parts.version(name, build(), status, **more))
        for kind, name, build, more in one
    ]
    made[0]["spec"]["names"].update(plural="prometheuses", shortNames=["prom"])
    made[0]["metadata"]["name"] = f"prometheuses.{MONITORING}"
    made.append(
        parts.definition(
            MONITORING, "AlertmanagerConfig", parts.version("v1alpha1", config), parts.version("v1beta1", config)
        )
    )
    return made


def prometheus() -> dict[str, Any]:
    return {
        "apiVersion": f"{MONITORING}/v1",
        "kind": "Prometheus",
        "metadata": {"name": "k8s", "namespace": "default"},
        "spec": {
            "replicas": 2,
            "serviceMonitorSelector": {"matchLabels": {"team": "web"}},
            "resources": {"requests": {"memory": "400Mi", "cpu": 1}},
            "securityContext": {"fsGroup": 2000, "runAsNonRoot": True},
            "containers": [{"name": "proxy", "image": "proxy:1", "ports": [{"containerPort": 80, "protocol": "TCP"}]}],
            "volumes": [{"name": "v", "configMap": {"name": "c", "items": [{"key": "a", "path": "b"}]}}],
            "storage": {
                "volumeClaimTemplate": {
                    "apiVersion": "v1",
                    "kind": "PersistentVolumeClaim",
                    "metadata": {"labels": {"a": "b"}},
                    "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "50Gi"}}},
                }
            },
            "remoteWrite": [{"url": "https://example.com/push", "basicAuth": {"username": {"name": "s", "key": "u"}}}],
        },
    }
