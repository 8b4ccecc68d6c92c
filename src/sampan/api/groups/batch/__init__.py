"""The group ``batch``: its versions, most preferred first, and the modules of its kinds."""

NAME = "batch"
VERSIONS = ("v1",)
MODULES = (
    "cronjob",
    "job",
)
