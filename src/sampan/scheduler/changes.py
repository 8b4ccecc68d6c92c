"""What informers tell the scheduler: changes of pods, nodes and namespaces, taken into cache and queue.

Handlers run synchronously in the order of the changes. A change that may help pods which found no node moves these in
the queue; each group of pods of one template is asked once, however many they are.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from sampan.api.pods.status import is_terminal, node_name
from sampan.api.reading import part, parts, text, text_map
from sampan.api.types import Obj
from sampan.client.informer import ChangeType
from sampan.keeping import fault_words
from sampan.scheduler.binding import Bindings
from sampan.scheduler.cache import Cluster
from sampan.scheduler.framework import Code, Event, PreEnqueuePlugin
from sampan.scheduler.podgroups import GANG, GANG_ALONE, GroupKey, PodGroups, key_of
from sampan.scheduler.podinfo import DEFAULT_SCHEDULER, PodInfo
from sampan.scheduler.profile import Profile
from sampan.scheduler.queue import Place, QueuedPod, SchedulingQueue

log = logging.getLogger(__name__)


#: changes that are kept for a pod while it is tried; after more it is simply tried again
_MISSED = 64


class Changes:
    """``report`` tells of a pod that a plug-in raised on. ``groups`` None: pods are scheduled one by one."""

    def __init__(
        self,
        cluster: Cluster,
        queue: SchedulingQueue,
        bindings: Bindings,
        profiles: Mapping[str, Profile],
        report: Callable[[PodInfo, str], None],
        groups: PodGroups | None = None,
    ) -> None:
        self._cluster, self._queue, self._bindings = cluster, queue, bindings
        self._groups = groups
        self._profiles, self._report = profiles, report

    def is_pending(self, pod: Obj) -> bool:
        """Whether it waits for this scheduler."""
        if node_name(pod) or is_terminal(pod):
            return False
        return (text(part(pod, "spec"), "schedulerName") or DEFAULT_SCHEDULER) in self._profiles

    # Pods

    def pod_changed(self, kind: ChangeType, obj: Obj, previous: Obj | None) -> None:
        uid = obj["metadata"].get("uid", "")
        grouped = self._groups is not None and part(obj, "spec").get("schedulingGroup") is not None
        if grouped:
            self._member_changed(PodInfo(obj), gone=kind == "DELETED" or is_terminal(obj))
        if kind == "DELETED" or is_terminal(obj):
            self.pod_gone(uid, obj)
        elif node_name(obj):
            self._pod_assigned(PodInfo(obj), previous)
        elif self.is_pending(obj):
            self._pod_pending(PodInfo(obj), previous if kind == "MODIFIED" else None)

    def pod_gone(self, uid: str, obj: Obj) -> None:
        node = self._cluster.node_of(uid)
        self._queue.remove(uid)
        self._take_promise_back(uid)
        self._cluster.drop_pod(uid)
        self._bindings.reject(uid, "the pod is gone")
        if node:
            self.wake(Event.POD_DELETE, self._cluster.nodes.slot_of.get(node), PodInfo(obj))

    def _pod_assigned(self, pod: PodInfo, previous: Obj | None) -> None:
        self._queue.remove(pod.uid)
        known = self._cluster.node_of(pod.uid) == pod.node_name
        if known and previous is not None and not self._cluster.is_assumed(pod.uid) and _same_usage(pod.obj, previous):
            return
        # To other pods an assumed pod arrives now: that is when the API shows it.
        fresh = not self._cluster.node_of(pod.uid) or self._cluster.is_assumed(pod.uid)
        self._cluster.put_pod(pod)
        event = Event.POD_ADD if fresh else Event.POD_UPDATE
        self.wake(event, self._cluster.nodes.slot_of.get(pod.node_name), pod)

    def _pod_pending(self, pod: PodInfo, previous: Obj | None) -> None:
        item = self._queue.find(pod.uid)
        if self._cluster.is_assumed(pod.uid) and item is None:
            return
        # One that is assumed and in the queue is being tried with its group: that is told what it is now.
        if pod.terminating:
            self._queue.remove(pod.uid)
            return
        if item is not None and previous is not None and not _scheduling_changed(pod.obj, previous):
            self._promise(pod, previous, gated=item.place is Place.GATED)
            self._queue.update(pod)
            return
        gated = self._is_gated(pod)
        self._promise(pod, previous, gated=gated)
        self._queue.add(pod, gated=gated)

    def _promise(self, pod: PodInfo, previous: Obj | None, *, gated: bool) -> None:
        """Keeps the node for it that its status names; who may not be tried keeps none from others."""
        if gated:
            self._take_promise_back(pod.uid)
        elif self._cluster.is_assumed(pod.uid):
            pass
        elif pod.nominated_node:
            self._cluster.nominate(pod, pod.nominated_node)
        elif previous is not None and text(part(previous, "status"), "nominatedNodeName"):
            self._cluster.nominate(pod, "")

    def _take_promise_back(self, uid: str) -> None:
        """To others of its priority and below it was as if the pod had been on that node, and now had left it."""
        promised = self._cluster.nominated.pop(uid, None)
        if promised is not None:
            pod, node = promised
            self.wake(Event.POD_DELETE, self._cluster.nodes.slot_of.get(node), pod)

    def look_again(self, obj: Obj) -> None:
        """Something came up that may let a pod in that was not."""
        if self.is_pending(obj):
            self._pod_pending(PodInfo(obj), None)

    def _is_gated(self, pod: PodInfo) -> bool:
        for plugin in self._profiles[pod.scheduler_name].having(PreEnqueuePlugin):
            try:
                outcome = plugin.pre_enqueue(pod)
            except Exception as error:
                # The plug-in did not let it in. It is asked again when the pod changes.
                log.exception("a plugin failed on %s before it was queued", pod.key)
                self._report(pod, fault_words(error))
                return True
            if outcome.code is not Code.SUCCESS:
                return True
        return False

    # Groups of pods

    def _member_changed(self, pod: PodInfo, *, gone: bool) -> None:
        """Before the pod itself is looked at: it counts for its own group."""
        assert self._groups is not None
        key = key_of(pod)
        if key is None:
            return
        if gone or pod.terminating:
            self._groups.drop_pod(key, pod.uid)
            item = self._queue.find(pod.uid)
            if item is not None and item.place is not Place.GATED and self._groups.may_differ(key):
                self._try_rest(key)
        elif self._groups.put_pod(key, pod):
            self._let_in(key)

    def pod_group_changed(self, kind: ChangeType, obj: Obj, previous: Obj | None) -> None:
        assert self._groups is not None
        key = obj["metadata"].get("namespace", ""), obj["metadata"]["name"]
        if kind == "DELETED":
            self._groups.drop(obj)
            for pod in self._groups.members(key):  # they wait for another of its name
                if self._queue.find(pod.uid) is not None:
                    self.look_again(pod.obj)
        elif self._groups.put(obj):
            self._let_in(key)

    def _let_in(self, key: GroupKey) -> None:
        """The pods of a group that waited for more of them, or for the group itself."""
        assert self._groups is not None
        for pod in self._groups.release(key):
            self.look_again(pod.obj)
        for item in self._queue.in_group((GANG, key)):
            self._queue.requeue(item)

    def _try_rest(self, key: GroupKey) -> None:
        """One of its pods that waited has gone: it may have been in the way of the others. Whichever of them is tried
        takes all along."""
        assert self._groups is not None
        for pod in self._groups.members(key):
            item = self._queue.find(pod.uid)
            if item is not None and item.place is not Place.GATED:
                self._queue.requeue(item)
                return

    # Nodes and namespaces

    def node_changed(self, kind: ChangeType, obj: Obj, previous: Obj | None) -> None:
        if kind == "DELETED":
            self._cluster.drop_node(obj["metadata"]["name"])
            return
        known = obj["metadata"]["name"] in self._cluster.nodes.slot_of
        if known and previous is not None and not _node_matters(obj, previous):
            return
        slot = self._cluster.put_node(obj)
        self.wake(Event.NODE_UPDATE if known else Event.NODE_ADD, slot)

    def namespace_changed(self, kind: ChangeType, obj: Obj, previous: Obj | None) -> None:
        name = obj["metadata"]["name"]
        if kind == "DELETED":
            self._cluster.namespace_labels.pop(name, None)
        else:
            self._cluster.namespace_labels[name] = text_map(obj["metadata"], "labels")
        self._cluster.of_namespaces.clear()

    # Waking

    def wake(self, event: Event, slot: int | None, changed: PodInfo | None = None) -> None:
        """Moves the pods that this change may help; those that are being tried now learn of it afterwards."""
        for item in self._queue.taken():
            if len(item.missed) < _MISSED:
                item.missed.append((event, slot, changed))
            else:
                item.again = True
        for group in self._queue.unschedulable():
            if self._may_help(group[0], event, slot, changed):
                for item in group:
                    self._queue.requeue(item)

    def catch_up(self, item: QueuedPod) -> None:
        """For a pod that found no node: what happened while it was tried may help it."""
        missed, item.missed = item.missed, []
        if item.again or any(self._may_help(item, *change) for change in missed):
            self._queue.requeue(item)

    def _may_help(self, item: QueuedPod, event: Event, slot: int | None, changed: PodInfo | None) -> bool:
        if item.plugins == GANG_ALONE:
            return False  # another member is what could not be placed: when that is tried again, so is this one
        profile = self._profiles[item.pod.scheduler_name]
        try:
            return profile.may_help(item.pod, item.plugins, event, self._cluster, slot, changed)
        except Exception:
            log.exception("a queueing hint failed on %s", item.pod.key)
            return True  # better a try too many than a pod that waits for ever


def _same_usage(pod: Obj, previous: Obj) -> bool:
    """Whether an assigned pod's change leaves counts alone: most changes are of its status."""
    now, before = pod["metadata"], previous["metadata"]
    if now.get("labels") != before.get("labels") or now.get("deletionTimestamp") != before.get("deletionTimestamp"):
        return False
    if pod.get("spec") is not previous.get("spec") and pod.get("spec") != previous.get("spec"):
        return False
    return _held(pod) == _held(previous)


