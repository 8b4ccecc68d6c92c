"""The group ``coordination.k8s.io``: its versions, most preferred first, and the modules of its kinds."""

NAME = "coordination.k8s.io"
VERSIONS = ("v1", "v1beta1")
MODULES = (
    "lease",
    "leasecandidate",
)
