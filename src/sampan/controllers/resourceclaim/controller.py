"""The resource-claim-controller: makes claims of pods' templates, and takes back what no pod uses."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from sampan.api import objects
from sampan.api.errors import ApiError, NotFound
from sampan.api.pods import resourceclaims
from sampan.api.pods.resourceclaims import FINALIZER, PodResourceClaim
from sampan.api.pods.status import is_terminal
from sampan.api.reading import part, text
from sampan.api.resources import PODS, RESOURCE_CLAIM_TEMPLATES, RESOURCE_CLAIMS
from sampan.api.types import Obj
from sampan.client import tasks
from sampan.client.controller import DONE, Controller, Result, observe
from sampan.client.keys import ObjectKey, key_of
from sampan.controllers.context import Context
from sampan.controllers.resourceclaim import plan
from sampan.controllers.workload.claims import controller_reference

NAME: Final = "resource-claim-controller"
_COMPONENT: Final = "resource_claim"
_BY_OWNER: Final = "claim by its pod's uid"
_BY_CLAIM: Final = "pod by its claims for devices"
_BY_TEMPLATE: Final = "pod by its templates of claims for devices"


class ResourceClaimController:
    def __init__(self, context: Context) -> None:
        self._client = context.client_for(NAME)
        self._recorder = context.recorder(self._client, _COMPONENT)
        self._pods = context.informers.informer(PODS)
        self._claims = context.informers.informer(RESOURCE_CLAIMS)
        self._templates = context.informers.informer(RESOURCE_CLAIM_TEMPLATES)
        self._claims.add_index(_BY_OWNER, _owner)
        self._pods.add_index(_BY_CLAIM, resourceclaims.keys_of_pod)
        self._pods.add_index(_BY_TEMPLATE, _templates_of)
        self._of_pods: Controller[ObjectKey] = Controller(NAME, self.sync_pod)
        self._of_claims: Controller[ObjectKey] = Controller(f"{NAME}-claims", self.sync_claim)
        self._of_pods.watch(self._pods, self._pod)
        self._of_pods.watch(self._templates, self._pods_of_template)
        self._of_pods.watch(self._claims, self._pod_of_claim)
        self._of_claims.watch(self._claims, lambda claim: (key_of(claim),))
        self._of_claims.watch(self._pods, self._claims_of_pod)

    async def run(self) -> None:
        await tasks.run_all(pods=self._of_pods.run(), claims=self._of_claims.run(), events=self._recorder.run())

    # Who is to be looked at

    @staticmethod
    def _pod(pod: Obj) -> Iterable[ObjectKey]:
        return (key_of(pod),) if part(pod, "spec").get("resourceClaims") and plan.wants_claims(pod) else ()

    def _pods_of_template(self, template: Obj) -> Iterable[ObjectKey]:
        key = f"{objects.namespace(template)}/{objects.name(template)}"
        return [key_of(pod) for pod in self._pods.by_index(_BY_TEMPLATE, key)]

    def _pod_of_claim(self, claim: Obj) -> Iterable[ObjectKey]:
        owner = objects.controller_of(claim)
        if owner is not None and owner["kind"] == "Pod" and owner["apiVersion"] == "v1":
            yield ObjectKey(objects.namespace(claim), owner["name"])
        else:
            key = f"{objects.namespace(claim)}/{objects.name(claim)}"
            yield from (key_of(pod) for pod in self._pods.by_index(_BY_CLAIM, key))

    def _claims_of_pod(self, pod: Obj) -> Iterable[ObjectKey]:
        """A pod that ended lets go of its claims."""
        if part(pod, "spec").get("resourceClaims"):
            for each in resourceclaims.claims_of_pod(pod):
                if each.claim:
                    yield ObjectKey(objects.namespace(pod), each.claim)
            yield from (key_of(claim) for claim in self._claims.by_index(_BY_OWNER, objects.uid(pod)))

    # Pods

    async def sync_pod(self, key: ObjectKey) -> Result:
        pod = self._pods.get(*key)
        if pod is None or not plan.wants_claims(pod):
            return DONE
        made: dict[str, str] = {}
        for each in resourceclaims.claims_of_pod(pod):
            if each.template and each.needed and not each.claim:
                made[each.name] = await self._made(pod, each)
        if made:
            pod = await self._tell(pod, made)
        for each in resourceclaims.claims_of_pod(pod):
            claim = self._claims.get(key.namespace, each.claim) if each.claim else None
            if claim is not None and plan.to_reserve(pod, claim):
                new: Obj = objects.copy_of(claim)
                new["status"]["reservedFor"] = [*resourceclaims.consumers(claim), resourceclaims.consumer(pod)]
                await self._write_status(new)
        return DONE

    async def _made(self, pod: Obj, wanted: PodResourceClaim) -> str:
        """The name of the claim that stands for a template; made, if there is none. Raises ApiError."""
        claim = plan.made_for(pod, wanted, self._claims.by_index(_BY_OWNER, objects.uid(pod)))
        if claim is None:
            try:
                template = self._templates.get(objects.namespace(pod), wanted.template)
                if template is None:
                    raise NotFound(f'resourceclaimtemplate.resource.k8s.io "{wanted.template}" not found')
                owner = dict(controller_reference(pod, PODS))
                claim = await self._client.create(RESOURCE_CLAIMS, plan.render_claim(pod, wanted, template, owner))
            except ApiError as error:
                message = f'resource claim template "{wanted.template}": {error}'
                self._recorder.event(
                    pod, "Warning", "FailedResourceClaimCreation", f"PodResourceClaim {wanted.name}: {message}"
                )
                raise
            await observe(self._claims, claim)
        return objects.name(claim)

    async def _tell(self, pod: Obj, made: dict[str, str]) -> Obj:
        listed = [{"name": name, "resourceClaimName": claim} for name, claim in made.items()]
        known = list(part(pod, "status").get("resourceClaimStatuses") or ())
        patch = {
            "metadata": {"uid": objects.uid(pod)},
            "status": {"resourceClaimStatuses": [*known, *listed]},
        }
        written = await self._client.patch(
            PODS, objects.name(pod), patch, objects.namespace(pod), patch_type="strategic", subresource="status"
        )
        await observe(self._pods, written)
        return written

    # Claims

    async def sync_claim(self, key: ObjectKey) -> Result:
        claim = self._claims.get(*key)
        if claim is None:
            return DONE
        using = [each for each in resourceclaims.consumers(claim) if await self._uses(key.namespace, each)]
        step = plan.plan_claim(claim, using, owner_done=self._owner_has_ended(claim))
        if step.delete:
            try:
                await self._client.delete(RESOURCE_CLAIMS, key.name, key.namespace, uid=objects.uid(claim))
            except NotFound:
                pass
            return DONE
        if step.status is not None:
            claim = await self._write_status({**claim, "status": step.status})
        if step.unprotect:
            new: Obj = objects.copy_of(claim)
            new["metadata"]["finalizers"] = [name for name in objects.finalizers(claim) if name != FINALIZER]
            try:
                await observe(self._claims, await self._client.update(RESOURCE_CLAIMS, new))
            except NotFound:
                pass
        return DONE

    async def _uses(self, namespace: str, consumer: Obj) -> bool:
        """Before a pod that is not known is taken for gone, the API is asked: it may be new."""
        if not plan.is_pod(consumer):
            return True  # somebody else's, who takes it off
        name, uid = text(consumer, "name"), text(consumer, "uid")
        pod = self._pods.get(namespace, name)
        if pod is None or objects.uid(pod) != uid:
            try:
                pod = await self._client.get(PODS, name, namespace)
            except NotFound:
                return False
        return objects.uid(pod) == uid and not is_terminal(pod)

    def _owner_has_ended(self, claim: Obj) -> bool:
        owner = objects.controller_of(claim)
        if owner is None or owner["kind"] != "Pod" or owner["apiVersion"] != "v1":
            return False
        pod = self._pods.get(objects.namespace(claim), owner["name"])
        return pod is not None and objects.uid(pod) == owner["uid"] and is_terminal(pod)

    async def _write_status(self, claim: Obj) -> Obj:
        written = await self._client.update(RESOURCE_CLAIMS, claim, subresource="status")
        await observe(self._claims, written)
        return written


def _owner(claim: Obj) -> Iterable[str]:
    owner = objects.controller_of(claim)
    return (owner["uid"],) if owner is not None else ()


def _templates_of(pod: Obj) -> Iterable[str]:
    if not plan.wants_claims(pod):
        return ()
    namespace = objects.namespace(pod)
    waiting = (each for each in resourceclaims.claims_of_pod(pod) if each.template and not each.claim)
    return {f"{namespace}/{each.template}": None for each in waiting}