def _held(pod: Obj) -> list[Any]:
    """What the status says of the resources that the pod holds."""
    status = part(pod, "status")
    resized = [c.get("reason") for c in parts(status, "conditions") if c.get("type") == "PodResizePending"]
    found: list[Any] = [status.get("allocatedResources"), status.get("resources"), resized]
    for field in ("containerStatuses", "initContainerStatuses"):
        for entry in parts(status, field):
            requests = part(entry, "resources").get("requests")
            found.append((entry.get("name"), entry.get("allocatedResources"), requests))
    return found


def _scheduling_changed(pod: Obj, previous: Obj) -> bool:
    """Whether a pending pod's change may change its fate (``updatePodInSchedulingQueue``)."""
    now, before = pod["metadata"], previous["metadata"]
    if now.get("labels") != before.get("labels") or pod.get("spec") != previous.get("spec"):
        return True
    # Claims that were made of its templates: they let it in.
    made = "resourceClaimStatuses"
    return bool(part(pod, "status").get(made) != part(previous, "status").get(made))


def _node_matters(node: Obj, previous: Obj) -> bool:
    """Heartbeats and conditions do not: what they mean for pods is said by taints."""
    if node.get("spec") != previous.get("spec"):
        return True
    if node["metadata"].get("labels") != previous["metadata"].get("labels"):
        return True
    now, before = part(node, "status"), part(previous, "status")
    return any(now.get(key) != before.get(key) for key in ("allocatable", "capacity", "images"))
