"""The group ``authentication.k8s.io``: its versions, most preferred first, and the modules of its kinds."""

NAME = "authentication.k8s.io"
VERSIONS = ("v1",)
MODULES = (
    "selfsubjectreview",
    "tokenreview",
)
