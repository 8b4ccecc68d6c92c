"""AlwaysAdmit and AlwaysDeny: for whoever tries the chain itself."""

from __future__ import annotations

from sampan.server.admission.base import Plugin, refuse
from sampan.server.attributes import AdmissionAttributes


class AlwaysAdmit(Plugin):
    name = "AlwaysAdmit"


class AlwaysDeny(Plugin):
    name = "AlwaysDeny"

    async def validate(self, attributes: AdmissionAttributes) -> None:
        raise refuse(attributes, "admission control is denying all modifications")
