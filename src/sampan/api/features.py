"""Feature gates of v1.37 (``--feature-gates``): their stages, defaults and dependencies, and which are on. Pure.

The table is v1.36's with what is known of v1.37. Words of refusals are upstream's (component-base/featuregate). What a
gate does is said where it is asked: fields in ``gates``, kinds in ``enablement``; any other is known, and changes
nothing (``enablement.acting`` tells them apart).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from types import MappingProxyType
from typing import Final

from sampan.api.go_bool import parse_bool
from sampan.records import dataclass

_TABLE: Final = """
alpha off:
APIServingWithRoutine AtomicWriteVolumeUserFields CBORServingAndStorage ClientsAllowCBOR ClientsPreferCBOR
CloudControllerManagerWatchBasedRoutesReconciliation CloudControllerManagerWebhook CompositePodGroup
ContainerStopSignals ControllerManagerReleaseLeaderElectionLockOnExit CPUManagerPolicyAlphaOptions CRIListStreaming
CrossNamespaceVolumeDataSource CSIVolumeHealth DefaultPodSysctls DRADerivedAttributes DRADeviceCompatibilityGroups
DRAListTypeAttributes DRANodeAllocatableResources DRAOptionalNodeOperations DRAResourcePoolStatus EmptyDirVolumeMode
EventedPLEG EvictionRequestAPI GRPCContainerProbeTLS H2CContainerProbe ImageVolumeWithDigest
InPlacePodVerticalScalingExclusiveCPUs InPlacePodVerticalScalingExclusiveMemory
InPlacePodVerticalScalingSchedulerPreemption InterPodAffinityHostnameFastPath KubeletInUserNamespace
KubeProxyNFTablesLocalhostNodePorts ManifestBasedAdmissionControlConfig MutablePVNodeAffinity
NodeLifecycleConditions PersistentVolumeClaimUnusedSinceTime PodAndContainerStatsFromCRI PodGroupPreemptionPolicy
PodLevelResourceManagers PodLogsQuerySplitStreams PodsAPI QOSReserved ReduceDefaultCrashLoopBackOffDecay
RuntimeClassInImageCriApi SchedulerPreQueueingHints ShardedListAndWatch StorageVersionAPI
TaintTolerationComparisonOperators TopologyAwareWorkloadScheduling TopologyManagerPolicyAlphaOptions
UserNamespacesHostNetworkSupport VolumeBindMountOptions WindowsCPUAndMemoryAffinity WorkloadWithJob
beta on:
AllowParsingUserUIDFromCertAuth AllowUnsafeMalformedObjectDeletion APIResponseCompression APIServerIdentity
AtomicFIFO AuthorizePodWebsocketUpgradeCreatePermission ClearingNominatedNodeNameAfterBinding ClientsAllowCARotation
ClientsAllowTLSCacheGC ComponentFlagz ComponentStatusz ConstrainedImpersonation ContainerCheckpoint
ContainerRestartRules CPUManagerPolicyBetaOptions CRDObservedGenerationTracking DeclarativeValidationBeta
DeploymentReplicaSetTerminatingReplicas DetectCacheInconsistency DRAConsumableCapacity DRADeviceBindingConditions
DRAFractionalCapacityRange DRAPartitionableDevices DRAResourceClaimGranularStatusAuthorization
DRASchedulerFilterTimeout EnvFiles ExtendWebSocketsToKubelet GracefulNodeShutdown
GracefulNodeShutdownBasedOnPodPriority HPAScaleToZero HugepageAwareEviction InOrderInformersBatchProcess
InPlacePodLevelResourcesVerticalScaling KubeletCrashLoopBackOffMax KubeletEnsureSecretPulledImages
KubeletSeparateDiskGC KubeletServiceAccountTokenForCredentialProviders ListFromCacheSnapshot
MatchLabelKeysInPodTopologySpread MatchLabelKeysInPodTopologySpreadSelectorMerge MaxUnavailableStatefulSet MemoryQoS
MutablePodResourcesForSuspendedJobs MutableSchedulingDirectivesForSuspendedJobs NominatedNodeNameForExpectation
OpenAPIEnums OpportunisticBatching PodDeletionCost PodLevelResources PodTopologyLabelsAdmission
PortForwardWebsockets ReloadKubeletClientCAFile ReloadKubeletServerCertificateFile RemoteRequestHeaderUID
ResourceHealthStatus ResourceHealthStatusMessage RestartAllContainersOnContainerExits RotateKubeletServerCertificate
SchedulerAsyncPreemption SchedulerPopFromBackoffQ ServiceAccountNodeAudienceRestriction SizeBasedListCostEstimate
StaleControllerConsistencyDaemonSet StaleControllerConsistencyJob StaleControllerConsistencyReplicaSet
StaleControllerConsistencyStatefulSet StorageCapacityScoring StorageVersionHash StrictIPCIDRValidation
StructuredAuthenticationConfigurationEgressSelector StructuredAuthenticationConfigurationJWKSMetrics
TokenRequestServiceAccountUIDValidation TopologyManagerPolicyBetaOptions TranslateStreamCloseWebsocketRequests
UnauthenticatedHTTP2DOSMitigation UnknownVersionInteroperabilityProxy UnlockWhileProcessingFIFO VolumeLimitScaling
WatchListClient WindowsGracefulNodeShutdown
beta off:
ConcurrentWatchObjectDecode CoordinatedLeaderElection DRAWorkloadResourceClaims GenericWorkload
LocalStorageCapacityIsolationFSQuotaMonitoring SchedulerAsyncAPICalls
ga on:
AllowServiceExternalIPs ClusterTrustBundle ClusterTrustBundleProjection DRADeviceTaintRules DRADeviceTaints
InformerResourceVersion MutatingAdmissionPolicy PodCertificateRequest SELinuxMount StorageVersionMigrator
ga on locked:
CPUManagerPolicyOptions CRDValidationRatcheting CSIServiceAccountTokenSecrets CustomResourceFieldSelectors
DeclarativeValidation DisableAllocatorDualWrite DisableCPUQuotaWithExclusiveCPUs DRAAdminAccess DRAExtendedResource
DRAPrioritizedList DRAResourceClaimDeviceStatus DynamicResourceAllocation ExecProbeTimeout
ExternalServiceAccountTokenSigner HostnameOverride HPAConfigurableTolerance ImageMaximumGCAge ImageVolume
InOrderInformers InPlacePodVerticalScaling InPlacePodVerticalScalingInitContainers JobManagedBy
KubeletCgroupDriverFromCRI KubeletFineGrainedAuthz KubeletPodResourcesDynamicResources KubeletPodResourcesGet
KubeletPSI KubeletTracing MatchLabelKeysInPodAffinity MultiCIDRServiceAllocator MutableCSINodeAllocatableCount
NFTablesProxyMode NodeDeclaredFeatures NodeInclusionPolicyInPodTopologySpread NodeLogQuery NodeSwap
PLEGOnDemandRelist PodObservedGenerationTracking PodReadyToStartContainersCondition PodSchedulingReadiness
PreferSameTrafficDistribution ProcMountType RecoverVolumeExpansionFailure RecursiveReadOnlyMounts
RelaxedEnvironmentVariableValidation RelaxedServiceNameValidation SELinuxChangePolicy SELinuxMountReadWriteOncePod
SeparateTaintEvictionController ServiceAccountTokenJTI ServiceAccountTokenNodeBinding
ServiceAccountTokenNodeBindingValidation ServiceAccountTokenPodNodeInfo SupplementalGroupsPolicy SystemdWatchdog
TopologyManagerPolicyOptions UserNamespacesSupport VolumeAttributesClass WatchCacheInitializationPostStartHook
WinDSR WinOverlay
deprecated on:
KubeletPodResourcesListUseActivePods ServiceCIDRStatusFieldWiping StorageNamespaceIndex
deprecated off:
AllowDNSOnlyNodeCSR AllowInsecureKubeletCertificateSigningRequests ChangeContainerStatusOnKubeletRestart KMSv1
KubeletRegistrationGetOnExistsOnly WindowsHostNetwork
deprecated on locked:
AggregatedDiscoveryRemoveBetaType DisableNodeKubeProxyVersion
deprecated off locked:
AllowOverwriteTerminationGracePeriodSeconds DeclarativeValidationTakeover GitRepoVolumeDriver SeparateCacheWatchRPC
"""
#: of a gate: those without which it may not be on
_REQUIRES: Final = """
ClusterTrustBundleProjection: ClusterTrustBundle
CompositePodGroup: GenericWorkload TopologyAwareWorkloadScheduling
DRADeviceTaintRules: DRADeviceTaints
DRAWorkloadResourceClaims: GenericWorkload
GracefulNodeShutdownBasedOnPodPriority: GracefulNodeShutdown
InPlacePodLevelResourcesVerticalScaling: PodLevelResources
MatchLabelKeysInPodTopologySpreadSelectorMerge: MatchLabelKeysInPodTopologySpread
PodLevelResourceManagers: PodLevelResources
ResourceHealthStatusMessage: ResourceHealthStatus
RestartAllContainersOnContainerExits: ContainerRestartRules
StaleControllerConsistencyDaemonSet: AtomicFIFO
StaleControllerConsistencyJob: AtomicFIFO
StaleControllerConsistencyReplicaSet: AtomicFIFO
StaleControllerConsistencyStatefulSet: AtomicFIFO
StorageVersionAPI: APIServerIdentity
TopologyAwareWorkloadScheduling: GenericWorkload
UnknownVersionInteroperabilityProxy: APIServerIdentity
WindowsGracefulNodeShutdown: GracefulNodeShutdown
WorkloadWithJob: GenericWorkload
"""

ALL_ALPHA: Final = "AllAlpha"
ALL_BETA: Final = "AllBeta"
_STAGES: Final = {"alpha": "ALPHA", "beta": "BETA", "ga": "", "deprecated": "DEPRECATED"}


@dataclass(frozen=True, slots=True)
class Gate:
    """``stage`` as upstream's metric says it; of a locked gate the default is all there is."""

    name: str
    stage: str
    default: bool
    locked: bool


