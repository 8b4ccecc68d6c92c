"""Warns in the status of ValidatingAdmissionPolicies of what their expressions get wrong (upstream:
``validatingadmissionpolicystatus``)."""
