"""Puts together what acts on webhooks, for the first write that concerns one."""

from __future__ import annotations

from sampan.api.clock import Random
from sampan.server.admission import evaluating
from sampan.server.admission.webhooks.asking import Asking, Judging
from sampan.server.admission.webhooks.conditions import Conditions
from sampan.server.admission.webhooks.deciding import Deciding
from sampan.server.admission.webhooks.metrics import WebhookMetrics
from sampan.server.admission.webhooks.mutating import MutatingWebhooks
from sampan.server.admission.webhooks.validating import ValidatingWebhooks
from sampan.server.attributes import Authorizer
from sampan.server.reader import ObjectReader
from sampan.server.webhooks.client import WebhookClient


def mutating(
    reader: ObjectReader, client: WebhookClient, authorizer: Authorizer, random: Random, counted: WebhookMetrics
) -> MutatingWebhooks:
    return MutatingWebhooks(*_parts(reader, client, authorizer, random, counted))


def validating(
    reader: ObjectReader, client: WebhookClient, authorizer: Authorizer, random: Random, counted: WebhookMetrics
) -> ValidatingWebhooks:
    return ValidatingWebhooks(*_parts(reader, client, authorizer, random, counted))


def _parts(
    reader: ObjectReader, client: WebhookClient, authorizer: Authorizer, random: Random, counted: WebhookMetrics
) -> tuple[Deciding, Judging]:
    conditions = Conditions(evaluating.Judging(authorizer), counted)
    return Deciding(reader, conditions), Judging(Asking(client, counted, random))
