"""ValidatingAdmissionPolicy and MutatingAdmissionPolicy: what a cluster's own expressions say of a write.

``compiled`` knows one policy with its bindings, ``following`` all that there are, ``matching`` which of them a write
concerns, ``params`` what they are parametrised with, ``seeing`` what their expressions see, ``judging`` evaluates them;
``validating`` and ``mutating`` are the plugins. What policies decide is said in ``sampan.api.expressions``.
"""

from __future__ import annotations

from sampan.server.admission.evaluating import Judging
from sampan.server.admission.policies.following import MUTATING, VALIDATING, Policies
from sampan.server.admission.policies.matching import Matching
from sampan.server.admission.policies.mutating import MutatingAdmissionPolicy
from sampan.server.admission.policies.params import Params
from sampan.server.admission.policies.validating import ValidatingAdmissionPolicy
from sampan.server.attributes import Authorizer
from sampan.server.reader import ObjectReader


def policy_plugins(
    reader: ObjectReader, authorizer: Authorizer
) -> tuple[MutatingAdmissionPolicy, ValidatingAdmissionPolicy]:
    """Both, in the order in which they run."""
    judging, params = Judging(authorizer), Params(reader)

    def of(kind: str) -> tuple[Policies, Matching, Params, Judging]:
        policies = Policies(reader, MUTATING if kind == "mutating" else VALIDATING)
        return policies, Matching(reader), params, judging

    return MutatingAdmissionPolicy(*of("mutating")), ValidatingAdmissionPolicy(*of("validating"))
