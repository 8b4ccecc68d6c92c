"""ServiceAccount: gives each new pod an account, that account's token volume and its image pull secrets.

The controller makes a namespace's default account right after the namespace; a pod that comes in between waits for it.
"""

from __future__ import annotations

import asyncio

import orjson

from sampan.api.clock import Random
from sampan.api.pods.origin import is_mirror
from sampan.api.pods.references import pod_references
from sampan.api.reading import part, parts, text
from sampan.api.resources import SERVICE_ACCOUNTS
from sampan.api.transport import EventType
from sampan.api.types import Obj
from sampan.server.admission.base import Plugin, is_for, refuse
from sampan.server.attributes import AdmissionAttributes
from sampan.server.reader import ObjectReader
from sampan.server.threads import paced

TOKEN_MOUNT_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"
_VOLUME_PREFIX = "kube-api-access-"
_SUFFIX_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
#: one hour, and seven seconds that tell these tokens from others (upstream's WarnOnlyBoundTokenExpirationPeriod)
_TOKEN_SECONDS = 3607
DEFAULT_ACCOUNT_WAIT_SECONDS = 1.0
_REMEMBERED, _LARGEST_REMEMBERED = 1024, 4096
_ENFORCE_SECRETS = "kubernetes.io/enforce-mountable-secrets"
_TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})


class ServiceAccount(Plugin):
    name = "ServiceAccount"
    resources = frozenset({("", "pods")})

    def __init__(self, reader: ObjectReader, random: Random) -> None:
        self._reader, self._random = reader, random
        #: accounts as they were last read, at which revision; at most ``_REMEMBERED``
        self._accounts: dict[tuple[str, str], tuple[int, Obj]] = {}

    async def admit(self, attributes: AdmissionAttributes) -> None:
        pod = attributes.obj
        if pod is None or not is_for(attributes, "pods", "CREATE"):
            return
        if is_mirror(pod):
            # Nothing is added to a mirror pod: it must stay what the node runs.
            await paced(attributes.request.heavy, _check_mirror, attributes, pod)
            return
        spec = pod.get("spec")
        if not isinstance(spec, dict):
            return  # validation's to say
        spec["serviceAccountName"] = spec.get("serviceAccountName") or "default"
        spec["serviceAccount"] = spec["serviceAccountName"]
        account = await self._account(attributes, spec["serviceAccountName"])
        if _wants_token(spec, account):
            await paced(attributes.request.heavy, self._mount_token, spec)
        if not spec.get("imagePullSecrets") and account.get("imagePullSecrets"):
            spec["imagePullSecrets"] = [dict(secret) for secret in parts(account, "imagePullSecrets")]

    async def validate(self, attributes: AdmissionAttributes) -> None:
        pod = attributes.obj
        if pod is None or not (is_for(attributes, "pods", "CREATE") or _adds_containers(attributes)):
            return
        adding = attributes.operation == "UPDATE"
        if is_mirror(pod) and not adding:
            await paced(attributes.request.heavy, _check_mirror, attributes, pod)
            return
        name = text(part(pod, "spec"), "serviceAccountName")
        if not name and adding:
            return
        if not name:
            raise refuse(attributes, f"no service account specified for pod {attributes.namespace}/{attributes.name}")
        account = await self._account(attributes, name)
        if part(part(account, "metadata"), "annotations").get(_ENFORCE_SECRETS) in _TRUE:
            spec = part(pod, "spec")
            seen = {"ephemeralContainers": spec.get("ephemeralContainers")} if adding else spec
            await paced(attributes.request.heavy, _limit_secrets, attributes, seen, account)

    async def _account(self, attributes: AdmissionAttributes, name: str) -> Obj:
        """Raises Forbidden when there is none, after a moment's patience with the default one."""
        found = self._known(attributes.namespace, name)
        found = found or await self._reader.fresh(SERVICE_ACCOUNTS, attributes.namespace, name)
        if found is None and name == "default":
            found = await self._made(attributes.namespace, name)
        if found is None:
            detail = (
                f'error looking up service account {attributes.namespace}/{name}: serviceaccount "{name}" not found'
            )
            raise refuse(attributes, detail)
        return found

    def _known(self, namespace: str, name: str) -> Obj | None:
        """The account as the cache has it, decoded once."""
        revision = self._reader.revision(SERVICE_ACCOUNTS, namespace, name)
        held = self._accounts.get((namespace, name))
        if held is not None and held[0] == revision:
            return held[1]
        found = self._reader.get(SERVICE_ACCOUNTS, namespace, name)
        if found is not None and len(orjson.dumps(found)) <= _LARGEST_REMEMBERED:
            if len(self._accounts) >= _REMEMBERED:
                self._accounts.clear()
            self._accounts[namespace, name] = (revision, found)
        return found

    async def _made(self, namespace: str, name: str) -> Obj | None:
        """The account, once it is made; None when that takes too long."""
        made: asyncio.Future[Obj] = asyncio.get_running_loop().create_future()

        def changed(event: EventType, obj: Obj, _previous: Obj | None, _revision: int) -> None:
            meta = part(obj, "metadata")
            wanted = (meta.get("namespace"), meta.get("name")) == (namespace, name)
            if wanted and event != "DELETED" and not made.done():
                made.set_result(obj)

        unsubscribe = self._reader.subscribe(SERVICE_ACCOUNTS, changed, keep=False)
        try:
            present = self._reader.get(SERVICE_ACCOUNTS, namespace, name)
            if present is not None:
                return present
            async with asyncio.timeout(DEFAULT_ACCOUNT_WAIT_SECONDS):
                return await made
        except TimeoutError:
            return None
        finally:
            unsubscribe()

    def _mount_token(self, spec: Obj) -> None:
        """Ephemeral containers get none: they come later, and then they mount what they name."""
        names = [text(volume, "name") for volume in parts(spec, "volumes")]
        present = [name for name in names if name.startswith(_VOLUME_PREFIX)]
        name = present[0] if present else self._free_name(set(names))
        mounted = False
        for key in ("initContainers", "containers"):
            for container in parts(spec, key):
                mounts = list(parts(container, "volumeMounts"))
                if not any(text(mount, "mountPath") == TOKEN_MOUNT_PATH for mount in mounts):
                    mount = {"name": name, "readOnly": True, "mountPath": TOKEN_MOUNT_PATH}
                    container["volumeMounts"] = [*mounts, mount]
                    mounted = True
        if mounted and not present:
            spec["volumes"] = [*parts(spec, "volumes"), token_volume(name)]

    def _free_name(self, taken: set[str]) -> str:
        while True:
            number, name = self._random.getrandbits(32), _VOLUME_PREFIX
            for _ in range(5):
                number, digit = divmod(number, len(_SUFFIX_ALPHABET))
                name += _SUFFIX_ALPHABET[digit]
            if name not in taken:
                return name


