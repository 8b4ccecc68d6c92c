"""Fills Secrets of type ``kubernetes.io/service-account-token`` (upstream: the token controller).

Such a Secret asks for a token of the account that its annotation names. The token is good while the Secret holds it
(``authn.legacy``). A Secret whose account is not there, or is another one by now, is deleted; an account that names a
Secret as its own names it no longer when that is gone.
It runs in the server because only the server can sign. One loop, level-triggered: changes only enqueue keys.
"""

from __future__ import annotations

import asyncio
import base64
import logging
from typing import Protocol

from sampan.api.errors import ApiError, Conflict, NotFound
from sampan.api.groups.core.secret import SERVICE_ACCOUNT_NAME
from sampan.api.resources import SECRETS, SERVICE_ACCOUNTS
from sampan.api.transport import Call, EventType, Transport
from sampan.api.types import Obj
from sampan.server.authn.legacy import SECRET_TYPE as TYPE
from sampan.server.reader import ObjectReader

log = logging.getLogger(__name__)

SERVICE_ACCOUNT_UID = "kubernetes.io/service-account.uid"
_RETRY_SECONDS = 1.0
_TRIES = 10

_Key = tuple[str, str]  # namespace and name of a Secret


class Issuer(Protocol):
    def lasting(self, account: Obj, secret_name: str) -> str: ...


class SecretTokens:
    """``ca`` is PEM text, "" when there is none. Invariant: ``_accounts`` names the account of each known Secret of
    the type. ``_gone`` names those of Secrets that were deleted, until the account has been looked at."""

    def __init__(self, issuer: Issuer, reader: ObjectReader, writer: Transport, ca: str) -> None:
        self._issuer, self._reader, self._writer, self._ca = issuer, reader, writer, ca
        self._accounts: dict[_Key, str] = {}
        self._gone: dict[_Key, str] = {}
        self._due: dict[_Key, int] = {}  # with the failures so far
        self._changed = asyncio.Event()

    async def run(self) -> None:
        """Runs until cancelled."""
        unsubscribers = [
            self._reader.subscribe(SECRETS, self._on_secret, keep=False),
            self._reader.subscribe(SERVICE_ACCOUNTS, self._on_account, keep=False),
        ]
        try:
            found = await self._writer.call(Call("GET", SECRETS.path(), {"fieldSelector": f"type={TYPE}"}))
            for secret in found.get("items") or ():
                self._note(secret)
            while True:
                await self._changed.wait()
                self._changed.clear()
                await self._sync_all()
        finally:
            for unsubscribe in unsubscribers:
                unsubscribe()

    def _on_secret(self, kind: EventType, secret: Obj, previous: Obj | None, revision: int) -> None:
        if secret.get("type") != TYPE:
            return
        if kind == "DELETED":
            key = _key(secret)
            self._gone[key] = self._accounts.pop(key, "")
            self._enqueue(key)
        else:
            self._note(secret)

    def _on_account(self, kind: EventType, account: Obj, previous: Obj | None, revision: int) -> None:
        if kind != "DELETED":
            return
        namespace, name = _key(account)
        for key, wanted in self._accounts.items():
            if wanted == name and key[0] == namespace:
                self._enqueue(key)

    def _note(self, secret: Obj) -> None:
        key = _key(secret)
        self._accounts[key] = (secret["metadata"].get("annotations") or {}).get(SERVICE_ACCOUNT_NAME, "")
        self._enqueue(key)

    def _enqueue(self, key: _Key) -> None:
        self._due[key] = 0
        self._changed.set()

    async def _sync_all(self) -> None:
        """One round; what failed is tried again a little later, and given up after some tries."""
        due, self._due = self._due, {}
        for key, failures in due.items():
            try:
                await self._sync(*key)
            except (Conflict, NotFound):
                self._due.setdefault(key, failures)  # somebody else changed it: look again
            except ApiError as error:
                log.warning("token of secret %s/%s: %s", *key, error)
                if failures < _TRIES:
                    self._due.setdefault(key, failures + 1)
                else:
                    self._gone.pop(key, None)
        if self._due:
            await asyncio.sleep(_RETRY_SECONDS)
            self._changed.set()

    async def _sync(self, namespace: str, name: str) -> None:
        """Raises ApiError."""
        path = SECRETS.path(namespace, name)
        secret = await self._reader.fresh(SECRETS, namespace, name)
        if secret is None:
            await self._forget(namespace, name)
            return
        self._gone.pop((namespace, name), None)
        if secret.get("type") != TYPE or secret["metadata"].get("deletionTimestamp"):
            return
        meta = secret["metadata"]
        annotations = meta.get("annotations") or {}
        account = await self._reader.fresh(SERVICE_ACCOUNTS, namespace, annotations.get(SERVICE_ACCOUNT_NAME, ""))
        uid = account["metadata"]["uid"] if account is not None else ""
        if account is None or annotations.get(SERVICE_ACCOUNT_UID, uid) != uid:
            preconditions = {"uid": meta["uid"], "resourceVersion": meta["resourceVersion"]}
            options = {"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": preconditions}
            await self._writer.call(Call("DELETE", path, body=options))
            return
        data = self._complete(secret, account)
        if data != (secret.get("data") or {}) or annotations.get(SERVICE_ACCOUNT_UID) != uid:
            metadata = {**meta, "annotations": {**annotations, SERVICE_ACCOUNT_UID: uid}}
            await self._writer.call(Call("PUT", path, body={**secret, "metadata": metadata, "data": data}))

    async def _forget(self, namespace: str, name: str) -> None:
        """The account of a Secret that is gone does not name it any more. Raises ApiError."""
        wanted = self._gone.get((namespace, name), "")
        account = await self._reader.fresh(SERVICE_ACCOUNTS, namespace, wanted) if wanted else None
        if account is not None:
            listed = account.get("secrets") or []
            kept = [reference for reference in listed if reference.get("name") != name]
            if len(kept) != len(listed):
                path = SERVICE_ACCOUNTS.path(namespace, wanted)
                await self._writer.call(Call("PUT", path, body={**account, "secrets": kept}))
        self._gone.pop((namespace, name), None)

    def _complete(self, secret: Obj, account: Obj) -> Obj:
        """What the Secret should hold."""
        meta, data = secret["metadata"], dict(secret.get("data") or {})
        if not data.get("namespace"):
            data["namespace"] = _encoded(meta["namespace"])
        if self._ca:
            data["ca.crt"] = _encoded(self._ca)
        if not data.get("token"):
            data["token"] = _encoded(self._issuer.lasting(account, meta["name"]))
        return data


def _key(obj: Obj) -> _Key:
    return obj["metadata"].get("namespace", ""), obj["metadata"]["name"]


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
