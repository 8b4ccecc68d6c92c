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
