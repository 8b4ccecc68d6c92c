"""What each controller of this package gets when it is made."""

from __future__ import annotations

from collections.abc import Callable

from sampan.api.clock import Clock
from sampan.client.client import Client
from sampan.client.events import EventRecorder
from sampan.client.informer import InformerFactory
from sampan.cloud.provider import Provider
from sampan.records import dataclass

#: one call to the cloud
CALL_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Settings:
    """Defaults are cloud-controller-manager's."""

    cluster_name: str = "kubernetes"
    #: ranges of pods that routes are made for; (): none
    cluster_cidrs: tuple[str, ...] = ()
    node_status_seconds: float = 300.0
    node_monitor_seconds: float = 5.0
    route_seconds: float = 10.0


@dataclass(frozen=True, slots=True)
class Context:
    informers: InformerFactory
    client_for: Callable[[str], Client]
    clock: Clock
    provider: Provider
    settings: Settings

    def recorder(self, client: Client, component: str) -> EventRecorder:
        return EventRecorder(client, component, "", self.clock)
