"""Checks each generation of a ValidatingAdmissionPolicy once (``checking``), and tells what is wrong in its status."""

from __future__ import annotations

import asyncio
from importlib import import_module
from typing import Final

from sampan.api import objects
from sampan.api.errors import Conflict, NotFound
from sampan.api.reading import part
from sampan.api.resources import Resource
from sampan.api.types import Obj
from sampan.client.controller import DONE, Controller, Result, observe
from sampan.client.keys import ObjectKey, own_key
from sampan.controllers.context import Context

NAME = "validatingadmissionpolicy-status-controller"
POLICIES: Final = Resource(
    "admissionregistration.k8s.io", "v1", "validatingadmissionpolicies", "ValidatingAdmissionPolicy", False
)


class ValidatingAdmissionPolicyStatusController:
    def __init__(self, context: Context) -> None:
        self._client = context.client_for(NAME)
        self._policies = context.informers.informer(POLICIES)
        self._controller: Controller[ObjectKey] = Controller(NAME, self.sync, workers=1)
        self._controller.watch(self._policies, own_key)

    async def run(self) -> None:
        await self._controller.run()

    async def sync(self, key: ObjectKey) -> Result:
        policy = self._policies.get(*key)
        if policy is None or objects.is_deleting(policy):
            return DONE
        generation = policy["metadata"].get("generation", 0)
        if part(policy, "status").get("observedGeneration") == generation:
            return DONE
        # Late: few clusters have policies, and expressions are large.
        checking = await asyncio.to_thread(import_module, "sampan.controllers.validatingadmissionpolicystatus.checking")
        warnings = await checking.warnings_of(policy, self._client)
        new = objects.deep_copy(policy)
        checked: Obj = {"expressionWarnings": warnings} if warnings else {}
        new["status"] = {**part(new, "status"), "observedGeneration": generation, "typeChecking": checked}
        try:
            written = await self._client.update_status(POLICIES, new)
        except (Conflict, NotFound):
            return DONE  # whatever has changed brings it here again
        await observe(self._policies, written)
        return DONE
