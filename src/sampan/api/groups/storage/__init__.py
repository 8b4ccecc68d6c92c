"""The group ``storage.k8s.io``: its versions, most preferred first, and the modules of its kinds."""

NAME = "storage.k8s.io"
VERSIONS = ("v1",)
MODULES = (
    "csidriver",
    "csinode",
    "csistoragecapacity",
    "storageclass",
    "volumeattachment",
    "volumeattributesclass",
)
