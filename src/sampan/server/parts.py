"""Parts of an API server that its configuration decides: made here, put together by ``app``.

Nothing here starts anything or keeps it: a part has what it needs as arguments, and ``app`` orders start and stop.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Mapping

from cryptography.hazmat.primitives.asymmetric import ec

from sampan.api.features import Features
from sampan.metrics.families import Family
from sampan.server.aggregation.aggregator import AggregationConfig
from sampan.server.aggregation.services import ClusterAddresses, Endpoints, Resolver
from sampan.server.allocators.allocations import Allocations
from sampan.server.authn.jwt import SigningKey
from sampan.server.bootstrap.objects import BootstrapConfig
from sampan.server.config import ServerConfig
from sampan.server.extensions.room import Room, RoomForDefinitions
from sampan.server.extensions.status import CRDS
from sampan.server.hooks import Hooks
from sampan.server.kinds.adminaccess import AdminAccess
from sampan.server.kinds.phases import PhaseTimes
from sampan.server.openapi.files import OpenApiFiles
from sampan.server.pipeline import Limits
from sampan.server.streaming.handlers import StreamingHandlers
from sampan.server.streaming.tls import NodeTls
from sampan.server.surface import Surface, SurfaceReader
from sampan.server.tokens import OpenIdDocuments
from sampan.store.protocol import Store


def signing_key(config: ServerConfig) -> SigningKey:
    """Of tokens. Without a configured one it is made anew, and the tokens end with the server."""
    path = config.service_account_key
    if path is not None:
        return SigningKey.from_pem(path.read_bytes())
    return SigningKey(ec.generate_private_key(ec.SECP256R1()))


def openid_documents(config: ServerConfig, key: SigningKey) -> OpenIdDocuments:
    issuer = config.service_account_issuer
    return OpenIdDocuments(issuer, f"{issuer}/openid/v1/jwks", [key.verifying])


def openapi_files(config: ServerConfig) -> OpenApiFiles:
    return OpenApiFiles(
        config.data_dir / "openapi" if config.data_dir else None,
        options=(config.runtime_config, config.feature_gates),
    )


def allocations(config: ServerConfig, surface: Surface, store: Store, reader: SurfaceReader) -> Allocations:
    """Of the addresses and ports of Services."""
    return Allocations(
        surface,
        store,
        reader,
        config.service_cidr,
        config.node_port_range,
        clock=config.clock,
        random=config.random,
    )


def streaming(config: ServerConfig, reader: SurfaceReader, to_nodes: NodeTls) -> StreamingHandlers:
    """What goes on to nodes, pods and Services: exec, logs, proxies."""
    return StreamingHandlers(
        reader,
        to_nodes,
        config.random,
        allow_loopback=config.allow_loopback_proxy,
        simulated=config.simulated_nodes,
    )


def way_to_services(config: ServerConfig, reader: SurfaceReader) -> Resolver:
    """How webhooks and extension API servers are reached."""
    return Endpoints(reader, config.random) if config.aggregator_routing else ClusterAddresses(reader)


def aggregation_config(config: ServerConfig) -> AggregationConfig:
    return AggregationConfig(
        proxy_cert=config.proxy_client_cert,
        proxy_key=config.proxy_client_key,
        answer_seconds=config.request_timeout_seconds,
    )


def limits(config: ServerConfig) -> Limits:
    return Limits(
        reads=config.max_requests_inflight,
        writes=config.max_mutating_requests_inflight,
        timeout_seconds=config.request_timeout_seconds,
        write_timeout_seconds=config.write_timeout_seconds,
    )


def hooks(config: ServerConfig, reader: SurfaceReader, addresses: Allocations, room: Room) -> Hooks:
    """What writes of a kind do besides."""
    made = Hooks()
    made.register("", "services", addresses.hook)
    made.register(CRDS.group, CRDS.plural, RoomForDefinitions(room))
    made.register("", "persistentvolumes", PhaseTimes(config.clock))
    for plural, kind, nested in (
        ("resourceclaims", "ResourceClaim", False), ("resourceclaimtemplates", "ResourceClaimTemplate", True),
    ):  # fmt: skip
        made.register("resource.k8s.io", plural, AdminAccess(reader, kind, nested=nested))
    return made


def feature_metrics(features: Features) -> Callable[[], Iterable[Family]]:
    states = features.states()
    return lambda: [Family("gauge", "kubernetes_feature_enabled", "Feature gates", ("name", "stage"), states)]


def bootstrap_config(
    config: ServerConfig, advertise_address: str, port: int, front_proxy: Mapping[str, str], features: Features
) -> BootstrapConfig:
    """What the first objects of the cluster say of this server. Raises OSError."""
    cidrs = tuple(each.strip() for each in config.service_cidr.split(","))
    return BootstrapConfig(
        service_ip=str(ipaddress.ip_network(cidrs[0])[1]),
        service_cidrs=cidrs,
        advertise_address=advertise_address,
        port=port,
        client_ca=config.client_ca.read_text() if config.client_ca is not None else "",
        front_proxy=front_proxy,
        groups=features.enabled("GenericWorkload"),
    )
