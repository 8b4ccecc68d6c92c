"""The chain of admission plugins: which there are, in which order, and how a write passes them.

``default_plugins`` builds upstream's order; ``AdmissionChain`` is what the REST core calls: ``admit`` before
validation, ``validate`` after it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from sampan.api import errors
from sampan.api.clock import Random, SystemClock
from sampan.api.kind import Kind
from sampan.api.registry import Registry, registry
from sampan.server.admission import names
from sampan.server.admission.base import Plugin
from sampan.server.admission.certificates import (
    CertificateApproval,
    CertificateSigning,
    CertificateSubjectRestriction,
    ClusterTrustBundleAttest,
)
from sampan.server.admission.configuration import AdmissionSettings
from sampan.server.admission.escalation import RbacEscalationCheck
from sampan.server.admission.honesty import Honesty
from sampan.server.admission.limit_ranger import LimitRanger
from sampan.server.admission.namespace_lifecycle import NamespaceLifecycle
from sampan.server.admission.node_restriction import NodeRestriction
from sampan.server.admission.optional.blanket import AlwaysAdmit, AlwaysDeny
from sampan.server.admission.optional.events import EventRateLimit
from sampan.server.admission.optional.images import AlwaysPullImages
from sampan.server.admission.optional.namespaces import MakeNamespace, NamespaceAutoProvision, NamespaceExists
from sampan.server.admission.optional.owners import OwnerReferencesPermissionEnforcement
from sampan.server.admission.optional.placing import LimitPodHardAntiAffinityTopology, PodNodeSelector
from sampan.server.admission.optional.tolerating import ExtendedResourceToleration, PodTolerationRestriction
from sampan.server.admission.pod_defaults import DefaultTolerationSeconds, TaintNodesByCondition
from sampan.server.admission.podsecurity.plugin import PodSecurity
from sampan.server.admission.policies import policy_plugins
from sampan.server.admission.priority import Priority
from sampan.server.admission.quota.ledger import Ledger
from sampan.server.admission.quota.plugin import ResourceQuota
from sampan.server.admission.quota.quotas import NoQuotas
from sampan.server.admission.runtime_class import RuntimeClass
from sampan.server.admission.service_account import ServiceAccount
from sampan.server.admission.services import DenyServiceExternalIPs
from sampan.server.admission.storage import (
    DefaultIngressClass,
    DefaultStorageClass,
    PersistentVolumeClaimResize,
    StorageObjectInUseProtection,
)
from sampan.server.admission.topology import PodTopologyLabels
from sampan.server.attributes import AdmissionAttributes, AdmissionPlugin, Authorizer
from sampan.server.authz.rbac import RbacAuthorizer
from sampan.server.reader import ObjectReader

#: plugins, each with what tells that it has nothing to do at the moment
_Plugins = tuple[tuple[AdmissionPlugin, Callable[[], bool] | None], ...]


class AdmissionChain:
    def __init__(self, plugins: Sequence[AdmissionPlugin]) -> None:
        self._plugins = tuple(plugins)
        #: who has a say in a resource: the mutating and the validating ones
        self._by_resource: dict[tuple[str, str], tuple[_Plugins, _Plugins]] = {}
        self._taking = tuple(plugin for plugin in self._plugins if _overrides(plugin, "takes"))

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(plugin.name for plugin in self._plugins)

    async def admit(self, attributes: AdmissionAttributes) -> None:
        """Mutating pass: may change ``attributes.obj``. Raises the first refusal.

        When somebody outside has changed the object, all look at it once more: the server's own plugins at all of it,
        webhooks and policies if they asked for that.
        """
        plugins = self._of(attributes.kind)[0]
        for plugin, idle in plugins:
            if idle is None or not idle():
                await plugin.admit(attributes)
        if attributes.reinvocation is not None and attributes.reinvocation.wanted:
            attributes.reinvocation.again = True
            for plugin, _ in plugins:
                await plugin.admit(attributes)

    async def validate(self, attributes: AdmissionAttributes) -> None:
        """Validating pass. Raises the first refusal."""
        for plugin, idle in self._of(attributes.kind)[1]:
            if idle is None or not idle():
                await plugin.validate(attributes)

    def takes(self, kind: Kind, namespace: str) -> bool:
        """Whether something is taken for a write there, so that its end has to be told (``Write.settle``)."""
        for plugin in self._taking:  # noqa: SIM110 (a generator takes twice as long)
            if plugin.takes(kind, namespace):
                return True
        return False

    def _of(self, kind: Kind) -> tuple[_Plugins, _Plugins]:
        """Most plugins have one half only, and a say in a few resources. Asking each in vain, twice, would be a good
        part of what a write costs."""
        resource = (kind.group, kind.plural)
        found = self._by_resource.get(resource)
        if found is None:
            asked = [plugin for plugin in self._plugins if _has_a_say(plugin, resource)]
            found = _halves(asked, "admit"), _halves(asked, "validate")
            self._by_resource[resource] = found
        return found


def _has_a_say(plugin: AdmissionPlugin, resource: tuple[str, str]) -> bool:
    resources = getattr(plugin, "resources", None)
    return resources is None or resource in resources


def _halves(plugins: Sequence[AdmissionPlugin], method: str) -> _Plugins:
    return tuple((plugin, getattr(plugin, "idle", None)) for plugin in plugins if _overrides(plugin, method))


def _overrides(plugin: AdmissionPlugin, method: str) -> bool:
    return getattr(type(plugin), method) is not getattr(Plugin, method)


async def _no_namespace(name: str) -> None:
    raise errors.not_found("namespaces", name)


def default_plugins(
    reader: ObjectReader,
    authorizer: Authorizer,
    random: Random,
    webhooks: Sequence[AdmissionPlugin] = (),
    settings: AdmissionSettings | None = None,
    make_namespace: MakeNamespace = _no_namespace,
) -> list[AdmissionPlugin]:
    """Every plugin that can be switched but ResourceQuota, in the order they run; ``webhooks``: the mutating and the
    validating one."""
    settings = settings or AdmissionSettings()
    mutating, validating = policy_plugins(reader, authorizer)
    return [
        AlwaysAdmit(),
        NamespaceAutoProvision(reader, make_namespace),
        NamespaceLifecycle(reader),
        NamespaceExists(reader),
        LimitPodHardAntiAffinityTopology(),
        LimitRanger(reader),
        ServiceAccount(reader, random),
        NodeRestriction(reader, authorizer),
        TaintNodesByCondition(),
        AlwaysPullImages(),
        PodSecurity(reader, settings.pod_security),
        PodNodeSelector(reader, settings.node_selectors),
        Priority(reader),
        DefaultTolerationSeconds(),
        PodTolerationRestriction(reader, settings.tolerations),
        EventRateLimit(settings.event_rates),
        ExtendedResourceToleration(),
        DefaultStorageClass(reader),
        StorageObjectInUseProtection(),
        OwnerReferencesPermissionEnforcement(authorizer),
        PersistentVolumeClaimResize(reader),
        RuntimeClass(reader),
        CertificateApproval(authorizer),
        CertificateSigning(authorizer),
        ClusterTrustBundleAttest(authorizer),
        CertificateSubjectRestriction(),
        DefaultIngressClass(reader),
        PodTopologyLabels(reader),
        DenyServiceExternalIPs(),
        mutating,
        *webhooks[:1],
        validating,
        *webhooks[1:],
        AlwaysDeny(),
    ]


def build_chain(
    reader: ObjectReader,
    authorizer: Authorizer,
    rbac: RbacAuthorizer,
    random: Random,
    *,
    enable: Collection[str] = (),
    disable: Collection[str] = (),
    webhooks: Sequence[AdmissionPlugin] = (),
    settings: AdmissionSettings | None = None,
    make_namespace: MakeNamespace = _no_namespace,
    ledger: Ledger | None = None,
    kinds: Registry | None = None,
) -> AdmissionChain:
    """The plugins of ``names``, those that are on by default with ``enable`` and without ``disable``.

    The escalation check is policy, not a plugin, and stays; so does honesty. What a write takes of a quota comes last:
    nobody refuses after it. Raises ValueError for a name that is none.
    """
    names.check(enable, disable)
    plugins = default_plugins(reader, authorizer, random, webhooks, settings, make_namespace)
    chosen = [plugin for plugin in plugins if names.is_on(plugin.name, enable, disable)]
    quota = ResourceQuota(ledger or Ledger(NoQuotas(), SystemClock()))
    last = [quota] if names.is_on(quota.name, enable, disable) else []
    return AdmissionChain([*chosen, Honesty(kinds or registry()), RbacEscalationCheck(rbac, authorizer), *last])
