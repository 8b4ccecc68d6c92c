"""The group ``flowcontrol.apiserver.k8s.io``: its versions, most preferred first, and the modules of its kinds."""

NAME = "flowcontrol.apiserver.k8s.io"
VERSIONS = ("v1",)
MODULES = (
    "flowschema",
    "prioritylevelconfiguration",
)
