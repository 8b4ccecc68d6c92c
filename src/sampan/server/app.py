"""The API server as a whole: composes storage, security, REST and transports, and orders start and stop.

``async with Server(config) as server`` is a running server. Start: store → caches → policy → socket → bootstrap objects
→ ``started``. Stop: not ready → no new connections → watches end → requests drain to a deadline → store closes.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self

from sampan import keeping
from sampan.api import enablement
from sampan.api.clock import random_uuid
from sampan.api.customresources import compile_version
from sampan.api.features import Features
from sampan.api.registry import registry
from sampan.api.resources import (
    LIMIT_RANGES,
    NAMESPACES,
    PRIORITY_CLASSES,
    RUNTIME_CLASSES,
    SERVICE_ACCOUNTS,
    STORAGE_CLASSES,
)
from sampan.api.transport import EventType
from sampan.api.types import Obj
from sampan.server import health, parts
from sampan.server.admission.chain import build_chain
from sampan.server.admission.configuration import load as admission_settings
from sampan.server.admission.namespace_lifecycle import NamespaceLifecycle
from sampan.server.admission.namespaced import inside_namespace
from sampan.server.admission.optional.namespaces import namespace_maker
from sampan.server.admission.quota.ledger import Ledger
from sampan.server.admission.quota.quotas import StoredQuotas
from sampan.server.admission.webhooks import webhook_plugins
from sampan.server.aggregation.aggregator import Aggregator
from sampan.server.aggregation.counting import copy_of
from sampan.server.aggregation.hosted import Hosted
from sampan.server.aggregation.openapi import AggregatedOpenApi
from sampan.server.aggregation.registering import Registrar
from sampan.server.aggregation.services import Resolver
from sampan.server.authn.bootstraptokens import BootstrapTokens
from sampan.server.authn.frontproxy import front_proxy
from sampan.server.authn.impersonation import impersonate
from sampan.server.authn.jwt import SigningKey
from sampan.server.authn.serviceaccount import ServiceAccountTokens
from sampan.server.authn.stage import AUTHENTICATED_GROUP, AuthenticationStage
from sampan.server.authn.uses import TokenUses
from sampan.server.authn.x509 import CertificateAuthenticator
from sampan.server.authz.aggregation import AggregationController
from sampan.server.authz.modes import authorizer_of
from sampan.server.authz.rbac import RbacAuthorizer
from sampan.server.authz.stage import authorize
from sampan.server.authz.union import PRIVILEGED_GROUP
from sampan.server.bootstrap.ensure import ensure
from sampan.server.bootstrap.keep import Keeper
from sampan.server.bootstrap.masterleases import MasterLeases
from sampan.server.bootstrap.objects import BootstrapConfig, is_private
from sampan.server.config import ServerConfig
from sampan.server.discovery.handlers import DiscoveryHandlers
from sampan.server.discovery.openapi import OpenApi, OpenApiHandlers
from sampan.server.discovery.router import Answer, NonResourceHandlers
from sampan.server.extensions.controller import Extensions
from sampan.server.flowheaders import FlowHeaders
from sampan.server.horizon import INTERVAL_SECONDS, Horizon
from sampan.server.http import HttpServer, TlsFiles
from sampan.server.kinds import OWN_VERBS
from sampan.server.kinds.computed import review
from sampan.server.kinds.quotas import quota_status
from sampan.server.lists import ListMemo
from sampan.server.local import LocalTransport
from sampan.server.metrics import Metrics
from sampan.server.observed import ServerState, own_address
from sampan.server.openapi.files import OpenApiFiles
from sampan.server.openapi.merged import MergedOpenApi
from sampan.server.opening import open_store
from sampan.server.pipeline import Pipeline, Stages
from sampan.server.progress import Progress
from sampan.server.readnow import ReadsNow, no_fault
from sampan.server.render import Renderer
from sampan.server.request import Handler, Request, UserInfo
from sampan.server.resourcemetrics.api import ResourceMetricsApi
from sampan.server.resourcemetrics.scraper import Scraper
from sampan.server.rest import router
from sampan.server.rest.context import Connector, RestContext, anywhere
from sampan.server.reviews import Reviewer
from sampan.server.secrettokens import SecretTokens
from sampan.server.streaming.tls import NodeTls, node_tls
from sampan.server.surface import Surface, SurfaceReader, Surfaces
from sampan.server.tokens import TokenIssuer
from sampan.server.watching import Watching
from sampan.server.webhooks.client import WebhookClient
from sampan.server.write import SERVER_USER
from sampan.store.footprint import Footprint
from sampan.store.protocol import Store, StoreError

log = logging.getLogger(__name__)

#: the server's own identity towards itself
LOOPBACK_USER = UserInfo(SERVER_USER, (PRIVILEGED_GROUP, AUTHENTICATED_GROUP))
DEFAULT_PORT = 6443
#: what a request waits for definitions to be served that another server stored
SETTLE_SECONDS = 3.0
#: what nearly every write is checked against: kept decoded, for it is few and asked for all the time
_ASKED_BY_POLICY = (NAMESPACES, SERVICE_ACCOUNTS, LIMIT_RANGES, PRIORITY_CLASSES, RUNTIME_CLASSES, STORAGE_CLASSES)


def _only_keep(kind: EventType, obj: Obj, previous: Obj | None, revision: int) -> None:
    """Follows a cache so that it keeps its objects."""


class Server:
    """``openapi`` replaces the OpenAPI documents that the server builds, ``store`` the configured store (what-if),
    ``services`` the way to Services (tests)."""

    def __init__(
        self,
        config: ServerConfig | None = None,
        *,
        store: Store | None = None,
        openapi: OpenApi | None = None,
        services: Resolver | None = None,
    ) -> None:
        self.config = config or ServerConfig(port=0, bind_address="127.0.0.1")
        #: set once requests are answered and the bootstrap objects are there
        self.started = asyncio.Event()
        #: set when the store can write no more: the process should end
        self.fatal = asyncio.Event()
        self.health = health.Health()
        self.metrics = Metrics()
        #: what else in this process answers paths that are no resources
        self.documents: dict[str, Answer] = {}
        #: (host, port) that is listened on
        self.address: tuple[str, int] = ("", 0)
        self.store: Store | None = store
        self._openapi = openapi
        self._services = services
        self._openapi_files: OpenApiFiles | None = None
        self.watching = Watching(self.config.clock)
        #: what runs inside of this server: its own loops and, in branches, what its owner adds
        self.components = keeping.Keeper(clock=self.config.clock)
        self._horizon = Horizon()
        self._lists = ListMemo()
        self._tls: TlsFiles | None = None
        self._to_nodes: NodeTls | None = None
        self._http: HttpServer | None = None
        #: None: nobody else writes the store
        self._progress: Progress | None = None
        self._connect: dict[tuple[str, str, str], Connector] = {}
        self._exit = AsyncExitStack()

    # -- what others use -----------------------------------------------------------------------------------------

    @property
    def handler(self) -> Handler:
        """The whole pipeline, as transports call it."""
        return self._pipeline.handle

    @property
    def url(self) -> str:
        host, port = self.address
        host = "127.0.0.1" if host in ("0.0.0.0", "") else "[::1]" if host == "::" else host
        return f"{'https' if self._tls else 'http'}://{host}:{port}"

    @property
    def surface(self) -> Surface:
        """What is served at the moment."""
        return self._surfaces.current

    @property
    def reader(self) -> SurfaceReader:
        return self._reader

    def local_transport(self, user: str = LOOPBACK_USER.name, groups: tuple[str, ...] | None = None) -> LocalTransport:
        """A transport for a component of this process. Service accounts get their groups; ``groups`` adds others."""
        if groups is None:
            groups = LOOPBACK_USER.groups if user == LOOPBACK_USER.name else ()
        if user.startswith("system:serviceaccount:"):
            groups = (*groups, "system:serviceaccounts", f"system:serviceaccounts:{user.split(':')[2]}")
        groups = tuple(dict.fromkeys((*groups, AUTHENTICATED_GROUP)))
        return LocalTransport(self._pipeline, self._surfaces, self.watching, UserInfo(user, groups))

    def connect(
        self, group: str, resource: str, subresource: str, handler: Handler, options: Callable[[Request], Obj | None]
    ) -> None:
        """Serves a streaming subresource (pods/exec ...) with ``handler``; ``options`` is what admission sees of it."""
        self._connect[group, resource, subresource] = Connector(handler, options)

    def reload_certificates(self) -> None:
        """New connections get the certificate files as they are now. Raises OSError, ValueError (ssl.SSLError)."""
        if self._tls is not None:
            self._tls.reload()
        if self._front is not None:
            self._front.reload()
        if self._to_nodes is not None:
            self._to_nodes.reload()
        self._aggregator.forget_certificates()

    async def listen(self) -> None:
        """Opens a socket of a server that was made without one, for as long as the process lives: in the copy of a
        process that was prepared (``prepare_to_listen``) and then forked. ``address`` tells which."""
        await self._open_socket()

    def prepare_to_listen(self) -> HttpServer:
        """Reads certificates: most of what ``listen`` costs. Raises OSError, ValueError (ssl.SSLError)."""
        config = self.config
        if config.tls_cert is not None and config.tls_key is not None:
            self._tls = TlsFiles(
                config.tls_cert, config.tls_key, config.client_ca, *filter(None, [config.requestheader_client_ca])
            )
        self._http = HttpServer(self._pipeline, self._tls.context if self._tls else None)
        return self._http

    async def _open_socket(self) -> HttpServer:
        http = self._http or self.prepare_to_listen()
        self.address = await http.start(self.config.bind_address, self.config.port)
        return http

    # -- life ----------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:  # unwinds what has been started when the rest cannot be
            await self._start(stack)
            self._exit = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._exit.aclose()

    async def _start(self, stack: AsyncExitStack) -> None:
        """Enters what has to be ended, in the order in which each needs the ones before it."""
        config = self.config
        self.features = Features.parse(config.feature_gates)
        self._kinds = enablement.served(registry(), config.runtime_config, self.features)
        if idle := self.features.without_effect(enablement.acting(registry())):
            log.warning("feature gates that change nothing here: %s", ", ".join(idle))
        if self.store is None:
            self.store = await self.open_store()
        stack.push_async_callback(self.store.close)
        self.health.add_store()
        self.health.add_steps(health.CACHES, health.DEFINITIONS, *(health.BOOTSTRAP if config.bootstrap else ()))
        self._surfaces = Surfaces(Surface.build(self._kinds, self.store), self.watching.drop)
        # Not before the last request: an empty cache would say 404 to it.
        stack.callback(self._surfaces.close)
        await self._surfaces.start()
        self.health.finish(health.CACHES)
        self._reader = SurfaceReader(self._surfaces)
        for resource in _ASKED_BY_POLICY:
            self._reader.subscribe(resource, _only_keep)
        self.allocations = parts.allocations(config, self._surfaces.current, self.store, self._reader)
        stack.callback(self.allocations.close)
        await self.allocations.start()
        if self._openapi is None and config.openapi:
            self._openapi = self._openapi_files = parts.openapi_files(config)
        self._webhooks = WebhookClient(self._way_to_services())
        stack.push_async_callback(self._webhooks.close)
        extensions = Extensions(
            self._surfaces,
            self._kinds,
            self.store,
            config.clock,
            compile_version,
            self._webhooks,
            lambda: random_uuid(config.random),
        )
        self._extensions, self._room = extensions, extensions.room
        if self.shares_store:
            self._progress = Progress(self.store, self._surfaces, self.watching.end_all)
            stack.callback(self._progress.close)
            for name in ("etcd", "etcd-readiness"):  # not livez: a new process would hear no more of the store
                self.health.add(name, lambda: self._progress.fault if self._progress else None, ("readyz",))
        await extensions.load()
        self.health.finish(health.DEFINITIONS)
        if self._openapi is not None:
            folder = config.data_dir / "openapi" / "custom" if config.data_dir else None
            self._openapi = merged = MergedOpenApi(self._openapi, extensions, folder)
            stack.callback(merged.close)
        self._compose(stack)
        if config.listen:
            http = await self._open_socket()
            stack.push_async_callback(http.close, config.shutdown_timeout_seconds)
            stack.callback(self.watching.stop)
            stack.push_async_callback(self.components.close)
            stack.callback(http.stop_listening)
        else:
            stack.callback(self.watching.stop)
            stack.push_async_callback(self.components.close)
        stack.callback(self._not_ready)
        loopback = self.local_transport()
        self.components.keep("serve custom resources", lambda: extensions.run(loopback))
        if config.bootstrap:
            bootstrap = self._bootstrap_config()
            await ensure(loopback, bootstrap, shared=self.shares_store)
            self.health.finish(*health.BOOTSTRAP)
            leases = self._master_leases() if self.shares_store else None
            keeper = Keeper(loopback, bootstrap, config.clock, self._reader, leases)
            self.components.keep("keep what the cluster needs", keeper.run)
            stack.push_async_callback(self._leave, keeper)
        if self._progress is not None:
            self.components.keep("keep up with the store", self._progress.run)
        self._flow.follow()
        self.components.keep("aggregate cluster roles", AggregationController(self._reader, loopback).run)
        self.components.keep("age resource versions", self._age_versions)
        self.components.keep("look after API services", lambda: self._aggregator.run(loopback))
        if config.bootstrap:
            offered = self._aggregator.hosted.api_services()
            registrar = Registrar(self._reader, loopback, config.clock, self._kinds.today().groups(), offered)
            self.components.keep("register API services", registrar.run)
        self.components.keep("look at what nodes use", self.scraper.run)
        footprint = Footprint(
            self.store, forget=self._lists.forget_unused, interval_seconds=config.footprint_interval_seconds
        )
        self.components.keep("give memory back", footprint.run)
        secret_tokens = SecretTokens(self._issuer, self._reader, loopback, self._bootstrap_config().client_ca)
        self.components.keep("fill secrets with tokens", secret_tokens.run)
        self.components.keep("note the use of tokens in secrets", lambda: self._token_uses.run(loopback))
        self.components.keep("repair addresses and ports", lambda: self.allocations.run(loopback))
        if self._openapi_files is not None:
            self.components.keep("build OpenAPI", self._openapi_files.run)
        self.started.set()

    @property
    def shares_store(self) -> bool:
        """Other API servers may write the same store."""
        assert self.store is not None
        return self.store.sync_now() is None

    def _master_leases(self) -> MasterLeases:
        assert self.store is not None
        address = self._advertise_address()
        return MasterLeases(self.store, "" if is_private(address) else address)

    async def _leave(self, keeper: Keeper) -> None:
        self._not_ready()
        await keeper.leave()

    def _not_ready(self) -> None:
        self.health.shutting_down = True
        self.started.clear()

    async def _age_versions(self) -> None:
        while True:
            await asyncio.sleep(INTERVAL_SECONDS)
            assert self.store is not None
            self._horizon.tick(self.store.revision)

    async def open_store(self) -> Store:
        """The store that the configuration names. Raises StoreUnavailable, ValueError."""
        return await open_store(self.config, self._on_fatal)

    def _on_fatal(self, error: StoreError) -> None:
        log.critical("the store can write no more, the server must end: %s", error)
        self.health.add_store(fault=str(error))
        self.fatal.set()

    # -- composition ---------------------------------------------------------------------------------------------

    def _compose(self, stack: AsyncExitStack) -> None:
        config, reader = self.config, self._reader
        key = parts.signing_key(config)
        audiences = config.api_audiences or (config.service_account_issuer,)
        self._token_uses = TokenUses(config.clock)
        self.metrics.include(self._token_uses.copy)
        tokens = ServiceAccountTokens(
            [key.verifying], [config.service_account_issuer], audiences, reader, config.clock, self._token_uses
        )
        self._front = front_proxy(config)
        self._flow = FlowHeaders(reader)
        authentication = AuthenticationStage(
            CertificateAuthenticator(config.clock),
            tokens,
            anonymous=config.anonymous_auth,
            front=self._front,
            bootstrap=BootstrapTokens(reader, config.clock),
        )
        rbac = RbacAuthorizer(reader)
        authorizer = authorizer_of(config.authorization_modes, reader, rbac)
        to_nodes = self._to_nodes = node_tls(config.kubelet_client_cert, config.kubelet_client_key, config.kubelet_ca)
        streaming = parts.streaming(config, reader, to_nodes)
        stack.push_async_callback(streaming.close)
        streaming.register(self.connect)
        self.scraper = Scraper(
            reader,
            to_nodes.kubelet,
            config.clock,
            lambda: self._aggregator.hosted.serves(metrics_api.group),
            dials=config.listen,
        )
        metrics_api = ResourceMetricsApi(reader, config.clock, self.scraper.looks)
        self._aggregator = Aggregator(
            parts.aggregation_config(config),
            reader,
            self._way_to_services(),
            config.clock,
            self._kinds.groups(),
            Hosted([metrics_api]),
        )
        stack.push_async_callback(self._aggregator.close)
        stack.callback(self._aggregator.follow())
        self.metrics.include(lambda: copy_of(self._aggregator.remotes))
        self._issuer = TokenIssuer(key, config.service_account_issuer, audiences, reader, config.clock, config.random)
        settings = admission_settings(config.admission_config)
        self._webhooks.credentials = settings.webhook_credentials
        ledger = Ledger(StoredQuotas(self._surfaces, reader), config.clock, settings.quota.limited)
        context = self._context = RestContext(
            config.clock,
            config.random,
            admission=build_chain(
                reader,
                authorizer,
                rbac,
                config.random,
                enable=config.enable_admission_plugins,
                disable=config.disable_admission_plugins,
                webhooks=webhook_plugins(reader, self._webhooks, authorizer, config.random, self.metrics),
                settings=settings,
                make_namespace=namespace_maker(self.local_transport),
                kinds=self._kinds,
                ledger=ledger,
            ),
            inside=anywhere if NamespaceLifecycle.name in config.disable_admission_plugins else inside_namespace,
            authorizer=authorizer,
            hooks=parts.hooks(config, reader, self.allocations, self._room),
            tokens=self._issuer,
            reviews=Reviewer(authentication, authorizer, rbac, config.clock),
            horizon=self._horizon,
            connect=self._connect,
            own_verbs={**OWN_VERBS, ("", "resourcequotas", "status"): quota_status(ledger)},
            review=review,
        )
        progress = self._progress
        catch_up = self._catch_up if progress is not None else None
        self._pipeline = Pipeline(
            Stages(
                surfaces=self._surfaces,
                authenticate=authentication.apply,
                impersonate=lambda request: impersonate(request, authorizer),
                authorize=lambda request: authorize(request, authorizer, catch_up),
                resources=lambda request: router.serve(context, request),
                non_resources=self._non_resource_handlers(key).handle,
                observer=self.metrics,
                aggregator=self._aggregator,
                catch_up=catch_up,
                check=progress.check if progress is not None else None,
                flow_headers=self._flow.of,
                json_head=self._flow.json_head,
                renderer=Renderer(config.clock, self._lists, self.watching),
            ),
            parts.limits(config),
            config.random,
            ReadsNow(
                surfaces=self._surfaces,
                authentication=authentication,
                authorizer=authorizer,
                lists=self._lists,
                random=config.random,
                head=self._flow.json_head,
                observe=self.metrics.observe_labels,
                others=self._aggregator.remotes.by_version,
                fault=(lambda: progress.fault) if progress is not None else no_fault,
            ),
        )
        self.metrics.include(lambda: parts.feature_metrics(self.features))
        self.metrics.follow(ServerState(self._pipeline, self.watching, self.components, lambda: self.surface))
        self.health.add("started", lambda: None if self.started.is_set() else "the server is starting", ("readyz",))

    async def _catch_up(self) -> None:
        """Returns once this server serves what was stored before the call. Raises StoreUnavailable, TimeoutError."""
        assert self._progress is not None
        await self._progress.catch_up()
        await self._extensions.settled(SETTLE_SECONDS)

    def _way_to_services(self) -> Resolver:
        return self._services if self._services is not None else parts.way_to_services(self.config, self._reader)

    def _non_resource_handlers(self, key: SigningKey) -> NonResourceHandlers:
        discovery = DiscoveryHandlers(lambda: f"{self._advertise_address()}:{self.address[1]}", self._aggregator)
        openid = parts.openid_documents(self.config, key)
        documents = AggregatedOpenApi(self._openapi, self._aggregator) if self._openapi is not None else None
        openapi = OpenApiHandlers(documents) if documents is not None else None
        return NonResourceHandlers(discovery, self.health, self.metrics, openid, openapi, self.documents)

    def _advertise_address(self) -> str:
        return self.config.advertise_address or own_address(self.address[0])

    def _bootstrap_config(self) -> BootstrapConfig:
        published = self._front.published() if self._front is not None else {}
        port = self.address[1] or self.config.port or DEFAULT_PORT
        return parts.bootstrap_config(self.config, self._advertise_address(), port, published, self.features)


__all__ = ["LOOPBACK_USER", "Server"]
