"""What volumes mean for pods, told from the documented behaviour: a part of the oracle (``naive_scheduler.py``).

Claims that are bound, that wait for their pod, that are missing; volumes of one node or one zone; disks that a node has
once, claims of one pod, and how many volumes of a driver a node can have. Shares no code with the plug-ins.
"""

from dataclasses import dataclass, field

HOST, ZONE = "kubernetes.io/hostname", "topology.kubernetes.io/zone"
DRIVER = "d.example"
UNRESOLVABLE, UNSCHEDULABLE = True, False

ONE_POD = "node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode"
#: classes whose claims wait for their pod, and the zone in which their volumes are made
WAITING = {"local": "nowhere", "made": "", "made-in-x": "x"}


@dataclass
class Volume:
    name: str
    size: int = 1
    kind: str = "local"
    host: str = ""
    zone: str = ""
    of_driver: bool = False
    claim: str = ""

    def to_object(self):
        spec = {"capacity": {"storage": f"{self.size}Gi"}, "accessModes": ["ReadWriteOnce"]}
        spec["storageClassName"] = self.kind
        if self.host:
            test = {"key": HOST, "operator": "In", "values": [self.host]}
            spec["nodeAffinity"] = {"required": {"nodeSelectorTerms": [{"matchExpressions": [test]}]}}
        if self.of_driver:
            spec["csi"] = {"driver": DRIVER, "volumeHandle": self.name}
        if self.claim:
            spec["claimRef"] = {"namespace": "d", "name": self.claim, "uid": self.claim}
        labels = {ZONE: self.zone} if self.zone else {}
        phase = "Bound" if self.claim else "Available"
        return {"metadata": {"name": self.name, "labels": labels}, "spec": spec, "status": {"phase": phase}}


@dataclass
class Claim:
    """``volume`` "": it is not bound."""

    name: str
    kind: str = "local"
    size: int = 1
    volume: str = ""
    one_pod: bool = False
    deleted: bool = False

    def to_object(self):
        meta = {"name": self.name, "namespace": "d", "uid": self.name}
        mode = "ReadWriteOncePod" if self.one_pod else "ReadWriteOnce"
        spec = {"storageClassName": self.kind, "accessModes": [mode]}
        spec["resources"] = {"requests": {"storage": f"{self.size}Gi"}}
        if self.volume:
            spec["volumeName"] = self.volume
            meta["annotations"] = {"pv.kubernetes.io/bind-completed": "yes"}
        if self.deleted:
            meta["deletionTimestamp"] = "2026-01-01T00:00:00Z"
        return {"metadata": meta, "spec": spec, "status": {"phase": "Bound" if self.volume else "Pending"}}


@dataclass
class Disks:
    """``limits``: by node, how many of the driver's volumes it can have."""

    claims: dict = field(default_factory=dict)
    volumes: dict = field(default_factory=dict)
    limits: dict = field(default_factory=dict)

    def nowhere(self, pod):
        """Why the pod can be on no node, whatever the nodes are; "": nothing of its claims says so."""
        for name in pod.claims:
            claim = self.claims.get(name)
            if claim is None:
                return f'persistentvolumeclaim "{name}" not found'
            if claim.deleted:
                return f'persistentvolumeclaim "{name}" is being deleted'
        if any(not claim.volume and claim.kind not in WAITING for claim in map(self.claims.get, pod.claims)):
            return "pod has unbound immediate PersistentVolumeClaims"
        return ""

    def verdict(self, pod, node, here, everybody):
        """``here``: pods on the node; ``everybody``: on all nodes."""
        alone = {name for name in pod.claims if self.claims[name].one_pod}
        if any(alone.intersection(other.claims) for other in everybody):
            return [ONE_POD], UNSCHEDULABLE
        if pod.disk and any(other.disk == pod.disk for other in here):
            return ["node(s) had no available disk"], UNSCHEDULABLE
        held = {each for other in here for each in self._of_driver(other)}
        new = self._of_driver(pod) - held
        if new and len(held) + len(new) > self.limits.get(node.name, len(held) + len(new)):
            return ["node(s) exceed max volume count"], UNSCHEDULABLE
        return self._bound(pod, node) or self._zone(pod, node)

    def _of_driver(self, pod):
        found = set()
        for claim in (self.claims[name] for name in pod.claims if name in self.claims):
            volume = self.volumes.get(claim.volume)
            if volume is not None and volume.of_driver:
                found.add(volume.name)
            elif volume is None and claim.kind != "local":
                found.add(f"of claim {claim.name}")
        return found

    def _bound(self, pod, node):
        claims = [self.claims[name] for name in pod.claims]
        volumes = [self.volumes.get(claim.volume) for claim in claims if claim.volume]
        reasons = []
        if any(volume is not None and volume.host not in ("", node.labels.get(HOST)) for volume in volumes):
            reasons.append("node(s) didn't match PersistentVolume's node affinity")
        if not self._all_find_one([claim for claim in claims if not claim.volume], node):
            reasons.append("node(s) didn't find available persistent volumes to bind")
        if None in volumes:
            reasons.append("node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)")
        return (reasons, UNRESOLVABLE) if reasons else None

    def _all_find_one(self, waiting, node):
        """Each takes the smallest that is large enough, those that ask for least first; else one is made."""
        taken = set()
        for claim in sorted(waiting, key=lambda each: each.size):
            fitting = [
                volume for volume in self.volumes.values()
                if volume.kind == claim.kind and volume.size >= claim.size and not volume.claim
                and volume.name not in taken and volume.host in ("", node.labels.get(HOST)) and not claim.one_pod
            ]  # fmt: skip
            if fitting:
                taken.add(min(fitting, key=lambda volume: volume.size).name)
            elif WAITING[claim.kind] not in ("", node.labels.get(ZONE)):
                return False
        return True

    def _zone(self, pod, node):
        for name in pod.claims:
            volume = self.volumes.get(self.claims[name].volume)
            if volume is not None and volume.zone and node.labels.get(ZONE, volume.zone) != volume.zone:
                return ["node(s) had no available volume zone"], UNRESOLVABLE
        return None
