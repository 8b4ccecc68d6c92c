"""The authorizer that ``--authorization-mode`` asks for. Used by ``app``."""

from __future__ import annotations

from collections.abc import Sequence

from sampan.server.attributes import AuthorizationAttributes, Authorizer, Decision
from sampan.server.authz.edge import EdgeAuthorizer
from sampan.server.authz.node import NodeAuthorizer
from sampan.server.authz.rbac import RbacAuthorizer
from sampan.server.authz.union import UnionAuthorizer
from sampan.server.surface import SurfaceReader


class AlwaysAllow:
    """Mode ``AlwaysAllow``."""

    def decide_now(self, attributes: AuthorizationAttributes) -> Decision:
        return Decision(True)

    async def authorize(self, attributes: AuthorizationAttributes) -> Decision:
        return Decision(True)


def authorizer_of(modes: Sequence[str], reader: SurfaceReader, rbac: RbacAuthorizer) -> Authorizer:
    """All that are asked in turn; they follow what they judge by from here on. Raises ValueError for no mode's name."""
    authorizers: list[Authorizer] = []
    rbac.start()
    for mode in modes:
        match mode:
            case "RBAC":
                authorizers.append(rbac)
            case "Node":
                node = NodeAuthorizer(reader)
                node.start()
                authorizers.append(node)
            case "AlwaysAllow":
                authorizers.append(AlwaysAllow())
            case _:
                raise ValueError(f"unknown authorization mode {mode!r}")
    if "Node" in modes:
        edge = EdgeAuthorizer(reader, reader.served)
        edge.start()
        authorizers.append(edge)  # last: only what nobody allowed costs the question
    return UnionAuthorizer(authorizers)
