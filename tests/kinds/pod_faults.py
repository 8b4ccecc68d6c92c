"""Pods that are refused: what is said of each, in upstream's words and order (pkg/apis/core/validation, v1.37)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kind_harness import GONE, LABEL, SUBDOMAIN, Cause, Invalid, duplicate, forbidden, invalid, not_found, not_supported
from kind_harness import required as needed
from pod_volume_faults import VOLUMES

_C = "spec.containers[0]"
_NOT_STANDARD = "must be a standard resource type or fully qualified"
_ID = "must be between 0 and 2147483647, inclusive"
_NAME_PART = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric "
    "character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
    "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
)
_ENV = "a valid environment variable name must consist only of printable ASCII characters other than '='"
_DOUBLE_KEY = 'Invalid value: "a": exists in both matchLabelKeys and labelSelector'
_SPREAD = {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}
_TERM = {"topologyKey": "zone", "labelSelector": {"matchLabels": {"a": "b"}}}
_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"


def _on_minimal(what: str, change: dict[str, Any], causes: Sequence[Cause], *, together: bool = False) -> Invalid:
    return Invalid(what, change, causes, together=together, on="minimal")


def _container(what: str, fields: dict[str, Any], causes: Sequence[Cause], *, together: bool = False) -> Invalid:
    change = {f"spec.containers.0.{key}": value for key, value in fields.items()}
    return _on_minimal(f"a container: {what}", change, causes, together=together)


CONTAINERS = [
    _on_minimal("no containers", {"spec": {}}, [needed("spec.containers")]),
    _on_minimal("two containers of one name and one port", {"spec.containers": [
        {"name": "c", "image": "i", "ports": [{"containerPort": 1, "hostPort": 80}]},
        {"name": "c", "image": "i", "ports": [{"containerPort": 2, "hostPort": 80}]}]}, [
        duplicate("spec.containers[1].name", '"c"'),
        duplicate("spec.containers[1].ports[0].hostPort", '"TCP//80"'),
    ], together=True),
    _container("no name and no image", {"name": "", "image": GONE}, [needed(f"{_C}.name"), needed(f"{_C}.image")]),
    _container("an image between spaces", {"image": " i "}, [
        invalid(f"{_C}.image", '" i "', "must not have leading or trailing whitespace")]),
    _container("ports of every fault", {"ports": [
        {"name": "http--x", "containerPort": 0}, {"name": "a", "containerPort": 70000},
        {"name": "a", "containerPort": 1, "protocol": "ICMP"}]}, [
        invalid(f"{_C}.ports[0].name", '"http--x"', "must not contain consecutive hyphens"),
        needed(f"{_C}.ports[0].containerPort"),
        invalid(f"{_C}.ports[1].containerPort", "70000", "must be between 1 and 65535, inclusive"),
        duplicate(f"{_C}.ports[2].name", '"a"'),
        not_supported(f"{_C}.ports[2].protocol", '"ICMP"', "SCTP", "TCP", "UDP"),
    ]),
    _container("variables without a sense", {"env": [
        {"name": "a=b"}, {"name": "A", "value": "x", "valueFrom": {"configMapKeyRef": {"name": "m", "key": "k"}}},
        {"name": "B", "valueFrom": {}}, {"name": "C", "valueFrom": {"fieldRef": {"fieldPath": "spec.containers"}}}]}, [
        invalid(f"{_C}.env[0].name", '"a=b"', _ENV),
        invalid(f"{_C}.env[1].valueFrom", '""', "may not be specified when `value` is not empty"),
        invalid(f"{_C}.env[2].valueFrom", '""', "must specify one of: `fieldRef`, `resourceFieldRef`, "
                "`configMapKeyRef`, `secretKeyRef` or `fileKeyRef`"),
        invalid(f"{_C}.env[3].valueFrom.fieldRef.fieldPath", '"spec.containers"',
                "error converting fieldPath: field label not supported: spec.containers"),
    ], together=True),
    _container("a variable of two sources", {"env": [{"name": "A", "valueFrom": {
        "resourceFieldRef": {"resource": "limits.cpu", "divisor": "3"},
        "secretKeyRef": {"name": "S", "key": "a b"}}}]}, [
        invalid(f"{_C}.env[0].valueFrom.resourceFieldRef.divisor", '"limits.cpu"',
                "only divisor's values 1m and 1 are supported with the cpu resource"),
        invalid(f"{_C}.env[0].valueFrom.secretKeyRef.name", '"S"', SUBDOMAIN),
        invalid(f"{_C}.env[0].valueFrom.secretKeyRef.key", '"a b"', "a valid config key must consist of alphanumeric "
                "characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for "
                "validation is '[-._a-zA-Z0-9]+')"),
        invalid(f"{_C}.env[0].valueFrom", '""', "may not have more than one field specified at a time"),
    ], together=True),
    _on_minimal("a variable from a file of a ConfigMap", {
        "spec.volumes": [{"name": "v", "configMap": {"name": "m"}}],
        "spec.containers.0.env": [{"name": "A", "valueFrom": {"fileKeyRef": {
            "volumeName": "v", "path": "p", "key": "A"}}}]}, [
        invalid(f"{_C}.env[0].valueFrom.fileKeyRef.volumeName", '"v"', "referenced volume must be of type emptyDir"),
    ], together=True),
    _container("all variables of nothing", {"envFrom": [{}, {"configMapRef": {}, "secretRef": {"name": "s"}}]}, [
        invalid(f"{_C}.envFrom", '""', "must specify one of: `configMapRef` or `secretRef`"),
        needed(f"{_C}.envFrom[1].configMapRef.name"),
        invalid(f"{_C}.envFrom", '""', "may not have more than one field specified at a time"),
    ]),
    _on_minimal("mounts that clash", {
        "spec.volumes": [{"name": "v"}],
        "spec.containers.0.volumeMounts": [
            {"name": "v", "mountPath": "/a", "subPath": "../x", "subPathExpr": "y"}, {"name": "w", "mountPath": "/a"},
            {"name": "v", "mountPath": "/b", "mountPropagation": "Bidirectional", "recursiveReadOnly": "Enabled"}]}, [
        invalid(f"{_C}.volumeMounts.subPath", '"../x"', "must not contain '..'"),
        invalid(f"{_C}.volumeMounts[0].subPathExpr", '"y"', "subPathExpr and subPath are mutually exclusive"),
        not_found(f"{_C}.volumeMounts[1].name", '"w"'),
        invalid(f"{_C}.volumeMounts[1].mountPath", '"/a"', "must be unique"),
        forbidden(f"{_C}.volumeMounts.mountPropagation",
                  "Bidirectional mount propagation is available only to privileged containers"),
        forbidden(f"{_C}.volumeMounts.recursiveReadOnly", "may only be specified when readOnly is true"),
        forbidden(f"{_C}.volumeMounts.recursiveReadOnly",
                  "may only be specified when mountPropagation is None or not specified"),
    ], together=True),
    _on_minimal("a device that is a folder, and mounted", {
        "spec.volumes": [{"name": "v"}],
        "spec.containers.0.volumeMounts": [{"name": "v", "mountPath": "/a"}],
        "spec.containers.0.volumeDevices": [{"name": "v", "devicePath": "/a"}]}, [
        invalid(f"{_C}.volumeMounts[0].name", '"v"', "must not already exist in volumeDevices"),
        invalid(f"{_C}.volumeMounts[0].mountPath", '"/a"', "must not already exist as a path in volumeDevices"),
        invalid(f"{_C}.volumeDevices[0].name", '"v"',
                "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode"),
        invalid(f"{_C}.volumeDevices[0].name", '"v"', "must not already exist in volumeMounts"),
        invalid(f"{_C}.volumeDevices[0].devicePath", '"/a"', "must not already exist as a path in volumeMounts"),
    ], together=True),
    _container("more requested than allowed", {"resources": {
        "limits": {"cpu": "1"}, "requests": {"cpu": "2", "example.com/a": "1"}}}, [
        invalid(f"{_C}.resources.requests", '"2"', "must be less than or equal to cpu limit of 1"),
        needed(f"{_C}.resources.limits", "Limit must be set for non overcommitable resources"),
    ], together=True),
    _container("resources that do not exist, less than none, and in part", {"resources": {"limits": {
        "gpu": "1", "memory": "-1", "example.com/a": "500m"}}}, [
        invalid(f"{_C}.resources.limits[gpu]", '"gpu"', _NOT_STANDARD),
        invalid(f"{_C}.resources.limits[gpu]", '"gpu"', "must be a standard resource for containers"),
        invalid(f"{_C}.resources.limits[memory]", '"-1"', "must be greater than or equal to 0"),
        invalid(f"{_C}.resources.limits[example.com/a]", '"500m"', "must be an integer"),
        invalid(f"{_C}.resources.requests[gpu]", '"gpu"', _NOT_STANDARD),
        invalid(f"{_C}.resources.requests[gpu]", '"gpu"', "must be a standard resource for containers"),
        invalid(f"{_C}.resources.requests[memory]", '"-1"', "must be greater than or equal to 0"),
        invalid(f"{_C}.resources.requests[example.com/a]", '"500m"', "must be an integer"),
    ]),
    _container("huge pages alone, and half of one", {"resources": {"limits": {"hugepages-2Mi": "1Mi"}}}, [
        invalid(f"{_C}.resources.limits[hugepages-2Mi]", '"1Mi"',
                "1Mi is not positive integer multiple of hugepages-2Mi"),
        invalid(f"{_C}.resources.requests[hugepages-2Mi]", '"1Mi"',
                "1Mi is not positive integer multiple of hugepages-2Mi"),
        forbidden(f"{_C}.resources", "HugePages require cpu or memory"),
    ], together=True),
    _on_minimal("claims that are not the pod's", {
        "spec.resourceClaims": [{"name": "a", "resourceClaimName": "x", "resourceClaimTemplateName": "y"}],
        "spec.containers.0.resources": {"claims": [{"name": "a", "request": "r"}, {"name": "a"}, {"name": "b"}]}}, [
        invalid("spec.resourceClaims[0]",
                '{"Name":"a","ResourceClaimName":"x","ResourceClaimTemplateName":"y"}',
                "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified"),
        duplicate(f"{_C}.resources.claims[1]", '"a"'),
        Cause("FieldValueNotFound", f"{_C}.resources.claims[2]",
              'Not found: "b": must be one of the names in pod.spec.resourceClaims: a'),
    ], together=True),
    _on_minimal("a policy of resizing by restarting what never restarts", {
        "spec.restartPolicy": "Never",
        "spec.containers.0.resizePolicy": [{"resourceName": "disk", "restartPolicy": "RestartContainer"}]}, [
        not_supported(f"{_C}.resizePolicy", '"disk"', "cpu", "memory"),
        invalid(f"{_C}.resizePolicy", '"RestartContainer"',
                "must be 'NotRequired' when `restartPolicy` is 'Never'"),
    ], together=True),
    _container("rules of restarting without a policy", {"restartPolicyRules": [
        {"action": "Stop", "exitCodes": {"operator": "Between", "values": [1]}}, {"action": "Restart"}]}, [
        needed(f"{_C}.restartPolicy", "must specify restartPolicy when restart rules are used"),
        not_supported(f"{_C}.restartPolicyRules[0].action", '"Stop"', "Restart"),
        not_supported(f"{_C}.restartPolicyRules[0].exitCodes.operator", '"Between"', "In", "NotIn"),
        needed(f"{_C}.restartPolicyRules[1].exitCodes", "must be specified"),
    ], together=True),
    _container("probes of every fault", {
        "livenessProbe": {"exec": {}, "httpGet": {"port": 0}, "successThreshold": 2, "timeoutSeconds": -1},
        "readinessProbe": {"httpGet": {"port": "A", "scheme": "FTP", "httpHeaders": [{"name": "a b", "value": ""}]},
                           "terminationGracePeriodSeconds": 1},
        "startupProbe": {"terminationGracePeriodSeconds": 0}}, [
        needed(f"{_C}.livenessProbe.exec.command"),
        forbidden(f"{_C}.livenessProbe.httpGet", "may not specify more than 1 handler type"),
        invalid(f"{_C}.livenessProbe.timeoutSeconds", "-1", "must be greater than or equal to 0"),
        invalid(f"{_C}.livenessProbe.successThreshold", "2", "must be 1"),
        invalid(f"{_C}.readinessProbe.httpGet.port", '"A"',
                "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)"),
        invalid(f"{_C}.readinessProbe.httpGet.port", '"A"', "must contain at least one letter (a-z)"),
        not_supported(f"{_C}.readinessProbe.httpGet.scheme", '"FTP"', "HTTP", "HTTPS"),
        invalid(f"{_C}.readinessProbe.httpGet.httpHeaders", '"a b"', "a valid HTTP header must consist of alphanumeric "
                "characters or '-' (e.g. 'X-Header-Name', regex used for validation is '[-A-Za-z0-9]+')"),
        invalid(f"{_C}.readinessProbe.terminationGracePeriodSeconds", "1", "must not be set for readinessProbes"),
        needed(f"{_C}.startupProbe", "must specify a handler type"),
        invalid(f"{_C}.startupProbe.terminationGracePeriodSeconds", "0", "must be greater than 0"),
    ], together=True),
    _container("a hook longer than the pod's end; a signal of no system is dropped", {"lifecycle": {
        "preStop": {"sleep": {"seconds": 31}}, "stopSignal": "SIGTERM"}}, [
        invalid(f"{_C}.lifecycle.preStop.sleep", "31",
                "must be non-negative and less than terminationGracePeriodSeconds (30)"),
    ], together=True),
    _on_minimal("tolerations that compare numbers", {"spec.tolerations": [
        {"key": "a", "operator": "Gt", "value": "1"}]}, [
        not_supported("spec.tolerations[0].operator", '"Gt"', "Equal", "Exists")]),
    _on_minimal("tolerations in an annotation that are none", {
        "metadata.annotations[scheduler.alpha.kubernetes.io/tolerations]": '[{"key":5}]'}, [
        invalid("metadata.annotations", '"scheduler.alpha.kubernetes.io/tolerations"',
                "must be a JSON list of tolerations")]),
    _on_minimal("an init container with a probe, and a sidecar of a name that is taken", {"spec.initContainers": [
        {"name": "a", "image": "i", "livenessProbe": {"grpc": {"port": 1}}},
        {"name": "c", "image": "i", "restartPolicy": "Always", "readinessProbe": {"grpc": {"port": 0}}}]}, [
        forbidden("spec.initContainers[0].livenessProbe",
                  "may not be set for init containers without restartPolicy=Always"),
        duplicate("spec.initContainers[1].name", '"c"'),
        invalid("spec.initContainers[1].readinessProbe.grpc.port", "0", "must be between 1 and 65535, inclusive"),
    ], together=True),
    _on_minimal("an ephemeral container from the start", {"spec.ephemeralContainers": [
        {"name": "e", "image": "i", "targetContainerName": "x", "ports": [{"containerPort": 1}]}]}, [
        not_found("spec.ephemeralContainers[0].targetContainerName", '"x"'),
        forbidden("spec.ephemeralContainers[0].ports", "cannot be set for an Ephemeral Container"),
        forbidden("spec.ephemeralContainers", "cannot be set on create"),
    ]),
]  # fmt: skip

SECURITY = [
    _container("privileged, and not to become it", {"securityContext": {
        "privileged": True, "allowPrivilegeEscalation": False, "runAsUser": -1}}, [
        invalid(f"{_C}.securityContext.runAsUser", "-1", _ID),
        invalid(f"{_C}.securityContext",
                '{"Capabilities":null,"Privileged":true,"SELinuxOptions":null,"WindowsOptions":null,"RunAsUser":-1,'
                '"RunAsGroup":null,"RunAsNonRoot":null,"ReadOnlyRootFilesystem":null,"AllowPrivilegeEscalation":false,'
                '"ProcMount":null,"SeccompProfile":null,"AppArmorProfile":null}',
                "cannot set `allowPrivilegeEscalation` to false and `privileged` to true"),
    ], together=True),
    _container("an unmasked /proc with the host's users", {"securityContext": {"procMount": "Unmasked"}}, [
        invalid(f"{_C}.securityContext.procMount", '"Unmasked"', "`hostUsers` must be false to use `Unmasked`"),
    ], together=True),
    _container("profiles without names", {"securityContext": {
        "seccompProfile": {"type": "Unconfined", "localhostProfile": "a"}, "appArmorProfile": {"type": "Localhost"}}}, [
        invalid(f"{_C}.securityContext.seccompProfile.localhostProfile",
                '{"Type":"Unconfined","LocalhostProfile":"a"}', "can only be set when seccomp type is Localhost"),
        needed(f"{_C}.securityContext.appArmorProfile.localhostProfile", "must be set when AppArmor type is Localhost"),
    ], together=True),
    _on_minimal("a sysctl of the host", {
        "spec.hostNetwork": True, "spec.securityContext.sysctls": [{"name": "net.core.somaxconn", "value": "1"}]}, [
        invalid("spec.securityContext.sysctls[0].name", '"net.core.somaxconn"',
                "may not be specified when 'hostNetwork' is true"),
    ], together=True),
    _on_minimal("users of its own, and the host's processes", {
        "spec.hostUsers": False, "spec.hostPID": True, "spec.hostIPC": True, "spec.hostNetwork": True}, [
        forbidden("spec.hostNetwork", "when `hostUsers` is false"),
        forbidden("spec.HostPID", "when `hostUsers` is false"),
        forbidden("spec.HostIPC", "when `hostUsers` is false"),
    ], together=True),
    _on_minimal("processes shared with the host and among the containers", {
        "spec.hostPID": True, "spec.shareProcessNamespace": True}, [
        invalid("spec.securityContext.shareProcessNamespace", "true",
                "ShareProcessNamespace and HostPID cannot both be enabled"),
    ], together=True),
    _on_minimal("policies that do not exist", {"spec.securityContext": {
        "fsGroupChangePolicy": "Never", "supplementalGroupsPolicy": "Some", "seLinuxChangePolicy": "None",
        "supplementalGroups": [-1]}}, [
        invalid("spec.securityContext.supplementalGroups[0]", "-1", _ID),
        not_supported("spec.securityContext.fsGroupChangePolicy", '"Never"', "Always", "OnRootMismatch"),
        not_supported("spec.securityContext.supplementalGroupsPolicy", '"Some"', "Merge", "Strict"),
        not_supported("spec.securityContext.seLinuxChangePolicy", '"None"', "MountOption", "Recursive"),
    ]),
    _on_minimal("a pod for Windows with what is Linux's", {
        "spec.os": {"name": "windows"}, "spec.securityContext": {"fsGroup": 1}, "spec.hostPID": True,
        "spec.containers.0.securityContext": {"privileged": False}}, [
        forbidden("spec.hostPID", "cannot be set for a windows pod"),
        forbidden("spec.securityContext.fsGroup", "cannot be set for a windows pod"),
        forbidden(f"{_C}.securityContext.privileged", "cannot be set for a windows pod"),
    ], together=True),
    _on_minimal("host processes in part, without the host's network", {
        "spec.containers": [
            {"name": "a", "image": "i", "securityContext": {"windowsOptions": {
                "hostProcess": True, "runAsUserName": "a\\b\\c"}}},
            {"name": "b", "image": "i"}]}, [
        invalid("spec.containers[0].securityContext.windowsOptions.runAsUserName", '"a\\\\b\\\\c"',
                "runAsUserName cannot contain more than one backslash"),
        invalid("spec", '""',
                "If pod contains any hostProcess containers then all containers must be HostProcess containers"),
        invalid("spec.hostNetwork", "false", "hostNetwork must be true if pod contains any hostProcess containers"),
    ], together=True),
    _on_minimal("annotations that say otherwise", {
        "metadata.annotations": {
            "seccomp.security.alpha.kubernetes.io/pod": "unconfined",
            "container.apparmor.security.beta.kubernetes.io/x": "strange",
            "controller.kubernetes.io/pod-deletion-cost": "+1", "kubernetes.io/config.mirror": "a"},
        "spec.securityContext.seccompProfile": {"type": "RuntimeDefault"}}, [
        invalid("metadata.annotations[kubernetes.io/config.mirror]", '"a"',
                "must set spec.nodeName if mirror pod annotation is set"),
        invalid("metadata.annotations[controller.kubernetes.io/pod-deletion-cost]", '"+1"', "must be a 32bit integer"),
        invalid("metadata.annotations[container.apparmor.security.beta.kubernetes.io/x]", '"x"', "container not found"),
        invalid("metadata.annotations[container.apparmor.security.beta.kubernetes.io/x]", '"strange"',
                'invalid AppArmor profile name: "strange"'),
        forbidden("spec.securityContext.seccompProfile.type", "seccomp type in annotation and field must match"),
    ], together=True),
]  # fmt: skip

PLACEMENT = [
    _on_minimal("selectors of nodes without sense", {"spec.affinity": {"nodeAffinity": {
        _REQUIRED: {"nodeSelectorTerms": [{
            "matchExpressions": [{"key": "a", "operator": "In"}, {"key": "a", "operator": "Is", "values": ["-"]}],
            "matchFields": [{"key": "spec.x", "operator": "In", "values": ["a", "b"]}]}]},
        _PREFERRED: [{"weight": 101, "preference": {"matchExpressions": [
            {"key": "a", "operator": "Gt", "values": ["1", "-2-"]}]}}]}}}, [
        needed(f"spec.affinity.nodeAffinity.{_REQUIRED}.nodeSelectorTerms[0].matchExpressions[0].values",
               "must be specified when `operator` is 'In' or 'NotIn'"),
        invalid(f"spec.affinity.nodeAffinity.{_REQUIRED}.nodeSelectorTerms[0].matchExpressions[1].operator", '"Is"',
                "not a valid selector operator"),
        invalid(f"spec.affinity.nodeAffinity.{_REQUIRED}.nodeSelectorTerms[0].matchExpressions[1].values[0]", '"-"',
                "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and "
                "must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', "
                "regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"),
        needed(f"spec.affinity.nodeAffinity.{_REQUIRED}.nodeSelectorTerms[0].matchFields[0].values",
               "must be only one value when `operator` is 'In' or 'NotIn' for node field selector"),
        invalid(f"spec.affinity.nodeAffinity.{_REQUIRED}.nodeSelectorTerms[0].matchFields[0].key", '"spec.x"',
                "not a valid field selector key"),
        invalid(f"spec.affinity.nodeAffinity.{_PREFERRED}[0].weight", "101", "must be in the range 1-100"),
        needed(f"spec.affinity.nodeAffinity.{_PREFERRED}[0].preference.matchExpressions[0].values",
               "must be specified single value when `operator` is 'Lt' or 'Gt'"),
    ]),
    _on_minimal("neighbours nowhere, by keys of nothing", {"spec.affinity": {"podAffinity": {
        _REQUIRED: [{"matchLabelKeys": ["a"], "namespaces": ["A"]}]},
        "podAntiAffinity": {_PREFERRED: [{"weight": 0, "podAffinityTerm": {
            **_TERM, "matchLabelKeys": ["x"], "mismatchLabelKeys": ["x"]}}]}}}, [
        invalid(f"spec.affinity.podAffinity.{_REQUIRED}[0].namespace", '"A"', LABEL),
        forbidden(f"spec.affinity.podAffinity.{_REQUIRED}[0].matchLabelKeys",
                  "must not be specified when labelSelector is not set"),
        needed(f"spec.affinity.podAffinity.{_REQUIRED}[0].topologyKey", "can not be empty"),
        invalid(f"spec.affinity.podAffinity.{_REQUIRED}[0].topologyKey", '""', "name part must be non-empty"),
        invalid(f"spec.affinity.podAffinity.{_REQUIRED}[0].topologyKey", '""', _NAME_PART),
        invalid(f"spec.affinity.podAntiAffinity.{_PREFERRED}[0].weight", "0", "must be in the range 1-100"),
        invalid(f"spec.affinity.podAntiAffinity.{_PREFERRED}[0].podAffinityTerm.matchLabelKeys[0]", '"x"',
                "exists in both matchLabelKeys and mismatchLabelKeys"),
    ], together=True),
    _on_minimal("a key that the selector has already", {
        "metadata.labels": {"a": "1"},
        "spec.topologySpreadConstraints": [
            {**_SPREAD, "matchLabelKeys": ["a"], "labelSelector": {"matchLabels": {"a": "1"}}}]}, [
        Cause("FieldValueInvalid", "spec.topologySpreadConstraints[0][0]", _DOUBLE_KEY),
    ], together=True),
    _on_minimal("spread twice the same way, and by a policy of another", {"spec.topologySpreadConstraints": [
        {**_SPREAD, "maxSkew": 0}, _SPREAD,
        {"maxSkew": 1, "topologyKey": "", "whenUnsatisfiable": "ScheduleAnyway", "minDomains": 2,
         "nodeTaintsPolicy": "Maybe"}]}, [
        invalid("spec.topologySpreadConstraints[0].maxSkew", "0", "must be greater than 0"),
        duplicate("spec.topologySpreadConstraints[0].{topologyKey, whenUnsatisfiable}", '"{zone, DoNotSchedule}"'),
        needed("spec.topologySpreadConstraints[2].topologyKey", "can not be empty"),
        invalid("spec.topologySpreadConstraints[2].minDomains", "2",
                "can only use minDomains if whenUnsatisfiable=DoNotSchedule, not ScheduleAnyway"),
        not_supported("spec.topologySpreadConstraints[2].nodeTaintsPolicy", '"Maybe"', "Honor", "Ignore"),
    ], together=True),
    _on_minimal("tolerations of every fault", {"spec.tolerations": [
        {"operator": "Equal"}, {"key": "a", "operator": "Exists", "value": "b"},
        {"key": "a", "operator": "In", "effect": "Never"}, {"key": "a", "tolerationSeconds": 1}]}, [
        invalid("spec.tolerations[0].operator", '"Equal"',
                'operator must be Exists when `key` is empty, which means "match all values and all keys"'),
        invalid("spec.tolerations[1].operator", '"b"', "value must be empty when `operator` is 'Exists'"),
        not_supported("spec.tolerations[2].operator", '"In"', "Equal", "Exists"),
        not_supported("spec.tolerations[2].effect", '"Never"', "NoSchedule", "PreferNoSchedule", "NoExecute"),
        invalid("spec.tolerations[3].effect", '""', "effect must be 'NoExecute' when `tolerationSeconds` is set"),
    ], together=True),
    _on_minimal("gates twice, and a node", {"spec.nodeName": "n", "spec.schedulingGates": [
        {"name": "a.io/x"}, {"name": "a.io/x"}]}, [
        duplicate("spec.schedulingGates[1]", '"a.io/x"'),
        forbidden("spec.nodeName", "cannot be set until all schedulingGates have been cleared"),
    ], together=True),
    _on_minimal("policies that do not exist, of the pod", {
        "spec.restartPolicy": "Often", "spec.dnsPolicy": "Host", "spec.preemptionPolicy": "Always"}, [
        not_supported("spec.restartPolicy", '"Often"', "Always", "OnFailure", "Never"),
        not_supported("spec.dnsPolicy", '"Host"', "ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"),
        not_supported("spec.preemptionPolicy", '"Always"', "PreemptLowerPriority", "Never"),
    ]),
    _on_minimal("its own names, but no servers", {"spec.dnsPolicy": "None"}, [
        needed("spec.dnsConfig", "must provide `dnsConfig` when `dnsPolicy` is None")], together=True),
    _on_minimal("too many servers, and one that is written as another", {"spec.dnsConfig": {
        "nameservers": ["1.1.1.1", "01.1.1.1", "::ffff:1.1.1.1", "x"], "searches": ["a..b"], "options": [{}]}}, [
        invalid("spec.dnsConfig.nameservers", '["1.1.1.1","01.1.1.1","::ffff:1.1.1.1","x"]',
                "must not have more than 3 nameservers"),
        invalid("spec.dnsConfig.nameservers[1]", '"01.1.1.1"', "must not have leading 0s"),
        invalid("spec.dnsConfig.nameservers[2]", '"::ffff:1.1.1.1"', "must not be an IPv4-mapped IPv6 address"),
        invalid("spec.dnsConfig.nameservers[3]", '"x"',
                "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"),
        invalid("spec.dnsConfig.searches[0]", '"a..b"', "a lowercase RFC 1123 subdomain must consist of lower case "
                "alphanumeric characters, '_', '-' or '.', and must start and end with an alphanumeric character (e.g. "
                "'example.com', regex used for validation is '_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?(\\._?[a-z0-9]("
                "[-_a-z0-9]*[a-z0-9])?)*')"),
        needed("spec.dnsConfig.options[0]", "must not be empty"),
    ]),
    _on_minimal("a name that is also the full one", {
        "spec.hostnameOverride": "h", "spec.setHostnameAsFQDN": True, "spec.hostNetwork": True}, [
        forbidden("spec.hostnameOverride", "may not be specified when setHostnameAsFQDN is true"),
        forbidden("spec.hostnameOverride", "may not be specified when hostNetwork is true"),
    ], together=True),
    _on_minimal("names that are none", {
        "spec.hostname": "a.b", "spec.nodeName": "N", "spec.runtimeClassName": "", "spec.priorityClassName": "P",
        "spec.hostAliases": [{"ip": "1.1.1.1", "hostnames": ["A"]}], "spec.activeDeadlineSeconds": 0}, [
        invalid("spec.nodeName", '"N"', SUBDOMAIN),
        invalid("spec.activeDeadlineSeconds", "0", "must be between 1 and 2147483647, inclusive"),
        invalid("spec.hostname", '"a.b"', "must not contain dots"),
        invalid("spec.hostAliases[0].hostnames[0]", '"A"', SUBDOMAIN),
        invalid("spec.priorityClassName", '"P"', SUBDOMAIN),
        invalid("spec.runtimeClassName", '""', SUBDOMAIN),
    ]),
    _on_minimal("less of all than of one", {
        "spec.resources": {"requests": {"cpu": "1", "ephemeral-storage": "1"}, "limits": {"memory": "1Gi"}},
        "spec.containers.0.resources": {"requests": {"cpu": "2"}, "limits": {"memory": "2Gi"}}}, [
        invalid("spec.resources.requests", '"2Gi"', "must be less than or equal to memory limit of 1Gi"),
        not_supported("spec.resources.requests[ephemeral-storage]", '"ephemeral-storage"', "cpu", "hugepages-",
                      "memory"),
        invalid("spec.resources.requests[cpu]", '"1"',
                "must be greater than or equal to aggregate container requests of 2"),
        invalid("spec.resources.containers[0][memory].limits", '"2Gi"',
                "must be less than or equal to pod limits of 1Gi"),
    ], together=True),
    _on_minimal("other ports on the host's network, and overhead of nothing", {
        "spec.hostNetwork": True, "spec.containers.0.ports": [{"containerPort": 80, "hostPort": 81}],
        "spec.overhead": {"x": "1"}}, [
        invalid(f"{_C}.ports[0].hostPort", "81", "must match `containerPort` when `hostNetwork` is true"),
        invalid("spec.overhead.limits[x]", '"x"', _NOT_STANDARD),
        invalid("spec.overhead.limits[x]", '"x"', "must be a standard resource for containers"),
    ], together=True),
]  # fmt: skip

INVALID = [*VOLUMES, *CONTAINERS, *SECURITY, *PLACEMENT]
