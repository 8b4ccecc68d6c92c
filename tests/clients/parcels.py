"""An operator as kopf's own quick start builds one: ``kopf run parcels.py``. tests/clients/test_kopf.py drives it.

A Parcel becomes a ConfigMap that follows it; a daemon and a timer watch over it, and its end leaves a note. Where
``PARCELS_CERTIFICATE`` names a certificate with its key, admission webhooks of it are served, too.
"""

from __future__ import annotations

import asyncio
import os
from typing import Any

import kopf
from kubernetes import client, config

KIND = ("operators.example.com", "v1", "parcels")


def core() -> client.CoreV1Api:
    return client.CoreV1Api()


@kopf.on.startup()
def configure(settings: kopf.OperatorSettings, **_: Any) -> None:
    config.load_kube_config()
    settings.posting.loggers = True
    certificate = os.environ.get("PARCELS_CERTIFICATE")
    if certificate:
        settings.admission.managed = "parcels.operators.example.com"
        settings.admission.server = kopf.WebhookServer(
            addr="127.0.0.1", port=0, certfile=certificate, pkeyfile=certificate, cafile=certificate
        )


@kopf.on.create(*KIND)
def create(spec: kopf.Spec, name: str, namespace: str | None, **_: Any) -> dict[str, str]:
    if not spec.get("to"):
        raise kopf.PermanentError("a parcel needs an address")
    child: dict[str, Any] = {"metadata": {"name": f"{name}-label"}, "data": {"to": spec["to"]}}
    kopf.adopt(child)
    made = core().create_namespaced_config_map(namespace, child)
    return {"label": made.metadata.name}


@kopf.on.field(*KIND, field="spec.to")
def readdress(old: Any, new: Any, name: str, namespace: str | None, **_: Any) -> None:
    if old is not None:
        core().patch_namespaced_config_map(f"{name}-label", namespace, {"data": {"to": new, "before": old}})


@kopf.on.update(*KIND)
def update(diff: kopf.Diff, **_: Any) -> dict[str, int]:
    return {"changes": len(diff)}


@kopf.on.delete(*KIND)
def delete(name: str, namespace: str | None, **_: Any) -> None:
    """Handlers may be called again: kopf lets the object go only if nobody changed it meanwhile, its timer included."""
    try:
        core().create_namespaced_config_map(namespace, {"metadata": {"name": f"{name}-delivered"}})
    except client.ApiException as error:
        if error.status != 409:
            raise


@kopf.daemon(*KIND, cancellation_timeout=5)
def follow(stopped: kopf.DaemonStopped, name: str, namespace: str | None, **_: Any) -> None:
    objects = client.CustomObjectsApi()
    objects.patch_namespaced_custom_object(*KIND[:2], namespace, KIND[2], name, {"status": {"followed": True}})
    while not stopped:
        stopped.wait(10)


@kopf.timer(*KIND, interval=0.3)
async def tick(patch: kopf.Patch, status: kopf.Status, **_: Any) -> None:
    if status.get("ticks", 0) < 3:
        patch.status["ticks"] = status.get("ticks", 0) + 1
    await asyncio.sleep(0)


if os.environ.get("PARCELS_CERTIFICATE"):

    @kopf.on.validate(*KIND)
    def weigh(spec: kopf.Spec, warnings: list[str], **_: Any) -> None:
        if spec.get("weight", 0) > 20:
            raise kopf.AdmissionError("no parcel is heavier than 20", code=422)
        if spec.get("weight", 0) > 10:
            warnings.append("this one is heavy")

    @kopf.on.mutate(*KIND, operation="CREATE")
    def stamp(patch: kopf.Patch, **_: Any) -> None:
        patch.meta.setdefault("labels", {})["stamped"] = "yes"
