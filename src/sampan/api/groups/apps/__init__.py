"""The group ``apps``: its versions, most preferred first, and the modules of its kinds."""

NAME = "apps"
VERSIONS = ("v1",)
MODULES = (
    "controllerrevision",
    "daemonset",
    "deployment",
    "replicaset",
    "statefulset",
)
