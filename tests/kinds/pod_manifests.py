"""Pods for the tables of Pod and PodTemplate: the least that is one, and one that says all that goes together."""

from __future__ import annotations

from typing import Any

Obj = dict[str, Any]

MINIMAL_SPEC: Obj = {"containers": [{"name": "c", "image": "nginx"}]}

_CONTAINER_DEFAULTS: Obj = {
    "imagePullPolicy": "Always",
    "resources": {},
    "terminationMessagePath": "/dev/termination-log",
    "terminationMessagePolicy": "File",
}

MINIMAL_TEMPLATE_STORED: Obj = {
    "containers": [{"name": "c", "image": "nginx", **_CONTAINER_DEFAULTS}],
    "dnsPolicy": "ClusterFirst",
    "restartPolicy": "Always",
    "schedulerName": "default-scheduler",
    "securityContext": {},
    "terminationGracePeriodSeconds": 30,
}
MINIMAL_POD_STORED: Obj = {**MINIMAL_TEMPLATE_STORED, "enableServiceLinks": True}

_PROBE: Obj = {
    "failureThreshold": 5,
    "initialDelaySeconds": 1,
    "periodSeconds": 2,
    "successThreshold": 1,
    "timeoutSeconds": 3,
}
_PROBE_DEFAULTS: Obj = {"failureThreshold": 3, "periodSeconds": 10, "successThreshold": 1, "timeoutSeconds": 1}

