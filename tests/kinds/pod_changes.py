"""What may change in a pod, and what is said of what may not (ValidatePodUpdate and its neighbours, v1.37)."""

from __future__ import annotations

from typing import Any

from kind_harness import GONE, Cause, Update, duplicate, forbidden, invalid, not_found

_BASE = (
    "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,"
    "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)\n"
)
_TERMS = "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms"
_STATES = "may not be transitioned to non-terminated state"


def _refused(what: str, change: dict[str, Any], *causes: Cause, **more: Any) -> Update:
    return Update(what, change, list(causes), **{"on": "minimal", **more})


def _allowed(what: str, change: dict[str, Any], **more: Any) -> Update:
    return Update(what, change, allowed=True, **{"on": "minimal", **more})


SPECS = [
    _allowed("images", {"spec.containers.0.image": "other", "spec.initContainers.0.image": "other"}, on="full"),
    _allowed("a deadline", {"spec.activeDeadlineSeconds": 5}),
    _allowed("labels", {"metadata.labels": {"a": "b"}}),
    _allowed("one more toleration, and other seconds of one", {
        "spec.tolerations.+": {"key": "x", "operator": "Exists"},
        "spec.tolerations.0.tolerationSeconds": 9}, on="full"),
    _refused("a toleration less", {"spec.tolerations": []},
             forbidden("spec.tolerations", "existing toleration can not be modified except its tolerationSeconds"),
             on="full"),
    _refused("a longer deadline", {"spec.activeDeadlineSeconds": 6},
             invalid("spec.activeDeadlineSeconds", "6", "must be less than or equal to previous value"),
             before={"spec.activeDeadlineSeconds": 5}),
    _refused("no deadline any more", {"spec.activeDeadlineSeconds": GONE},
             invalid("spec.activeDeadlineSeconds", "null", "must not update from a positive integer to nil value"),
             before={"spec.activeDeadlineSeconds": 5}),
    _refused("a container more", {"spec.containers.+": {"name": "d", "image": "i", "imagePullPolicy": "Always"}},
             forbidden("spec.containers", "pod updates may not add or remove containers")),
    _refused("an image of spaces", {"spec.containers.0.image": " "},
             invalid("spec.containers[0].image", '" "', "must not have leading or trailing whitespace"),
             invalid("spec.containers[0].image", '" "', "must not have leading or trailing whitespace")),
    _refused("a command, and a node selector", {"spec.containers.0.command": ["x"], "spec.nodeSelector": {"a": "b"}},
             forbidden("spec", _BASE + """@@ -5,7 +5,9 @@
   {
    "Name": "c",
    "Image": "nginx",
-   "Command": null,
+   "Command": [
+    "x"
+   ],
    "Args": null,
    "WorkingDir": "",
    "Ports": null,
@@ -39,7 +41,9 @@
  "TerminationGracePeriodSeconds": 30,
  "ActiveDeadlineSeconds": null,
  "DNSPolicy": "ClusterFirst",
- "NodeSelector": null,
+ "NodeSelector": {
+  "a": "b"
+ },
  "ServiceAccountName": "",
  "AutomountServiceAccountToken": null,
  "NodeName": "",
""")),
    _refused("the host's network", {"spec.hostNetwork": True}, forbidden("spec", _BASE + """@@ -44,7 +44,7 @@
  "AutomountServiceAccountToken": null,
  "NodeName": "",
  "SecurityContext": {
-  "HostNetwork": false,
+  "HostNetwork": true,
   "HostPID": false,
   "HostIPC": false,
   "ShareProcessNamespace": null,
""")),
    _refused("a mirror", {"metadata.annotations": {"kubernetes.io/config.mirror": "x"}},
             invalid("metadata.annotations[kubernetes.io/config.mirror]", '"x"',
                     "must set spec.nodeName if mirror pod annotation is set"),
             forbidden("metadata.annotations[kubernetes.io/config.mirror]", "may not add mirror pod annotation"),
             invalid("metadata.annotations[kubernetes.io/config.mirror]", '"x"',
                     "must set spec.nodeName if mirror pod annotation is set")),
]  # fmt: skip

GATED = [
    _allowed("a gate less", {"spec.schedulingGates": []}, on="full"),
    _refused("another gate", {"spec.schedulingGates.+": {"name": "a.io/b"}},
             forbidden("spec.schedulingGates[1].name",
                       "only deletion is allowed, but found new scheduling gate 'a.io/b'"), on="full"),
    _allowed("a narrower choice of nodes, while it is gated", {
        "spec.nodeSelector.zone": "a",
        f"{_TERMS}.0.matchExpressions.+": {"key": "b", "operator": "Exists"}}, on="full"),
    _refused("other nodes, while it is gated", {
        "spec.nodeSelector": {"disk": "slow"},
        f"{_TERMS}.0.matchExpressions.0.values": ["b"]},
        invalid("spec.nodeSelector", '{"disk":"slow"}',
                "only additions to spec.nodeSelector are allowed (no mutations or deletions)"),
        invalid(f"{_TERMS}[0]",
                '{"MatchExpressions":[{"Key":"zone","Operator":"In","Values":["b"]}],'
                '"MatchFields":[{"Key":"metadata.name","Operator":"NotIn","Values":["n1"]}]}',
                "only additions are allowed (no mutations or deletions)"), on="full"),
    _refused("a term more, while it is gated", {f"{_TERMS}.+": {"matchExpressions": [
        {"key": "b", "operator": "Exists"}]}},
        invalid(_TERMS,
                '[{"MatchExpressions":[{"Key":"zone","Operator":"In","Values":["a"]}],'
                '"MatchFields":[{"Key":"metadata.name","Operator":"NotIn","Values":["n1"]}]},'
                '{"MatchExpressions":[{"Key":"b","Operator":"Exists","Values":null}],"MatchFields":null}]',
                "no additions/deletions to non-empty NodeSelectorTerms list are allowed"), on="full"),
]  # fmt: skip

