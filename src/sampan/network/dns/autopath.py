"""The search path of a pod, followed by the server: one question instead of five (CoreDNS' autopath). Pure.

A pod in namespace ``shop`` that looks for ``db.example.com`` asks first for ``db.example.com.shop.svc.cluster.local``;
the kubelet's resolv.conf goes on with ``svc.cluster.local``, ``cluster.local`` and what the node itself searches.
"""

from __future__ import annotations

from collections.abc import Iterable


def names_ahead(name: str, namespace: str, domain: str, searches: Iterable[str]) -> tuple[str, ...]:
    """The names that the pod would ask for after ``name``, the name as it was written last; () when ``name`` is not the
    first of its search path. ``namespace``: of the pod, "" for who is none. ``searches``: of the node."""
    first = f".{namespace}.svc.{domain}"
    if not namespace or not name.endswith(first):
        return ()
    written = name.removesuffix(first)
    others = filter(None, (each.strip(".").lower() for each in searches))
    return (*(f"{written}.{search}" for search in (f"svc.{domain}", domain, *others)), written)
