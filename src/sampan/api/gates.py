"""Fields behind feature gates that are off in v1.37: dropped when they are written, unless the object has them already.

Upstream's strategies do so one by one (``dropDisabledFields``); here each kind names its table (``Kind.gated``), and
the strategies that all kinds share call ``drop``. A gate is in use if the stored object has any field of it, and then
all its fields may come and go. Pure. What it does not do: values of fields that are always there (a toleration's
``Lt``), which are validation's, and status.

A gate that is on is left out of the tables of the kinds that a server serves (``without``; ``enablement``).

In a table a key is a field; ``[]`` stands for the elements of a list, ``{}`` for the values of a map, ``?`` for an
object that goes itself when nothing else is in it. A text is the gate; behind a colon stands what is in use by itself.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final, NamedTuple

from sampan.api.types import Obj


class Step(NamedTuple):
    """Of a field: its gate, or what is in it."""

    form: str
    gate: str
    inner: Table


Table = Mapping[str, Step]


def _table(fields: Mapping[str, Table | str]) -> Table:
    steps: dict[str, Step] = {}
    for key, value in fields.items():
        name = key.rstrip("[]{}?")
        gate, inner = (value, {}) if isinstance(value, str) else ("", value)
        steps[name] = Step(key[len(name) :], gate, inner)
    return steps


_USERS: Final = "AtomicWriteVolumeUserFields"
_LISTS: Final = "DRAListTypeAttributes"

_HTTP: Final = _table({"protocol": "H2CContainerProbe"})
_HOOK: Final = _table({"httpGet": _HTTP})
_PROBE: Final = _table({"httpGet": _HTTP, "grpc": _table({"mode": "GRPCContainerProbeTLS"})})
_CONTAINER: Final = _table(
    {
        "lifecycle?": _table({"stopSignal": "ContainerStopSignals", "postStart": _HOOK, "preStop": _HOOK}),
        "livenessProbe": _PROBE,
        "readinessProbe": _PROBE,
        "startupProbe": _PROBE,
        "volumeMounts[]": _table({"bindMountOptions": "VolumeBindMountOptions"}),
    }
)
_FILE: Final = _table({"user": _USERS})
_ITEMS: Final = _table({"items[]": _FILE})
_FILES: Final = _table({"defaultUser": _USERS, "items[]": _FILE})
_SOURCE: Final = _table(
    {
        "configMap": _ITEMS,
        "secret": _ITEMS,
        "downwardAPI": _ITEMS,
        "serviceAccountToken": _FILE,
        "clusterTrustBundle": _FILE,
        "podCertificate": _FILE,
    }
)
_VOLUME: Final = _table(
    {
        "configMap": _FILES,
        "secret": _FILES,
        "downwardAPI": _FILES,
        "emptyDir": _table({"mode": "EmptyDirVolumeMode"}),
        "projected": _table({"defaultUser": _USERS, "sources[]": _SOURCE}),
    }
)
_POD_SPEC: Final = _table(
    {
        "schedulingGroup": "GenericWorkload",
        "evictionResponders": "EvictionRequestAPI",
        "initContainers[]": _CONTAINER,
        "containers[]": _CONTAINER,
        "ephemeralContainers[]": _CONTAINER,
        "volumes[]": _VOLUME,
    }
)
_REQUEST: Final = _table({"derivedAttributes": "DRADerivedAttributes"})
_DEVICE: Final = _table(
    {
        "attributes{}": _table({"bools": _LISTS, "ints": _LISTS, "strings": _LISTS, "versions": _LISTS}),
        "consumesCounters[]": _table({"compatibilityGroups": "DRADeviceCompatibilityGroups"}),
    }
)

POD: Final = _table({"spec": _POD_SPEC})
#: of a PodTemplate; of kinds with a template in their spec
TEMPLATE: Final = _table({"template": POD})
WORKLOAD: Final = _table({"spec": TEMPLATE})
JOB: Final = _table({"spec": _table({"template": POD, "scheduling": "WorkloadWithJob"})})
CRON_JOB: Final = _table({"spec": _table({"jobTemplate": JOB})})
LEASE: Final = _table(
    {
        "spec": _table(
            {
                "strategy": "CoordinatedLeaderElection:strategy",
                "preferredHolder": "CoordinatedLeaderElection:preferredHolder",
            }
        )
    }
)
NODE: Final = _table({"spec": _table({"podPreemptionPolicy": "InPlacePodVerticalScalingSchedulerPreemption"})})
CLAIM: Final = _table(
    {"spec": _table({"devices": _table({"requests[]": _table({"exactly": _REQUEST, "firstAvailable[]": _REQUEST})})})}
)
CLAIM_TEMPLATE: Final = _table({"spec": CLAIM})
SLICE: Final = _table({"spec": _table({"skipNodeOperations": "DRAOptionalNodeOperations", "devices[]": _DEVICE})})


def without(table: Table, on: Collection[str]) -> Table:
    """What is left of a table when these gates are on."""
    left: dict[str, Step] = {}
    for name, (form, gate, inner) in table.items():
        rest = without(inner, on)
        if rest or (gate and gate.partition(":")[0] not in on):
            left[name] = Step(form, gate, rest)
    return left


def named(table: Table) -> frozenset[str]:
    """The gates of a table."""
    found = {step.gate.partition(":")[0] for step in table.values() if step.gate}
    return frozenset(found.union(*(named(step.inner) for step in table.values())))


class _Found(NamedTuple):
    holder: Obj
    name: str
    gate: str
    #: the object that holds the holder, if that goes when it is empty, and the holder's name in it
    outer: Obj | None
    outer_name: str


def drop(table: Table, new: Obj, old: Obj | None) -> None:
    """In place, of ``new``. ``old``: what is stored; None: nothing."""
    found: list[_Found] = []
    _collect(new, table, found, None, "")
    if not found:
        return
    used: list[_Found] = []
    if old is not None:
        _collect(old, table, used, None, "")
    gates = {each.gate for each in used}
    for holder, name, gate, outer, outer_name in found:
        if gate not in gates:
            holder.pop(name, None)  # an object may stand in two places: aliases of YAML
            if outer is not None and not holder:
                outer.pop(outer_name, None)


def _collect(obj: Obj, table: Table, found: list[_Found], outer: Obj | None, outer_name: str) -> None:
    for name, value in obj.items():
        if name not in table or value is None:
            continue
        form, gate, inner = table[name]
        if gate:
            found.append(_Found(obj, name, gate, outer, outer_name))
        elif not form:
            _collect(value, inner, found, None, "")
        elif form == "?":
            _collect(value, inner, found, obj, name)
        else:
            for item in value if form == "[]" else value.values():
                _collect(item, inner, found, None, "")