@cache
def gates() -> Mapping[str, Gate]:
    """Every gate by its name."""
    found = {ALL_ALPHA: Gate(ALL_ALPHA, "ALPHA", False, False), ALL_BETA: Gate(ALL_BETA, "BETA", False, False)}
    stage, default, locked = "", False, False
    for line in _TABLE.strip().splitlines():
        if line.endswith(":"):
            word, state, *more = line[:-1].split()
            stage, default, locked = _STAGES[word], state == "on", bool(more)
        else:
            found.update((name, Gate(name, stage, default, locked)) for name in line.split())
    return MappingProxyType(found)


@cache
def _requirements() -> Mapping[str, tuple[str, ...]]:
    lines = (line.partition(":") for line in _REQUIRES.strip().splitlines())
    return MappingProxyType({name: tuple(needed.split()) for name, _, needed in lines})


class Features:
    """Which gates are on. ``given``: what somebody set, by name; the rest follows from stages and defaults."""

    def __init__(self, given: Mapping[str, bool]) -> None:
        """Raises ValueError: a gate that there is not, that is locked, or that lacks another."""
        self.given = dict(given)
        known = gates()
        unknown = [name for name in given if name not in known]
        if unknown:
            raise ValueError(f"unrecognized feature gate: {unknown[0]}")
        faults = [
            f"cannot set feature gate {name} to {_word(value)}, feature is locked to {_word(known[name].default)}"
            for name, value in given.items()
            if known[name].locked and known[name].default != value
        ]
        if not faults:
            faults = list(self._lacking())
        if faults:
            raise ValueError(faults[0] if len(faults) == 1 else f"[{', '.join(faults)}]")

    @classmethod
    def parse(cls, text: str) -> Features:
        """Of ``A=true,B=false``; of a gate that is named twice the last counts. Raises ValueError."""
        given: dict[str, bool] = {}
        for entry in text.split(","):
            if not entry:
                continue
            name, equals, value = (part.strip() for part in entry.partition("="))
            if not equals:
                raise ValueError(f"missing bool value for {name}")
            try:
                given[name] = parse_bool(value)
            except ValueError as error:
                raise ValueError(f"invalid value of {name}={value}, err: {error}") from error
        return cls(given)

    def enabled(self, name: str) -> bool:
        """KeyError: there is no such gate."""
        gate = gates()[name]
        if name in self.given:
            return self.given[name]
        if gate.stage == "ALPHA" and not gate.locked:
            return self.given.get(ALL_ALPHA, gate.default)
        if gate.stage == "BETA" and not gate.locked:
            return self.given.get(ALL_BETA, gate.default)
        return gate.default

    def turned_on(self) -> frozenset[str]:
        """Gates that are on and by default are not."""
        return frozenset(name for name, gate in gates().items() if not gate.default and self.enabled(name))

    def without_effect(self, acting: Iterable[str]) -> list[str]:
        """Those that somebody changed though nothing here asks for them."""
        known, asked = gates(), {*acting, ALL_ALPHA, ALL_BETA}
        return sorted(name for name, value in self.given.items() if name not in asked and value != known[name].default)

    def states(self) -> dict[tuple[str, str], int]:
        """For the metric: 0 or 1 by name and stage."""
        return {(name, gate.stage): int(self.enabled(name)) for name, gate in gates().items()}

    def _lacking(self) -> Iterable[str]:
        for name, needed in _requirements().items():
            off = [each for each in needed if not self.enabled(each)]
            if off and self.enabled(name):
                yield f"{name} is enabled, but depends on features that are disabled: [{' '.join(off)}]"


def _word(value: bool) -> str:
    return "true" if value else "false"
