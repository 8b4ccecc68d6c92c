"""MutatingAdmissionWebhook and ValidatingAdmissionWebhook: what somebody else's server says of a write.

``configurations`` knows which webhooks there are, ``deciding`` which of them a write concerns, ``subjects`` how the
write looks to them, ``reviews`` what is asked and answered; ``mutating`` and ``validating`` are the plugins.
"""

from __future__ import annotations

from sampan.api.clock import Random
from sampan.api.resources import Resource
from sampan.server.admission import evaluating
from sampan.server.admission.matching import GROUP
from sampan.server.admission.webhooks.asking import Asking, Judging
from sampan.server.admission.webhooks.conditions import Conditions
from sampan.server.admission.webhooks.configurations import Webhooks
from sampan.server.admission.webhooks.deciding import Deciding
from sampan.server.admission.webhooks.hooks import HookType
from sampan.server.admission.webhooks.metrics import WebhookMetrics
from sampan.server.admission.webhooks.mutating import MutatingAdmissionWebhook
from sampan.server.admission.webhooks.validating import ValidatingAdmissionWebhook
from sampan.server.attributes import Authorizer
from sampan.server.metrics import Metrics
from sampan.server.reader import ObjectReader
from sampan.server.webhooks.client import WebhookClient

MUTATING = Resource(GROUP, "v1", "mutatingwebhookconfigurations", "MutatingWebhookConfiguration", False)
VALIDATING = Resource(GROUP, "v1", "validatingwebhookconfigurations", "ValidatingWebhookConfiguration", False)


def webhook_plugins(
    reader: ObjectReader, client: WebhookClient, authorizer: Authorizer, random: Random, metrics: Metrics
) -> tuple[MutatingAdmissionWebhook, ValidatingAdmissionWebhook]:
    """Both, in their order; what they do is counted in ``metrics``."""
    counted = WebhookMetrics()
    metrics.include(counted.copy)
    conditions = Conditions(evaluating.Judging(authorizer), counted)
    judging = Judging(Asking(client, counted, random))

    def parts(resource: Resource, kind: HookType) -> tuple[Webhooks, Deciding, Judging]:
        webhooks = Webhooks(reader, resource, kind)
        return webhooks, Deciding(reader, conditions), judging

    return MutatingAdmissionWebhook(*parts(MUTATING, "admit")), ValidatingAdmissionWebhook(
        *parts(VALIDATING, "validating")
    )
