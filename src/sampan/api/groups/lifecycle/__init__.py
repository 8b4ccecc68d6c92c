"""The group ``lifecycle.k8s.io``: its versions, most preferred first, and the modules of its kinds."""

NAME = "lifecycle.k8s.io"
VERSIONS = ("v1alpha1",)
MODULES = (
    "eviction",
    "evictionrequest",
)
