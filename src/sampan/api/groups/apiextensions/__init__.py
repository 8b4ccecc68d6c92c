"""The group ``apiextensions.k8s.io``: its versions, most preferred first, and the modules of its kinds."""

NAME = "apiextensions.k8s.io"
VERSIONS = ("v1",)
MODULES = ("customresourcedefinition",)
