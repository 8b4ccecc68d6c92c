"""The group ``admissionregistration.k8s.io``: its versions, most preferred first, and the modules of its kinds."""

NAME = "admissionregistration.k8s.io"
VERSIONS = ("v1",)
MODULES = (
    "mutatingadmissionpolicy",
    "mutatingadmissionpolicybinding",
    "mutatingwebhookconfiguration",
    "validatingadmissionpolicy",
    "validatingadmissionpolicybinding",
    "validatingwebhookconfiguration",
)
