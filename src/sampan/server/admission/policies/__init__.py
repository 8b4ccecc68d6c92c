"""ValidatingAdmissionPolicy and MutatingAdmissionPolicy: what a cluster's own expressions say of a write.

``compiled`` knows one policy with its bindings, ``following`` all that there are, ``matching`` which of them a write
concerns, ``params`` what they are parametrised with, ``seeing`` what their expressions see; ``validating`` and
``mutating`` act. What policies decide is said in ``sampan.api.expressions``.
"""

from __future__ import annotations

from sampan.server.admission.hooked import Acting, Mutating, Validating
from sampan.server.admission.policies.compiled import Hook
from sampan.server.admission.policies.following import MUTATING, VALIDATING, Policies, is_exempt
from sampan.server.attributes import Authorizer
from sampan.server.reader import ObjectReader


def policy_plugins(reader: ObjectReader, authorizer: Authorizer) -> tuple[Mutating[Hook], Validating[Hook]]:
    """Both, in the order in which they run."""
    mutating, validating = Policies(reader, MUTATING), Policies(reader, VALIDATING)

    def mutate() -> Acting[Hook]:
        from sampan.server.admission.policies.mutating import mutating_policies  # late: most clusters have no policy

        return mutating_policies(mutating, reader, authorizer)

    def validate() -> Acting[Hook]:
        from sampan.server.admission.policies.validating import validating_policies  # late, for the same reason

        return validating_policies(validating, reader, authorizer)

    return Mutating("MutatingAdmissionPolicy", mutating, is_exempt, mutate), Validating(
        "ValidatingAdmissionPolicy", validating, is_exempt, validate
    )
