"""The kubelet's credential providers: programs that know credentials for images, asked when a pod pulls one.

Used by ``manager.ImageManager``, on one event loop. What a program said is kept as long as it asked for, in memory. A
program that fails gives no credentials, and its fault to the log: the pull goes on without.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import orjson

from sampan.api import durations
from sampan.api.errors import ApiError
from sampan.api.types import Obj
from sampan.client import tasks
from sampan.node import runtime
from sampan.node.images import helpers
from sampan.node.images.keyring import Credential, matches, select
from sampan.node.images.provider_config import Provider, TokenAttributes
from sampan.records import dataclass

log = logging.getLogger(__name__)

_ANSWER_SECONDS = 60.0
_AT_ONCE = 8
_KEPT = 1000
_TOKEN_SECONDS = 3600
_CACHE_KEYS = ("Image", "Registry", "Global")

_Auths = dict[str, runtime.RegistryAuth]
Ask = Callable[[Provider, Obj], Awaitable[bytes]]


class Accounts(Protocol):
    """The ServiceAccounts of pods. Both raise ApiError."""

    async def account(self, namespace: str, name: str) -> Obj: ...
    async def token(self, pod: Obj, audience: str, seconds: int) -> str: ...


@dataclass(frozen=True, slots=True)
class _Kept:
    auths: _Auths
    until: float


@dataclass(frozen=True, slots=True)
class _Identity:
    """Of the pod's account, for providers that work with it. ``key``: tells it apart in the cache."""

    token: str = ""
    annotations: tuple[tuple[str, str], ...] = ()
    key: str = ""
    uid: str = ""
    namespace: str = ""
    name: str = ""


class BadAnswerError(ValueError):
    """What a program said is no CredentialProviderResponse; the message holds nothing of it."""


class CredentialProviders:
    """Invariant: a program is asked once at a time for the same image and account; answers kept are bounded."""

    def __init__(self, providers: list[Provider], accounts: Accounts, *, ask: Ask | None = None) -> None:
        self._providers = providers
        self._accounts = accounts
        self._ask = ask or _run
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._kept: OrderedDict[tuple[str, str, str], _Kept] = OrderedDict()
        self._asking: dict[tuple[str, str, str], asyncio.Task[_Auths | Exception]] = {}

    async def credentials(self, pod: Obj, repository: str) -> list[Credential]:
        """``repository``: an image's name without tag. In the providers' order; nothing where none knows it."""
        found: list[Credential] = []
        for provider in self._providers:
            if any(matches(pattern, repository) for pattern in provider.match_images):
                try:
                    found += await self._of(provider, pod, repository)
                except (helpers.HelperError, BadAnswerError, ApiError) as error:
                    log.warning("credential provider %s for %s: %s", provider.name, repository, error)
        return list(dict.fromkeys(found))

    async def _of(self, provider: Provider, pod: Obj, repository: str) -> list[Credential]:
        identity = await self._identify(provider.token, pod) if provider.token else _Identity()
        if identity is None:
            return []
        auths = self._recall(provider, repository, identity)
        if auths is None:
            auths = await self._asked(provider, repository, identity)
        by_registry = {
            registry: [Credential(auth, identity.uid, identity.namespace, identity.name, of_node=not identity.uid)]
            for registry, auth in auths.items()
        }
        return select(repository, by_registry)

    async def _identify(self, wanted: TokenAttributes, pod: Obj) -> _Identity | None:
        """None: the pod has no account, or not one that the provider is for. Raises ApiError."""
        namespace, name = pod["metadata"]["namespace"], pod["spec"].get("serviceAccountName") or ""
        if not name:
            return None if wanted.require_account else _Identity()
        account = await self._accounts.account(namespace, name)
        has = account["metadata"].get("annotations") or {}
        if any(key not in has for key in wanted.required_annotations):
            return None
        shown = tuple(
            (key, has[key]) for key in (*wanted.required_annotations, *wanted.optional_annotations) if key in has
        )
        token = await self._accounts.token(pod, wanted.audience, _TOKEN_SECONDS)
        uid = account["metadata"].get("uid", "")
        told: list[Any] = [namespace, name, uid, shown]
        if wanted.cache_type == "Token":
            told.append(token)
        return _Identity(token, shown, hashlib.sha256(orjson.dumps(told)).hexdigest(), uid, namespace, name)

    def _recall(self, provider: Provider, repository: str, identity: _Identity) -> _Auths | None:
        now = asyncio.get_running_loop().time()
        for kind in _CACHE_KEYS:
            key = (provider.name, _cache_key(kind, repository), identity.key)
            kept = self._kept.get(key)
            if kept is not None and now < kept.until:
                self._kept.move_to_end(key)
                return kept.auths
            self._kept.pop(key, None)
        return None

    async def _asked(self, provider: Provider, repository: str, identity: _Identity) -> _Auths:
        key = (provider.name, repository, identity.key)
        task = self._asking.get(key)
        if task is None:
            task = tasks.detach(self._question(provider, repository, identity), f"credentials of {provider.name}")
            self._asking[key] = task
            task.add_done_callback(lambda _: self._asking.pop(key, None))
        outcome = await asyncio.shield(task)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def _question(self, provider: Provider, repository: str, identity: _Identity) -> _Auths | Exception:
        """A failure is returned: it is for those who wait, and no bug of a task."""
        request: Obj = {
            "kind": "CredentialProviderRequest", "apiVersion": provider.api_version, "image": repository,
        }  # fmt: skip
        if identity.token:
            request |= {"serviceAccountToken": identity.token, "serviceAccountAnnotations": dict(identity.annotations)}
        try:
            async with self._slots:
                said = await self._ask(provider, request)
            auths, kind, seconds = read_answer(said, provider)
        except (helpers.HelperError, BadAnswerError) as error:
            return error
        if seconds > 0:
            key = (provider.name, _cache_key(kind, repository), identity.key)
            self._kept[key] = _Kept(auths, asyncio.get_running_loop().time() + seconds)
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        return auths