_ENDED = {"name": "c", "image": "", "imageID": "", "ready": False, "restartCount": 0,
          "state": {"terminated": {"exitCode": 0}}}  # fmt: skip
_RUNS = {**_ENDED, "state": {"running": {}}}

STATUSES = [
    _allowed("a phase", {"status.phase": "Running"}, through="status"),
    _refused("another class of service", {"status.qosClass": "Burstable"},
             invalid("status.qosClass", '"Burstable"', "field is immutable"), through="status"),
    _refused("conditions and addresses that are none", {
        "status.conditions": [{"type": "a b", "status": "True", "observedGeneration": -1}],
        "status.podIPs": [{"ip": "10.0.0.1"}, {"ip": "10.0.0.2"}, {"ip": "x"}],
        "status.hostIPs": [{"ip": "10.0.0.9"}]},
        invalid("status.conditions[0].observedGeneration", "-1", "must be a non-negative integer"),
        invalid("status.conditions[0].Type", '"a b"', "name part must consist of alphanumeric characters, '-', '_' or "
                "'.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or "
                "'123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"),
        invalid("status.podIPs[2]", '"x"', "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"),
        invalid("status.podIPs", '[{"IP":"10.0.0.1"},{"IP":"10.0.0.2"},{"IP":"x"}]',
                "may specify no more than one IP for each IP family"),
        invalid("status.hostIPs[0].ip", '"10.0.0.9"', "must be equal to `hostIP`"), through="status"),
    _allowed("an ended container runs again", {"status.containerStatuses": [_RUNS]}, through="status",
             before={"status.containerStatuses": [_ENDED]}),
    _refused("an ended ephemeral container runs again", {"status.ephemeralContainerStatuses": [_RUNS]},
             forbidden("status.ephemeralContainerStatuses[0].state", _STATES), through="status",
             before={"status.ephemeralContainerStatuses": [_ENDED]}),
    _refused("the state of a claim that it does not have", {"status.resourceClaimStatuses": [
        {"name": "x"}, {"name": "x"}]},
        invalid("status.resourceClaimStatuses[0].name", '"x"',
                "must match the name of an entry in `spec.resourceClaims`"),
        invalid("status.resourceClaimStatuses[1].name", '"x"',
                "must match the name of an entry in `spec.resourceClaims`"),
        duplicate("status.resourceClaimStatuses[1].name", '"x"'), through="status"),
]  # fmt: skip

_E = "spec.ephemeralContainers"
SUBRESOURCES = [
    _allowed("an ephemeral container", {_E: [{"name": "e", "image": "i", "targetContainerName": "c"}]},
             through="ephemeralcontainers"),
    _refused("an ephemeral container of nobody", {_E: [{"name": "c", "image": "i", "targetContainerName": "x"}]},
             duplicate(f"{_E}[0].name", '"c"'), not_found(f"{_E}[0].targetContainerName", '"x"'),
             through="ephemeralcontainers"),
    _allowed("more cpu", {"spec.containers.1.resources": {"requests": {"cpu": "100m"}}}, through="resize", on="full"),
    _allowed("cpu of an init container that ends", {"spec.initContainers.0.resources": {"requests": {"cpu": "1"}}},
             through="resize", on="full"),
    _refused("another number of devices", {
        "spec.containers.0.resources.requests": {"cpu": "500m", "memory": "128Mi", "example.com/gpu": "2"},
        "spec.containers.0.resources.limits": {"cpu": "1", "memory": "256Mi", "example.com/gpu": "2"}},
        forbidden("spec", "only cpu and memory resources are mutable"), through="resize", on="full"),
    _refused("no request any more", {
        "spec.containers.0.resources.requests": {"memory": "128Mi", "example.com/gpu": "1"},
        "spec.containers.0.resources.limits": {"memory": "256Mi", "example.com/gpu": "1"}},
        forbidden("spec.containers[0].resources.requests", "resource requests cannot be removed"),
        forbidden("spec.containers[0].resources.limits", "resource limits cannot be removed"),
        forbidden("spec", "only cpu and memory resources are mutable"), through="resize", on="full"),
    _refused("less of what cannot shrink", {"spec.containers.0.resources": {
        "limits": {"cpu": "1"}, "requests": {"cpu": "1"}}},
        invalid("spec", '"BestEffort"', "Pod QOS Class may not change as a result of resizing"), through="resize"),
]  # fmt: skip

UPDATES = [*SPECS, *GATED, *STATUSES, *SUBRESOURCES]