_FIRST: Obj = {
    "name": "web",
    "image": "registry.example.com/web:1.2",
    "command": ["/web"],
    "args": ["--port=8080"],
    "workingDir": "/srv",
    "ports": [
        {"name": "http", "containerPort": 8080},
        {"name": "dns", "containerPort": 53, "protocol": "UDP", "hostPort": 5353, "hostIP": "10.0.0.1"},
    ],
    "env": [
        {"name": "PLAIN", "value": "a"},
        {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
        {"name": "ZONE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['zone']"}}},
        {"name": "CPUS", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu", "divisor": "1m"}}},
        {"name": "MODE", "valueFrom": {"configMapKeyRef": {"name": "conf", "key": "mode", "optional": True}}},
        {"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "password"}}},
        {"name": "TOKEN", "valueFrom": {"fileKeyRef": {"volumeName": "work", "path": "env", "key": "TOKEN"}}},
    ],
    "envFrom": [{"prefix": "C_", "configMapRef": {"name": "conf"}}, {"secretRef": {"name": "keys", "optional": True}}],
    "resources": {
        "limits": {"cpu": "1", "memory": "256Mi", "example.com/gpu": "1"},
        "requests": {"cpu": "0.5", "memory": "128Mi"},
        "claims": [{"name": "gpu", "request": "one"}],
    },
    "resizePolicy": [
        {"resourceName": "cpu", "restartPolicy": "NotRequired"},
        {"resourceName": "memory", "restartPolicy": "RestartContainer"},
    ],
    "restartPolicy": "OnFailure",
    "restartPolicyRules": [{"action": "Restart", "exitCodes": {"operator": "In", "values": [42]}}],
    "volumeMounts": [
        {"name": "work", "mountPath": "/work", "subPath": "a/b"},
        {"name": "all", "mountPath": "/all", "readOnly": True, "recursiveReadOnly": "IfPossible"},
        {"name": "host", "mountPath": "/host", "mountPropagation": "HostToContainer"},
        {"name": "data", "mountPath": "/data", "subPathExpr": "$(PLAIN)"},
        {"name": "model", "mountPath": "/model"},
    ],
    "livenessProbe": {"httpGet": {"port": "http", "httpHeaders": [{"name": "X-A", "value": "b"}]}, **_PROBE},
    "readinessProbe": {"grpc": {"port": 9000}},
    "startupProbe": {"tcpSocket": {"port": 8080}, "terminationGracePeriodSeconds": 5},
    "lifecycle": {"postStart": {"exec": {"command": ["true"]}}, "preStop": {"sleep": {"seconds": 2}}},
    "terminationMessagePath": "/tmp/end",
    "terminationMessagePolicy": "FallbackToLogsOnError",
    "imagePullPolicy": "IfNotPresent",
    "securityContext": {
        "capabilities": {"add": ["NET_ADMIN"], "drop": ["ALL"]},
        "privileged": False,
        "seLinuxOptions": {"level": "s0:c1,c2"},
        "runAsUser": 1000,
        "runAsGroup": 1000,
        "runAsNonRoot": True,
        "readOnlyRootFilesystem": True,
        "allowPrivilegeEscalation": False,
        "procMount": "Default",
        "seccompProfile": {"type": "RuntimeDefault"},
    },
    "stdin": True,
    "stdinOnce": True,
    "tty": True,
}

_SECOND: Obj = {
    "name": "disk",
    "image": "disk@sha256:0000000000000000000000000000000000000000000000000000000000000000",
    "volumeDevices": [{"name": "raw", "devicePath": "/dev/xvda"}],
}

_SELECTOR: Obj = {"labelSelector": {"matchLabels": {"app": "web"}}, "topologyKey": "kubernetes.io/hostname"}

#: all of a spec that goes together, in a pod and in a template
FULL_SPEC: Obj = {
    "volumes": [
        {"name": "work", "emptyDir": {"medium": "Memory", "sizeLimit": "1.5Gi"}},
        {"name": "host", "hostPath": {"path": "/var/lib", "type": "Directory"}},
        {"name": "raw", "persistentVolumeClaim": {"claimName": "raw"}},
        {"name": "model", "image": {"reference": "models/m:1"}},
        {
            "name": "data",
            "ephemeral": {
                "volumeClaimTemplate": {
                    "metadata": {"labels": {"a": "b"}},
                    "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
                }
            },
        },
        {
            "name": "all",
            "projected": {
                "sources": [
                    {"secret": {"name": "keys", "items": [{"key": "k", "path": "key", "mode": 256}]}},
                    {"configMap": {"name": "conf", "optional": True}},
                    {"downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
                    {"serviceAccountToken": {"path": "token", "audience": "vault"}},
                    {"clusterTrustBundle": {"signerName": "a.io/b", "path": "ca.pem", "labelSelector": {}}},
                    {"podCertificate": {"signerName": "a.io/b", "keyType": "ED25519", "keyPath": "tls.pem"}},
                ]
            },
        },
    ],
    "initContainers": [
        {"name": "first", "image": "busybox:1.37"},
        {
            "name": "proxy",
            "image": "proxy:2",
            "restartPolicy": "Always",
            "startupProbe": {"exec": {"command": ["true"]}},
            "lifecycle": {"preStop": {"httpGet": {"port": 15000, "path": "/quit"}}},
        },
    ],
    "containers": [_FIRST, _SECOND],
    "restartPolicy": "Always",
    "terminationGracePeriodSeconds": 10,
    "dnsPolicy": "None",
    "nodeSelector": {"disk": "fast"},
    "serviceAccountName": "robot",
    "automountServiceAccountToken": False,
    "shareProcessNamespace": True,
    "hostUsers": True,
    "securityContext": {
        "runAsUser": 1000,
        "runAsGroup": 2000,
        "runAsNonRoot": True,
        "supplementalGroups": [3000],
        "supplementalGroupsPolicy": "Strict",
        "fsGroup": 4000,
        "fsGroupChangePolicy": "OnRootMismatch",
        "seLinuxOptions": {"level": "s0"},
        "seLinuxChangePolicy": "MountOption",
        "seccompProfile": {"type": "Localhost", "localhostProfile": "profiles/a.json"},
        "sysctls": [{"name": "net.core.somaxconn", "value": "1024"}],
    },
    "imagePullSecrets": [{"name": "pull"}],
    "hostname": "web-0",
    "subdomain": "web",
    "affinity": {
        "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [
                    {
                        "matchExpressions": [{"key": "zone", "operator": "In", "values": ["a"]}],
                        "matchFields": [{"key": "metadata.name", "operator": "NotIn", "values": ["n1"]}],
                    }
                ]
            },
            "preferredDuringSchedulingIgnoredDuringExecution": [
                {"weight": 5, "preference": {"matchExpressions": [{"key": "cores", "operator": "Gt", "values": ["4"]}]}}
            ],
        },
        "podAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": [{**_SELECTOR, "namespaces": ["default"]}],
            "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1, "podAffinityTerm": _SELECTOR}],
        },
        "podAntiAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": [{**_SELECTOR, "namespaceSelector": {}}],
        },
    },
    "schedulerName": "mine",
    "tolerations": [
        {"key": "a", "operator": "Equal", "value": "b", "effect": "NoExecute", "tolerationSeconds": 5},
        {"operator": "Exists"},
    ],
    "hostAliases": [{"ip": "10.1.2.3", "hostnames": ["db", "db.local"]}],
    "dnsConfig": {
        "nameservers": ["10.96.0.10"],
        "searches": ["a.svc.cluster.local", "_tcp.a.local."],
        "options": [{"name": "ndots", "value": "2"}, {"name": "edns0"}],
    },
    "readinessGates": [{"conditionType": "example.com/lit"}],
    "enableServiceLinks": False,
    "overhead": {"cpu": "250m"},
    "topologySpreadConstraints": [
        {
            "maxSkew": 1,
            "minDomains": 2,
            "topologyKey": "zone",
            "whenUnsatisfiable": "DoNotSchedule",
            "labelSelector": {"matchLabels": {"app": "web"}},
            "nodeAffinityPolicy": "Honor",
            "nodeTaintsPolicy": "Ignore",
        }
    ],
    "schedulingGates": [{"name": "example.com/hold"}],
    "setHostnameAsFQDN": False,
    "os": {"name": "linux"},
    "resourceClaims": [{"name": "gpu", "resourceClaimTemplateName": "gpus"}],
    "resources": {"limits": {"memory": "1Gi"}, "requests": {"cpu": "2", "memory": "512Mi"}},
}


