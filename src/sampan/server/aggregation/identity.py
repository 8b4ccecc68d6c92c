"""Who a proxied request is from, as extension API servers read it: the front proxy's request headers. Pure.

Spec: k8s.io/client-go transport ``SetAuthProxyHeaders``; authentication by request headers.
"""

from __future__ import annotations

from typing import Final

from sampan.server.request import UserInfo

#: what this server is called when it asks for itself
AGGREGATOR: Final = UserInfo("system:kube-aggregator", ("system:masters",))
#: what a header name may hold beside letters and digits; "%" escapes the rest
_TOKEN = frozenset("!#$&'*+-.^_`|~")


class BadIdentity(ValueError):
    """A name that no header can carry."""


def headers_of(user: UserInfo) -> list[tuple[str, str]]:
    """Raises BadIdentity."""
    headers = [("X-Remote-User", user.name)]
    if user.uid:
        headers.append(("X-Remote-Uid", user.uid))
    headers += [("X-Remote-Group", group) for group in user.groups]
    headers += [
        (f"X-Remote-Extra-{escape(key)}", value) for key, values in sorted(user.extra.items()) for value in values
    ]
    for name, value in headers:
        if any((character < " " and character != "\t") or character == "\x7f" for character in value):
            raise BadIdentity(f'net/http: invalid header field value for "{name}"')
    return headers


def escape(key: str) -> str:
    """The key of an extra as the end of a header's name."""
    return "".join(
        character if character.isascii() and (character.isalnum() or character in _TOKEN) else _percent(character)
        for character in key
    )


def _percent(character: str) -> str:
    return "".join(f"%{byte:02X}" for byte in character.encode("utf-8", "surrogateescape"))
