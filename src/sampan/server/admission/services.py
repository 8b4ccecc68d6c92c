"""DenyServiceExternalIPs: external IPs let any author of a Service take over traffic (CVE-2020-8554)."""

from __future__ import annotations

from sampan.api.reading import part
from sampan.server.admission.base import Plugin, is_for, refuse
from sampan.server.attributes import AdmissionAttributes


class DenyServiceExternalIPs(Plugin):
    name = "DenyServiceExternalIPs"
    resources = frozenset({("", "services")})

    async def validate(self, attributes: AdmissionAttributes) -> None:
        if attributes.obj is None or not is_for(attributes, "services", "CREATE", "UPDATE"):
            return
        new, old = (set(part(obj, "spec").get("externalIPs") or ()) for obj in (attributes.obj, attributes.old))
        if new - old:
            raise refuse(attributes, "Use of external IPs is denied by admission control.")
