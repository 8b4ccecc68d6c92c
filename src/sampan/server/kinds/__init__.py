"""What single kinds do that no other does: verbs of their own, by resource and subresource.

``rest`` is generic; whoever wonders what ``pods/eviction`` does opens ``eviction`` here and nothing else.
"""

from __future__ import annotations

from sampan.server.kinds import computed
from sampan.server.kinds.binding import bind
from sampan.server.kinds.componentstatus import component_statuses
from sampan.server.kinds.eviction import evict
from sampan.server.rest.context import OwnVerbs

OWN_VERBS: OwnVerbs = {
    ("", "bindings", ""): {"create": bind},
    ("", "pods", "binding"): {"create": bind},
    ("", "pods", "eviction"): {"create": evict},
    ("", "serviceaccounts", "token"): {"create": computed.create_token},
    ("", "componentstatuses", ""): {"get": component_statuses, "list": component_statuses},
}

__all__ = ["OWN_VERBS"]
