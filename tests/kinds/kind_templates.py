"""A pod template, and what the server makes of it: for the tables of kinds that have one."""

from __future__ import annotations

from kind_harness import Obj

CONTAINER: Obj = {"name": "c", "image": "nginx:1"}
STORED_CONTAINER: Obj = {
    **CONTAINER,
    "imagePullPolicy": "IfNotPresent",
    "resources": {},
    "terminationMessagePath": "/dev/termination-log",
    "terminationMessagePolicy": "File",
}


#: what is said of a label of nodes that has another name now, and of a name that makes odd hostnames
OLD_LABEL = 'deprecated since v1.14; use "kubernetes.io/os" instead'
DOTTED_NAME = (
    "metadata.name: this is used in Pod names and hostnames, which can result in surprising behavior; a DNS label is "
    "recommended: [must not contain dots]"
)


def template(labels: dict[str, str] | None = None, **spec: object) -> Obj:
    made: Obj = {"metadata": {"labels": labels}} if labels else {}
    return {**made, "spec": {"containers": [CONTAINER], **spec}}


def stored(labels: dict[str, str] | None = None, **spec: object) -> Obj:
    return {
        "metadata": {"labels": labels} if labels else {},
        "spec": {
            "containers": [STORED_CONTAINER],
            "restartPolicy": "Always",
            "terminationGracePeriodSeconds": 30,
            "dnsPolicy": "ClusterFirst",
            "securityContext": {},
            "schedulerName": "default-scheduler",
            **spec,
        },
    }
