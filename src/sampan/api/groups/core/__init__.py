"""The group ``core``: its versions, most preferred first, and the modules of its kinds."""

NAME = ""
VERSIONS = ("v1",)
MODULES = (
    "binding",
    "componentstatus",
    "configmap",
    "endpoints",
    "event",
    "limitrange",
    "namespace",
    "node",
    "persistentvolume",
    "persistentvolumeclaim",
    "pod",
    "podtemplate",
    "replicationcontroller",
    "resourcequota",
    "secret",
    "service",
    "serviceaccount",
)
