"""The group ``internal.apiserver.k8s.io``: its versions, most preferred first, and the modules of its kinds."""

NAME = "internal.apiserver.k8s.io"
VERSIONS = ("v1alpha1",)
MODULES = ("storageversion",)
