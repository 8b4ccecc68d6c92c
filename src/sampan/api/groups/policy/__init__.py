"""The group ``policy``: its versions, most preferred first, and the modules of its kinds."""

NAME = "policy"
VERSIONS = ("v1",)
MODULES = ("poddisruptionbudget",)
