"""The group ``apiregistration.k8s.io``: its versions, most preferred first, and the modules of its kinds."""

NAME = "apiregistration.k8s.io"
VERSIONS = ("v1",)
MODULES = ("apiservice",)
