"""Situations on a whole cluster in virtual time: make one, ask why, apply the fix as it was given, see it well."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sampan.api.types import Obj
from sampan.testing.virtual_cluster import VirtualCluster
from sampan.why import reader, subjects
from sampan.why.model import Action, Cause, Explanation, Ref


class Situation:
    """A cluster in which something is wrong."""

    def __init__(self, cluster: VirtualCluster) -> None:
        self.cluster = cluster

    def make(self, *objects: Obj) -> None:
        for obj in objects:
            found = subjects.kind_named(obj["kind"].lower())
            assert found is not None, obj["kind"]
            if found.namespaced:
                obj["metadata"].setdefault("namespace", "default")
            self.cluster.create(found, obj)

    def wait(self, seconds: float = 30) -> None:
        self.cluster.advance(seconds)

    def why(self, words: str, namespace: str = "default", user: str = "") -> Explanation:
        kind, _, name = words.partition("/")
        resource = subjects.kind_named(kind)
        assert resource is not None, kind
        client = self.cluster.client_for(user) if user else self.cluster.client
        subject = Ref(resource, name, namespace if resource.namespaced else "")
        return self.cluster.run(reader.explain_in(client, subject, self.cluster.now))

    def first(self, words: str, rule: str, says: str = "", namespace: str = "default") -> Cause:
        """The first cause, which has to be of this rule."""
        found = self.why(words, namespace)
        told = [f"{cause.rule}: {cause.sentence}" for cause in found.causes]
        assert told and found.causes[0].rule == rule, (found.state.text, told, found.unseen, found.last_events)
        assert says in found.causes[0].sentence, found.causes[0].sentence
        assert not [each for each in found.unseen if "failed (" in each], found.unseen
        assert not found.healthy
        return found.causes[0]

    def mend(self, cause: Cause) -> None:
        assert cause.fix is not None and cause.fix.actions, cause
        for action in cause.fix.actions:
            self.apply(action)

    def apply(self, action: Action) -> None:
        client, ref = self.cluster.client, action.ref
        namespace = ref.namespace or None
        run: Callable[[Any], Any] = self.cluster.run
        match action.verb:
            case "patch" | "json":
                kind: Any = "merge" if action.verb == "patch" else "json"
                sub = action.subresource
                run(client.patch(ref.resource, ref.name, action.body, namespace, patch_type=kind, subresource=sub))
            case "create":
                run(client.create(ref.resource, action.body, namespace))
            case "delete":
                run(client.delete(ref.resource, ref.name, namespace))
            case "replace":
                run(client.delete(ref.resource, ref.name, namespace, grace_period_seconds=0))
                self.wait(5)
                run(client.create(ref.resource, action.body, namespace))
            case "approve":
                found = run(client.get(ref.resource, ref.name))
                found["status"]["conditions"] = action.body
                run(client.update(ref.resource, found, "approval"))

    def mended(self, cause: Cause, words: str, namespace: str = "default", seconds: float = 180) -> None:
        """The fix, applied; and then nothing is wrong any more."""
        self.mend(cause)
        self.wait(seconds)
        found = self.why(words, namespace)
        assert found.healthy, (found.state.text, [each.sentence for each in found.causes], found.unseen)


def pod(name: str = "p", labels: dict[str, str] | None = None, container: Obj | None = None, **spec: Any) -> Obj:
    one = {"name": "c", "image": "docker.io/library/app:1", **(container or {})}
    return {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels or {"app": name}},
        "spec": {"containers": [one], **spec},
    }  # fmt: skip


def workload(
    kind: str = "Deployment", name: str = "web", replicas: int = 1, container: Obj | None = None, **spec: Any
) -> Obj:
    """``spec`` is that of the pods; ``own`` that of the workload."""
    own = spec.pop("own", {})
    made = pod(name, container=container, **spec)
    template = {"metadata": {"labels": {"app": name}}, "spec": made["spec"]}
    counted = {} if kind == "DaemonSet" else {"replicas": replicas}
    named = {"serviceName": name} if kind == "StatefulSet" else {}
    return {
        "apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name},
        "spec": {**counted, **named, "selector": {"matchLabels": {"app": name}}, "template": template, **own},
    }  # fmt: skip
