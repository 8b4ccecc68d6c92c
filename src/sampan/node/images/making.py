"""The image manager of a node, made of the node's settings: whom it asks for credentials, how many pulls at once."""

from __future__ import annotations

import logging
from typing import Protocol

from sampan.api.resources import SERVICE_ACCOUNTS
from sampan.api.types import Obj
from sampan.client.client import Client
from sampan.node import runtime
from sampan.node.config import NodeConfig
from sampan.node.images.manager import ImageManager
from sampan.node.images.provider_config import ProviderConfigError, load
from sampan.node.images.providers import CredentialProviders
from sampan.node.images.pulls import Pace
from sampan.node.images.records import RecordStore
from sampan.node.images.verification import Verification

log = logging.getLogger(__name__)


class Token(Protocol):
    @property
    def value(self) -> str: ...


class TokenSource(Protocol):
    """Of the part of the node that has tokens for pods."""

    async def token(self, pod: Obj, audiences: tuple[str, ...], expiration_seconds: int) -> Token:
        """Raises ApiError."""
        ...


class ClientAccounts:
    """Implements ``providers.Accounts``."""

    def __init__(self, client: Client, tokens: TokenSource) -> None:
        self._client, self._tokens = client, tokens

    async def account(self, namespace: str, name: str) -> Obj:
        return await self._client.get(SERVICE_ACCOUNTS, name, namespace)

    async def token(self, pod: Obj, audience: str, seconds: int) -> str:
        return (await self._tokens.token(pod, (audience,), seconds)).value


def image_manager(
    config: NodeConfig, source: runtime.ImageRuntime, client: Client, tokens: TokenSource, records: RecordStore | None
) -> ImageManager:
    """``records`` None: who may use an image is forgotten with the agent."""
    return ImageManager(
        source,
        records=records,
        providers=_providers(config, client, tokens),
        pace=Pace(
            at_once=1 if config.serialize_image_pulls else config.max_parallel_image_pulls,
            per_second=config.registry_pull_qps,
            burst=config.registry_burst,
        ),
        verification=Verification(config.image_pull_verification, config.preloaded_images_allowlist),
    )


def _providers(config: NodeConfig, client: Client, tokens: TokenSource) -> CredentialProviders | None:
    """``up`` refuses a file that cannot be read; one that was spoiled since then costs the node its providers alone."""
    if config.image_credential_providers is None or config.image_credential_programs is None:
        return None
    try:
        found = load(config.image_credential_providers, config.image_credential_programs)
    except ProviderConfigError as error:
        log.error("credential providers are not asked: %s", error)
        return None
    return CredentialProviders(found, ClientAccounts(client, tokens))