def _adds_containers(attributes: AdmissionAttributes) -> bool:
    kind = attributes.kind
    where = (kind.group, kind.plural, attributes.subresource)
    return where == ("", "pods", "ephemeralcontainers") and attributes.operation == "UPDATE"


def _check_mirror(attributes: AdmissionAttributes, pod: Obj) -> None:
    """Raises Forbidden."""
    if text(part(pod, "spec"), "serviceAccountName"):
        raise refuse(attributes, "a mirror pod may not reference service accounts")
    if any(resource == "secrets" for resource, _ in pod_references(pod)):
        raise refuse(attributes, "a mirror pod may not reference secrets")
    for volume in parts(part(pod, "spec"), "volumes"):
        for source in parts(part(volume, "projected"), "sources"):
            if source.get("serviceAccountToken") is not None:
                raise refuse(attributes, "a mirror pod may not use ServiceAccountToken volume projections")


def _limit_secrets(attributes: AdmissionAttributes, spec: Obj, account: Obj) -> None:
    """The pods of an account that asks for it use only the secrets that it lists. Raises Forbidden."""
    name = text(part(account, "metadata"), "name")
    allowed = {text(secret, "name") for secret in parts(account, "secrets")}
    pulls = {text(secret, "name") for secret in parts(account, "imagePullSecrets")}
    for volume in parts(spec, "volumes"):
        secret = text(part(volume, "secret"), "secretName")
        if secret and secret not in allowed:
            detail = f'volume with secret.secretName="{secret}" is not allowed because service account {name} does not reference that secret'  # noqa: E501 - upstream's sentence
            raise refuse(attributes, detail)
    for key, what in (("initContainers", "init container"), ("containers", "container")):
        for container in parts(spec, key):
            _limit_container(attributes, container, what, name, allowed)
    for container in parts(spec, "ephemeralContainers"):
        _limit_container(attributes, container, "ephemeral container", name, allowed)
    for index, reference in enumerate(parts(spec, "imagePullSecrets")):
        if text(reference, "name") not in pulls:
            detail = f'imagePullSecrets[{index}].name="{text(reference, "name")}" is not allowed because service account {name} does not reference that imagePullSecret'  # noqa: E501 - upstream's sentence
            raise refuse(attributes, detail)


def _limit_container(
    attributes: AdmissionAttributes, container: Obj, what: str, account: str, allowed: set[str]
) -> None:
    for variable in parts(container, "env"):
        secret = text(part(part(variable, "valueFrom"), "secretKeyRef"), "name")
        if secret and secret not in allowed:
            detail = f'{what} {text(container, "name")} with envVar {text(variable, "name")} referencing secret.secretName="{secret}" is not allowed because service account {account} does not reference that secret'  # noqa: E501 - upstream's sentence
            raise refuse(attributes, detail)
    for source in parts(container, "envFrom"):
        secret = text(part(source, "secretRef"), "name")
        if secret and secret not in allowed:
            detail = f'{what} {text(container, "name")} with envFrom referencing secret.secretName="{secret}" is not allowed because service account {account} does not reference that secret'  # noqa: E501 - upstream's sentence
            raise refuse(attributes, detail)


def token_volume(name: str) -> Obj:
    """The projected volume with token, cluster CA and namespace. Pure."""
    namespace = {"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}
    sources = [
        {"serviceAccountToken": {"expirationSeconds": _TOKEN_SECONDS, "path": "token"}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [namespace]}},
    ]
    return {"name": name, "projected": {"sources": sources, "defaultMode": 0o644}}


def _wants_token(spec: Obj, account: Obj) -> bool:
    for holder in (spec, account):
        wanted = holder.get("automountServiceAccountToken")
        if wanted is not None:
            return bool(wanted)
    return True
