"""The group ``autoscaling``: its versions, most preferred first, and the modules of its kinds."""

NAME = "autoscaling"
VERSIONS = ("v2", "v1")
MODULES = ("horizontalpodautoscaler",)