def _with_defaults(*, of_pod: bool) -> Obj:
    """``FULL_SPEC`` as it is stored: every default by its place."""
    spec = FULL_SPEC
    volumes = {volume["name"]: volume for volume in spec["volumes"]}
    sources = volumes["all"]["projected"]["sources"]
    claim = volumes["data"]["ephemeral"]["volumeClaimTemplate"]
    first, proxy = spec["initContainers"]
    env = [dict(variable) for variable in _FIRST["env"]]
    env[1] = {"name": "NODE", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "spec.nodeName"}}}
    env[2] = {"name": "ZONE", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.labels['zone']"}}}
    env[6] = {
        "name": "TOKEN",
        "valueFrom": {"fileKeyRef": {"volumeName": "work", "path": "env", "key": "TOKEN", "optional": False}},
    }
    requests: Obj = {"cpu": "500m", "memory": "128Mi"}
    if of_pod:
        requests["example.com/gpu"] = "1"
    web = {
        **_FIRST,
        "ports": [{**_FIRST["ports"][0], "protocol": "TCP"}, _FIRST["ports"][1]],
        "env": env,
        "resources": {**_FIRST["resources"], "requests": requests},
        "livenessProbe": {
            "httpGet": {"port": "http", "path": "/", "scheme": "HTTP", "httpHeaders": [{"name": "X-A", "value": "b"}]},
            **_PROBE,
        },
        "readinessProbe": {"grpc": {"port": 9000, "service": ""}, **_PROBE_DEFAULTS},
        "startupProbe": {"tcpSocket": {"port": 8080}, "terminationGracePeriodSeconds": 5, **_PROBE_DEFAULTS},
    }
    on_disk = {"imagePullPolicy": "IfNotPresent"}
    return {
        **spec,
        "volumes": [
            {"name": "work", "emptyDir": {"medium": "Memory", "sizeLimit": "1536Mi"}},
            volumes["host"],
            volumes["raw"],
            {"name": "model", "image": {"reference": "models/m:1", "pullPolicy": "IfNotPresent"}},
            {
                "name": "data",
                "ephemeral": {"volumeClaimTemplate": {**claim, "spec": {**claim["spec"], "volumeMode": "Filesystem"}}},
            },
            {
                "name": "all",
                "projected": {
                    "defaultMode": 420,
                    "sources": [
                        *sources[:2],
                        {
                            "downwardAPI": {
                                "items": [
                                    {
                                        "path": "labels",
                                        "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.labels"},
                                    }
                                ]
                            }
                        },
                        {"serviceAccountToken": {"path": "token", "audience": "vault", "expirationSeconds": 3600}},
                        sources[4],
                        {"podCertificate": {**sources[5]["podCertificate"], "maxExpirationSeconds": 86400}},
                    ],
                },
            },
        ],
        "initContainers": [
            {**_CONTAINER_DEFAULTS, **on_disk, **first},
            {
                **_CONTAINER_DEFAULTS,
                **on_disk,
                **proxy,
                "startupProbe": {"exec": {"command": ["true"]}, **_PROBE_DEFAULTS},
                "lifecycle": {"preStop": {"httpGet": {"port": 15000, "path": "/quit", "scheme": "HTTP"}}},
            },
        ],
        "containers": [web, {**_CONTAINER_DEFAULTS, **on_disk, **_SECOND}],
        "serviceAccount": "robot",
    }


FULL_POD_STORED: Obj = _with_defaults(of_pod=True)
FULL_TEMPLATE_STORED: Obj = _with_defaults(of_pod=False)
