"""What a StatefulSet says of its pods: their names and order, what each is made of, how each is doing. Pure.

Source: upstream ``pkg/controller/statefulset`` (``stateful_set_utils.go``).
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Final

from sampan.api import objects
from sampan.api.intorpercent import scaled
from sampan.api.pods import status as podstatus
from sampan.api.reading import part, parts, text, text_map, whole
from sampan.api.resources import STATEFUL_SETS
from sampan.api.types import Obj
from sampan.controllers.workload.pods import pod_from_template
from sampan.controllers.workload.revisions import HASH_LABEL
from sampan.records import dataclass

NAME_LABEL: Final = "statefulset.kubernetes.io/pod-name"
INDEX_LABEL: Final = "apps.kubernetes.io/pod-index"
_NAME: Final = re.compile(r"(.*)-([0-9]{1,10})", re.DOTALL)


def split_name(name: str) -> tuple[str, int] | None:
    """The set and the ordinal that a pod's name tells; None: it is of no set. ``web-07`` is nobody's seventh."""
    match = _NAME.fullmatch(name)
    if match is None or (len(match[2]) > 1 and match[2].startswith("0")):
        return None
    return match[1], int(match[2])


def is_member(stateful_set: Obj, pod: Obj) -> bool:
    """Its name is one that the set gives."""
    found = split_name(pod["metadata"]["name"])
    return found is not None and found[0] == stateful_set["metadata"]["name"]


def ordinal(pod: Obj) -> int:
    found = split_name(pod["metadata"]["name"])
    return found[1] if found is not None else -1


def replicas(stateful_set: Obj) -> int:
    wanted = whole(part(stateful_set, "spec"), "replicas")
    return 1 if wanted is None else wanted


def start(stateful_set: Obj) -> int:
    return whole(part(part(stateful_set, "spec"), "ordinals"), "start") or 0


def wanted(stateful_set: Obj) -> range:
    """The ordinals that are to have a pod; there may be more than fit in memory."""
    first = start(stateful_set)
    return range(first, first + replicas(stateful_set))


def is_wanted(stateful_set: Obj, number: int) -> bool:
    return number in wanted(stateful_set)


def is_ordered(stateful_set: Obj) -> bool:
    """One after the other, rather than all at once."""
    return text(part(stateful_set, "spec"), "podManagementPolicy") != "Parallel"


def rolls(stateful_set: Obj) -> bool:
    return text(part(part(stateful_set, "spec"), "updateStrategy"), "type") != "OnDelete"


def partition(stateful_set: Obj) -> int:
    """Pods below this stay at the current revision; counted from the set's first."""
    rolling = part(part(part(stateful_set, "spec"), "updateStrategy"), "rollingUpdate")
    return whole(rolling, "partition") or 0


def max_unavailable(stateful_set: Obj) -> int:
    rolling = part(part(part(stateful_set, "spec"), "updateStrategy"), "rollingUpdate")
    return max(1, scaled(rolling.get("maxUnavailable", 1), replicas(stateful_set), round_up=False) or 1)


def min_ready_seconds(stateful_set: Obj) -> int:
    return whole(part(stateful_set, "spec"), "minReadySeconds") or 0


def revision_of(pod: Obj) -> str:
    return text_map(part(pod, "metadata"), "labels").get(HASH_LABEL, "")


def claim_name(stateful_set: Obj, template: Obj, number: int) -> str:
    return f"{text(part(template, 'metadata'), 'name')}-{stateful_set['metadata']['name']}-{number}"


def claim_names(stateful_set: Obj, number: int) -> dict[str, str]:
    """The names of one pod's claims, by the volume that each is."""
    templates = parts(part(stateful_set, "spec"), "volumeClaimTemplates")
    return {
        text(part(template, "metadata"), "name"): claim_name(stateful_set, template, number) for template in templates
    }


