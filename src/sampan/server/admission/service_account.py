"""ServiceAccount: gives each new pod an account, that account's token volume and its image pull secrets."""

from __future__ import annotations

import asyncio

from sampan.api.clock import Random
from sampan.api.resources import SERVICE_ACCOUNTS
from sampan.api.types import Obj
from sampan.server.admission.base import Plugin, is_for, refuse
from sampan.server.attributes import AdmissionAttributes
from sampan.server.authz.node import pod_containers, pod_references
from sampan.server.reader import ObjectReader

TOKEN_MOUNT_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"
MIRROR_ANNOTATION = "kubernetes.io/config.mirror"
_VOLUME_PREFIX = "kube-api-access-"
_SUFFIX_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
#: one hour, and seven seconds that tell these tokens from others (upstream's WarnOnlyBoundTokenExpirationPeriod)
_TOKEN_SECONDS = 3607
#: the controller makes the default account right after its namespace; a pod may come in between
_DEFAULT_ACCOUNT_TRIES, _DEFAULT_ACCOUNT_INTERVAL_SECONDS = 10, 0.1


class ServiceAccount(Plugin):
    name = "ServiceAccount"

    def __init__(self, reader: ObjectReader, random: Random) -> None:
        self._reader, self._random = reader, random

    async def admit(self, attributes: AdmissionAttributes) -> None:
        pod = attributes.obj
        if pod is None or not is_for(attributes, "pods", "CREATE") or _is_mirror(pod):
            return
        spec = pod["spec"]
        spec["serviceAccountName"] = spec.get("serviceAccountName") or "default"
        spec["serviceAccount"] = spec["serviceAccountName"]
        account = await self._account(attributes, spec["serviceAccountName"])
        if _wants_token(spec, account):
            self._mount_token(spec)
        if not spec.get("imagePullSecrets") and account.get("imagePullSecrets"):
            spec["imagePullSecrets"] = [dict(secret) for secret in account["imagePullSecrets"]]

    async def validate(self, attributes: AdmissionAttributes) -> None:
        pod = attributes.obj
        if pod is None or not is_for(attributes, "pods", "CREATE"):
            return
        if _is_mirror(pod):
            if pod["spec"].get("serviceAccountName"):
                raise refuse(attributes, "a mirror pod may not reference service accounts")
            if any(resource == "secrets" for resource, _ in pod_references(pod)):
                raise refuse(attributes, "a mirror pod may not reference secrets")
            return
        if not pod["spec"].get("serviceAccountName"):
            raise refuse(attributes, 'no service account specified for pod "' + attributes.name + '"')

    async def _account(self, attributes: AdmissionAttributes, name: str) -> Obj:
        found = self._reader.get(SERVICE_ACCOUNTS, attributes.namespace, name)
        tries = _DEFAULT_ACCOUNT_TRIES if name == "default" else 1
        for attempt in range(tries):
            if found is not None:
                return found
            if attempt:
                await asyncio.sleep(_DEFAULT_ACCOUNT_INTERVAL_SECONDS)
            found = await self._reader.fresh(SERVICE_ACCOUNTS, attributes.namespace, name)
        if found is None:
            detail = (
                f'error looking up service account {attributes.namespace}/{name}: serviceaccount "{name}" not found'
            )
            raise refuse(attributes, detail)
        return found

    def _mount_token(self, spec: Obj) -> None:
        volumes = spec.get("volumes") or []
        present = [volume["name"] for volume in volumes if volume["name"].startswith(_VOLUME_PREFIX)]
        name = present[0] if present else self._free_name({volume["name"] for volume in volumes})
        mounted = False
        for container in pod_containers(spec):
            mounts = container.get("volumeMounts") or []
            if not any(mount.get("mountPath") == TOKEN_MOUNT_PATH for mount in mounts):
                mount = {"name": name, "readOnly": True, "mountPath": TOKEN_MOUNT_PATH}
                container["volumeMounts"] = [*mounts, mount]
                mounted = True
        if mounted and not present:
            spec["volumes"] = [*volumes, token_volume(name)]

    def _free_name(self, taken: set[str]) -> str:
        while True:
            name = _VOLUME_PREFIX + "".join(self._random.choice(_SUFFIX_ALPHABET) for _ in range(5))
            if name not in taken:
                return name


def token_volume(name: str) -> Obj:
    """The projected volume with token, cluster CA and namespace. Pure."""
    namespace = {"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}
    sources = [
        {"serviceAccountToken": {"expirationSeconds": _TOKEN_SECONDS, "path": "token"}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [namespace]}},
    ]
    return {"name": name, "projected": {"sources": sources, "defaultMode": 0o644}}


def _is_mirror(pod: Obj) -> bool:
    return MIRROR_ANNOTATION in (pod["metadata"].get("annotations") or {})


def _wants_token(spec: Obj, account: Obj) -> bool:
    for holder in (spec, account):
        wanted = holder.get("automountServiceAccountToken")
        if wanted is not None:
            return bool(wanted)
    return True
