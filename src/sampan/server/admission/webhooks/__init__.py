"""MutatingAdmissionWebhook and ValidatingAdmissionWebhook: what somebody else's server says of a write.

``configurations`` knows which webhooks there are, ``deciding`` which of them a write concerns, ``subjects`` how the
write looks to them, ``reviews`` what is asked and answered; ``mutating`` and ``validating`` act.
"""

from __future__ import annotations

from sampan.api.clock import Random
from sampan.api.resources import Resource
from sampan.server.admission.hooked import Acting, Mutating, Validating
from sampan.server.admission.matching import GROUP, is_exempt
from sampan.server.admission.webhooks.configurations import Webhooks
from sampan.server.admission.webhooks.hooks import Hook
from sampan.server.admission.webhooks.metrics import WebhookMetrics
from sampan.server.attributes import Authorizer
from sampan.server.metrics import Metrics
from sampan.server.reader import ObjectReader
from sampan.server.webhooks.client import WebhookClient

MUTATING = Resource(GROUP, "v1", "mutatingwebhookconfigurations", "MutatingWebhookConfiguration", False)
VALIDATING = Resource(GROUP, "v1", "validatingwebhookconfigurations", "ValidatingWebhookConfiguration", False)


def webhook_plugins(
    reader: ObjectReader, client: WebhookClient, authorizer: Authorizer, random: Random, metrics: Metrics
) -> tuple[Mutating[Hook], Validating[Hook]]:
    """Both, in their order; what they do is counted in ``metrics``."""
    counted = WebhookMetrics()
    metrics.include(counted.copy)

    def mutate() -> Acting[Hook]:
        from sampan.server.admission.webhooks.acting import mutating  # late: many clusters have no webhook

        return mutating(reader, client, authorizer, random, counted)

    def validate() -> Acting[Hook]:
        from sampan.server.admission.webhooks.acting import validating  # late, for the same reason

        return validating(reader, client, authorizer, random, counted)

    return Mutating("MutatingAdmissionWebhook", Webhooks(reader, MUTATING, "admit"), is_exempt, mutate), Validating(
        "ValidatingAdmissionWebhook", Webhooks(reader, VALIDATING, "validating"), is_exempt, validate
    )
