"""Defaults of what claims ask of devices; shared by ResourceClaim and ResourceClaimTemplate."""

from __future__ import annotations

from sampan.api.types import Obj


def default_claim_spec(spec: Obj | None) -> None:
    for request in ((spec or {}).get("devices") or {}).get("requests") or ():
        for asked in (request.get("exactly"), *(request.get("firstAvailable") or ())):
            if asked is not None:
                _default_request(asked)


def _default_request(asked: Obj) -> None:
    asked.setdefault("allocationMode", "ExactCount")
    if asked["allocationMode"] == "ExactCount":
        asked.setdefault("count", 1)
    for toleration in asked.get("tolerations") or ():
        toleration.setdefault("operator", "Equal")
