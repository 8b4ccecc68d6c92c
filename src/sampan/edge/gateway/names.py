"""Names that the Gateway API and this controller are known by. Pure."""

from __future__ import annotations

from typing import Final

from sampan.api.resources import Resource

GROUP: Final = "gateway.networking.k8s.io"
CLASS_NAME: Final = "sampan"
CONTROLLER: Final = "sampan.io/gateway-controller"

GATEWAY_CLASSES: Final = Resource(GROUP, "v1", "gatewayclasses", "GatewayClass", False)
GATEWAYS: Final = Resource(GROUP, "v1", "gateways", "Gateway", True)
HTTP_ROUTES: Final = Resource(GROUP, "v1", "httproutes", "HTTPRoute", True)
GRPC_ROUTES: Final = Resource(GROUP, "v1", "grpcroutes", "GRPCRoute", True)
TLS_ROUTES: Final = Resource(GROUP, "v1", "tlsroutes", "TLSRoute", True)
BACKEND_TLS_POLICIES: Final = Resource(GROUP, "v1", "backendtlspolicies", "BackendTLSPolicy", True)
REFERENCE_GRANTS: Final = Resource(GROUP, "v1beta1", "referencegrants", "ReferenceGrant", True)

#: all that is followed, by kind
RESOURCES: Final = {
    each.kind: each
    for each in (
        GATEWAY_CLASSES,
        GATEWAYS,
        HTTP_ROUTES,
        GRPC_ROUTES,
        TLS_ROUTES,
        BACKEND_TLS_POLICIES,
        REFERENCE_GRANTS,
    )
}
ROUTE_KINDS: Final = ("HTTPRoute", "GRPCRoute", "TLSRoute")

#: What conformance calls the features that are there, in order.
FEATURES: Final = (
    "GRPCRoute",
    "Gateway",
    "GatewayHTTPListenerIsolation",
    "GatewayPort8080",
    "GatewayStaticAddresses",
    "HTTPRoute",
    "HTTPRoute303RedirectStatusCode",
    "HTTPRoute307RedirectStatusCode",
    "HTTPRoute308RedirectStatusCode",
    "HTTPRouteBackendProtocolH2C",
    "HTTPRouteBackendProtocolWebSocket",
    "HTTPRouteBackendRequestHeaderModification",
    "HTTPRouteBackendTimeout",
    "HTTPRouteCORS",
    "HTTPRouteDestinationPortMatching",
    "HTTPRouteHostRewrite",
    "HTTPRouteMethodMatching",
    "HTTPRouteNamedRouteRule",
    "HTTPRouteParentRefPort",
    "HTTPRoutePathRedirect",
    "HTTPRoutePathRewrite",
    "HTTPRoutePortRedirect",
    "HTTPRouteQueryParamMatching",
    "HTTPRouteRequestMirror",
    "HTTPRouteRequestMultipleMirrors",
    "HTTPRouteRequestPercentageMirror",
    "HTTPRouteRequestTimeout",
    "HTTPRouteResponseHeaderModification",
    "HTTPRouteSchemeRedirect",
    "ReferenceGrant",
    "TLSRoute",
)
