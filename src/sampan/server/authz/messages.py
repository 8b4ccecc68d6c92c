"""The 403 of authorization, worded as upstream words it (apiserver responsewriters.Forbidden)."""

from __future__ import annotations

from sampan.api.errors import Forbidden, forbidden_error
from sampan.server.attributes import AuthorizationAttributes


def quote(text: str) -> str:
    """Go's ``%q`` for the texts that occur here."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def describe(attributes: AuthorizationAttributes) -> str:
    user = quote(attributes.user.name)
    if not attributes.resource:
        return f"User {user} cannot {attributes.verb} path {quote(attributes.path)}"
    resource = attributes.resource + (f"/{attributes.subresource}" if attributes.subresource else "")
    text = f"User {user} cannot {attributes.verb} resource {quote(resource)} in API group {quote(attributes.group)}"
    if attributes.namespace:
        return f"{text} in the namespace {quote(attributes.namespace)}"
    return f"{text} at the cluster scope"


def forbidden(attributes: AuthorizationAttributes, reason: str = "") -> Forbidden:
    detail = describe(attributes) + (f": {reason}" if reason else "")
    if not attributes.resource:
        return Forbidden(f"forbidden: {detail}", details={})
    return forbidden_error(attributes.resource, attributes.name, detail, attributes.group)