async def _run(provider: Provider, request: Obj) -> bytes:
    words = (str(provider.program), *provider.args)
    return await helpers.ask(words, orjson.dumps(request), seconds=_ANSWER_SECONDS, environment=dict(provider.env))


def _cache_key(kind: str, repository: str) -> str:
    if kind == "Global":
        return "global"
    return repository if kind == "Image" else repository.partition("/")[0]


def read_answer(said: bytes, provider: Provider) -> tuple[_Auths, str, float]:
    """Credentials by registry, what they may be kept for, and for how many seconds. Pure. Raises BadAnswerError."""
    try:
        answer = orjson.loads(said)
    except ValueError:
        raise BadAnswerError("its answer is not JSON") from None
    if not isinstance(answer, dict) or answer.get("kind") != "CredentialProviderResponse":
        raise BadAnswerError("its answer is no CredentialProviderResponse")
    if answer.get("apiVersion") != provider.api_version:
        raise BadAnswerError(f"its answer is not of version {provider.api_version}")
    kind = answer.get("cacheKeyType")
    if kind not in _CACHE_KEYS:
        raise BadAnswerError("cacheKeyType of its answer is none of Image, Registry and Global")
    duration, seconds = answer.get("cacheDuration"), provider.cache_seconds
    if duration is not None:
        try:
            seconds = durations.parse(duration if isinstance(duration, str) else "")
        except ValueError:
            raise BadAnswerError("cacheDuration of its answer is no duration") from None
    auth = answer.get("auth") or {}
    if not isinstance(auth, dict) or not all(_is_auth(each) for each in auth.values()):
        raise BadAnswerError("auth of its answer is no map from registries to user names and passwords")
    found = {
        key: runtime.RegistryAuth(each.get("username", ""), each.get("password", "")) for key, each in auth.items()
    }
    return found, kind, seconds


def _is_auth(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(value.get(name, ""), str) for name in ("username", "password"))
