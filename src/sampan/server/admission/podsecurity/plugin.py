"""PodSecurity: refuses pods that their namespace's policy forbids, and warns of workloads whose pods would be.

The judgement is pure (``api/podsecurity``); this finds the policy and tells whoever has to hear. When a namespace's
labels become stricter, its running pods are looked at (``existing``), and the answer warns of them.
"""

from __future__ import annotations

from typing import Final

from sampan.api import errors
from sampan.api.podsecurity import standards, templates
from sampan.api.podsecurity.findings import Finding
from sampan.api.podsecurity.policies import PREFIX, Policy, Standard, policy_of
from sampan.api.reading import part, text, text_map
from sampan.api.resources import NAMESPACES
from sampan.api.types import Obj
from sampan.server.admission.base import Plugin, refuse
from sampan.server.admission.podsecurity.existing import ExistingPods
from sampan.server.admission.podsecurity.settings import PodSecuritySettings
from sampan.server.attributes import AdmissionAttributes
from sampan.server.reader import ObjectReader
from sampan.server.threads import paced

_PODS, _NAMESPACES = ("", "pods"), ("", "namespaces")
#: what of a pod cannot change what it may do
_HARMLESS: Final = frozenset({"exec", "attach", "binding", "eviction", "log", "portforward", "proxy", "status"})


class PodSecurity(Plugin):
    name = "PodSecurity"
    resources = frozenset({_PODS, _NAMESPACES, *templates.TEMPLATES})

    def __init__(self, reader: ObjectReader, settings: PodSecuritySettings | None = None) -> None:
        self._reader = reader
        self._settings = settings or PodSecuritySettings()
        self._existing = ExistingPods(reader, self._settings.exempt_runtime_classes)

    async def validate(self, attributes: AdmissionAttributes) -> None:
        if attributes.obj is None or attributes.operation not in ("CREATE", "UPDATE"):
            return
        resource = (attributes.kind.group, attributes.kind.plural)
        if resource == _NAMESPACES:
            await self._check_namespace(attributes, attributes.obj)
        elif attributes.subresource in _HARMLESS if resource == _PODS else attributes.subresource:
            return
        elif not self._is_exempt(attributes):
            await self._check_workload(attributes, attributes.obj, resource)

    # Namespaces

    async def _check_namespace(self, attributes: AdmissionAttributes, namespace: Obj) -> None:
        if attributes.subresource:
            return
        new, faults = self._policy(namespace)
        if attributes.operation == "CREATE" or attributes.old is None:
            if faults:
                raise errors.invalid_object("Namespace", _name(namespace), faults)
            return
        old, old_faults = self._policy(attributes.old)
        if faults and faults != old_faults:
            raise errors.invalid_object("Namespace", _name(namespace), faults)
        if new.enforce == old.enforce or new.enforce.level == "privileged":
            return
        if new.enforce.minor == old.enforce.minor and not new.enforce.is_stricter_than(old.enforce):
            return
        name = _name(namespace)
        if name in self._settings.exempt_namespaces:
            attributes.request.annotate(f"{PREFIX}exempt", "namespace")
            return
        for warning in await self._existing.warnings(name, new.enforce):
            attributes.request.warn(warning)

    def _policy(self, namespace: Obj) -> tuple[Policy, list[errors.FieldError]]:
        return policy_of(text_map(part(namespace, "metadata"), "labels"), self._settings.defaults)

    # Pods and what makes them

    def _is_exempt(self, attributes: AdmissionAttributes) -> bool:
        if attributes.namespace in self._settings.exempt_namespaces:
            attributes.request.annotate(f"{PREFIX}exempt", "namespace")
            return True
        if attributes.user.name in self._settings.exempt_users:
            attributes.request.annotate(f"{PREFIX}exempt", "user")
            return True
        return False

    async def _check_workload(self, attributes: AdmissionAttributes, obj: Obj, resource: tuple[str, str]) -> None:
        namespace = self._reader.get(NAMESPACES, None, attributes.namespace)
        if namespace is None:
            namespace = await self._reader.fresh(NAMESPACES, None, attributes.namespace)
        if namespace is None:
            raise errors.InternalError(f'failed to lookup namespace "{attributes.namespace}"')
        policy, faults = self._policy(namespace)
        if policy.asks_nothing and not faults:
            return
        is_pod = resource == _PODS
        pod = obj if is_pod else templates.template_of(resource, obj)
        if pod is None:
            return
        if is_pod and attributes.operation == "UPDATE" and not templates.is_significant(obj, attributes.old or {}):
            return
        spec = part(pod, "spec")
        if text(spec, "runtimeClassName") in self._settings.exempt_runtime_classes:
            attributes.request.annotate(f"{PREFIX}exempt", "runtimeClass")
            return
        if faults:
            told = ", ".join(fault.message() for fault in faults)
            attributes.request.annotate(f"{PREFIX}error", f"Failed to parse policy: {told}")
        await self._judge(attributes, policy, part(pod, "metadata"), spec, enforce=is_pod)

    async def _judge(
        self, attributes: AdmissionAttributes, policy: Policy, metadata: Obj, spec: Obj, *, enforce: bool
    ) -> None:
        """Raises Forbidden."""
        request, known = attributes.request, dict[Standard, list[Finding]]()

        async def judged(standard: Standard) -> list[Finding]:
            if standard not in known:
                known[standard] = await paced(request.heavy, standards.judge, standard, metadata, spec)
            return known[standard]

        if enforce:
            request.annotate(f"{PREFIX}enforce-policy", str(policy.enforce))
        if found := await judged(policy.audit):
            told = f'would violate PodSecurity "{policy.audit}": {standards.describe(found)}'
            request.annotate(f"{PREFIX}audit-violations", told)
        if enforce and (found := await judged(policy.enforce)):
            raise refuse(attributes, f'violates PodSecurity "{policy.enforce}": {standards.describe(found)}')
        if found := await judged(policy.warn):
            request.warn(f'would violate PodSecurity "{policy.warn}": {standards.describe(found)}')


def _name(namespace: Obj) -> str:
    return text(part(namespace, "metadata"), "name")
