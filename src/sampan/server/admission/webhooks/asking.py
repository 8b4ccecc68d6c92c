"""Asks one webhook about one write: what comes is a verdict, a refusal, or a failure that its policy judges."""

from __future__ import annotations

import asyncio
import logging

from sampan.api.clock import Random, random_uuid
from sampan.api.errors import ApiError
from sampan.records import dataclass
from sampan.server.admission.matching import Asked
from sampan.server.admission.webhooks.hooks import Hook
from sampan.server.admission.webhooks.metrics import WebhookMetrics
from sampan.server.admission.webhooks.reviews import (
    Denied,
    InvalidAnswer,
    Undecodable,
    Verdict,
    question,
    unsupported_dry_run,
    verdict_of,
)
from sampan.server.admission.webhooks.subjects import Call, Shown, Subject, heavy_of, internal_error
from sampan.server.threads import is_heavy, paced
from sampan.server.webhooks.client import CallError, WebhookClient
from sampan.server.webhooks.targets import BadTarget
from sampan.server.write import Write

log = logging.getLogger(__name__)

_SIDE_EFFECT_FREE = frozenset({"None", "NoneOnDryRun"})


class Failed(Exception):
    """The webhook could not be asked, or its answer is none; the failure policy says what becomes of the write."""

    def __init__(self, hook: Hook, reason: str, code: int) -> None:
        super().__init__(f'failed calling webhook "{hook.name}": {reason}')
        self.code = code


@dataclass(slots=True)
class Asking:
    client: WebhookClient
    metrics: WebhookMetrics
    random: Random

    async def ask(self, call: Call, write: Write, asked: Asked, subject: Subject) -> Verdict:
        """An answer that allows; its warnings are the request's. Raises Denied, BadRequest, Failed, InternalError."""
        hook = call.hook
        if write.dry_run and hook.side_effects not in _SIDE_EFFECT_FREE:
            raise unsupported_dry_run(hook.name)
        if not hook.version:
            text = "webhook does not accept known AdmissionReview versions (v1, v1beta1)"
            raise Failed(hook, f"could not create admission objects: {text}", 400)
        if isinstance(hook.target, BadTarget):
            raise Failed(hook, f"could not get REST client: {hook.target}", 400)
        await subject.prepare(call.kind)
        shown = await subject.shown(call.kind)
        uid = random_uuid(self.random)
        body = await self._question(uid, call, write, asked, shown)
        try:
            answer = await self.client.post(hook.target, body, timeout_seconds=hook.timeout_seconds)
        except CallError as error:
            raise Failed(hook, f"failed to call webhook: {error}", error.code) from error
        mutating = hook.type == "admit"
        try:
            verdict = await paced(is_heavy(answer), verdict_of, answer, uid, hook.version, mutating=mutating)
        except Undecodable as error:
            raise Failed(hook, f"failed to call webhook: {error}", 503) from error
        except InvalidAnswer as error:
            raise Failed(hook, f"received invalid webhook response: {error}", 503) from error
        for key, value in verdict.annotations.items():
            write.request.annotate(f"{hook.name}/{key}", value)
        for warning in verdict.warnings:
            write.request.warn(warning)
        if not verdict.allowed:
            raise Denied(hook.name, verdict.status)
        return verdict

    async def _question(self, uid: str, call: Call, write: Write, asked: Asked, shown: Shown) -> bytes:
        heavy = heavy_of(write)
        encoded = await shown.encoded(heavy)
        return await paced(heavy, question, uid, call.hook.version, write, asked, call.kind, shown.gvk, encoded)


class Judging:
    """What becomes of a write that one webhook was asked about: metrics, failure policy. ``seconds``: loop time."""

    def __init__(self, asking: Asking) -> None:
        self._asking, self._metrics = asking, asking.metrics

    async def verdict(self, call: Call, write: Write, asked: Asked, subject: Subject) -> Verdict | None:
        """None: it failed, and lets pass what it cannot judge. Raises ApiError."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        hook, metrics = call.hook, self._metrics
        try:
            verdict = await self._asking.ask(call, write, asked, subject)
        except Failed as error:
            rejected = not hook.ignores_failures
            metrics.called(hook, write.operation, loop.time() - started, error.code, rejected=rejected)
            if not rejected:
                metrics.failed_open(hook)
                log.warning("failing open: %s", error)
                return None
            metrics.rejected(hook, write.operation, "calling_webhook_error", error.code)
            log.warning("failing closed: %s", error)
            raise internal_error(str(error)) from error
        except Denied as error:
            metrics.called(hook, write.operation, loop.time() - started, error.code, rejected=True)
            metrics.rejected(hook, write.operation, "no_error", error.code)
            raise
        except ApiError:
            metrics.called(hook, write.operation, loop.time() - started, 0, rejected=True)
            metrics.rejected(hook, write.operation, "apiserver_internal_error", 0)
            raise
        metrics.called(hook, write.operation, loop.time() - started, 200, rejected=False)
        return verdict
