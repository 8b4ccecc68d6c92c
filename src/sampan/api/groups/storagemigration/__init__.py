"""The group ``storagemigration.k8s.io``: its versions, most preferred first, and the modules of its kinds."""

NAME = "storagemigration.k8s.io"
VERSIONS = ("v1",)
MODULES = ("storageversionmigration",)
