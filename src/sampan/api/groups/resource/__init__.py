"""The group ``resource.k8s.io``: its versions, most preferred first, and the modules of its kinds."""

NAME = "resource.k8s.io"
VERSIONS = ("v1", "v1alpha3")
MODULES = (
    "deviceclass",
    "devicetaintrule",
    "resourceclaim",
    "resourceclaimtemplate",
    "resourcepoolstatusrequest",
    "resourceslice",
)