def claims(stateful_set: Obj, number: int) -> dict[str, Obj]:
    """The claims of one pod as they are to be made, by the volume that each is."""
    found = {}
    selected = text_map(part(part(stateful_set, "spec"), "selector"), "matchLabels")
    for template in parts(part(stateful_set, "spec"), "volumeClaimTemplates"):
        meta = part(template, "metadata")
        made: Obj = {
            "name": claim_name(stateful_set, template, number),
            "namespace": stateful_set["metadata"]["namespace"],
            "labels": {**text_map(meta, "labels"), **selected},
        }
        if annotations := text_map(meta, "annotations"):
            made["annotations"] = dict(annotations)
        found[text(meta, "name")] = {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": made,
            "spec": objects.deep_copy(part(template, "spec")),
        }
    return found


def make_pod(stateful_set: Obj, template: Obj, revision: str, number: int) -> Obj:
    """The pod of an ordinal; ``template`` is that of the revision."""
    pod = pod_from_template(template, stateful_set, STATEFUL_SETS)
    del pod["metadata"]["generateName"]
    pod["metadata"].setdefault("labels", {})[HASH_LABEL] = revision
    spec = pod["spec"]
    spec["hostname"] = name_of(stateful_set, number)
    spec["subdomain"] = text(part(stateful_set, "spec"), "serviceName")
    return with_identity(stateful_set, pod, number)


def name_of(stateful_set: Obj, number: int) -> str:
    return f"{stateful_set['metadata']['name']}-{number}"


def with_identity(stateful_set: Obj, pod: Obj, number: int) -> Obj:
    """A copy with the name, labels and volumes that the ordinal's pod must have."""
    result: Obj = objects.deep_copy(pod)
    meta, name = result["metadata"], name_of(stateful_set, number)
    meta["name"] = name
    meta.setdefault("labels", {}).update({NAME_LABEL: name, INDEX_LABEL: str(number)})
    claimed = claim_names(stateful_set, number)
    if claimed:
        volumes = [{"name": volume, "persistentVolumeClaim": {"claimName": claim}} for volume, claim in claimed.items()]
        others = [volume for volume in parts(result["spec"], "volumes") if volume.get("name") not in claimed]
        result["spec"]["volumes"] = volumes + others
    return result


def has_identity(stateful_set: Obj, pod: Obj) -> bool:
    """Labels and claims are what they should be (upstream ``identityMatches``, ``storageMatches``)."""
    number, labels = ordinal(pod), text_map(part(pod, "metadata"), "labels")
    if labels.get(NAME_LABEL) != pod["metadata"]["name"] or labels.get(INDEX_LABEL) != str(number):
        return False
    volumes = {volume.get("name"): volume for volume in parts(part(pod, "spec"), "volumes")}
    return all(
        text(part(volumes.get(name, {}), "persistentVolumeClaim"), "claimName") == claim
        for name, claim in claim_names(stateful_set, number).items()
    )


@dataclass(frozen=True, slots=True)
class Standing:
    """What a pod's state means for its set, whatever time it is."""

    pod: Obj
    ordinal: int
    phase: str
    is_terminating: bool
    has_identity: bool
    revision: str
    is_ready: bool
    #: when it became ready, if it has to stay so for ``min_ready`` seconds; None: it is available at once, or never
    ready_since: datetime | None
    min_ready: int
    never: bool

    @property
    def is_terminal(self) -> bool:
        return podstatus.is_terminal_phase(self.phase)

    def available_in(self, now: datetime) -> float | None:
        """0: available; more: when it will be; None: it is not running and ready."""
        if not self.is_ready or self.never:
            return None
        if self.ready_since is None:
            return 0.0
        return max(0.0, (self.ready_since - now).total_seconds() + self.min_ready)

    def is_unavailable(self, now: datetime) -> bool:
        return self.is_terminating or self.available_in(now) != 0


def standing(stateful_set: Obj, pod: Obj) -> Standing:
    """Of the set its spec alone counts."""
    phase, min_ready = podstatus.phase(pod), min_ready_seconds(stateful_set)
    is_ready = phase == "Running" and podstatus.is_ready(pod)
    since = podstatus.ready_since(pod) if is_ready and min_ready else None
    return Standing(
        pod,
        ordinal(pod),
        phase,
        podstatus.is_terminating(pod),
        has_identity(stateful_set, pod),
        revision_of(pod),
        is_ready,
        since,
        min_ready,
        never=bool(min_ready) and since is None,
    )
