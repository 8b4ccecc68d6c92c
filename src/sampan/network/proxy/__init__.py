"""The service proxy: Services and EndpointSlices as what forwards packets.

``model`` reads the API's objects, ``endpoints`` chooses among endpoints, ``plan`` says what a Service needs: pure, and
neutral. ``backend`` is the seam to who makes that real: ``nftables`` or ``memory``. ``proxy`` is the loop;
``conntrack`` and ``health`` are its helpers.
"""

from sampan.network.proxy.config import ProxyConfig, bridge_is_filtered
from sampan.network.proxy.nftables.backend import NftBackend
from sampan.network.proxy.proxy import ServiceProxy
from sampan.network.proxy.reach import NodeReach

__all__ = ["NftBackend", "NodeReach", "ProxyConfig", "ServiceProxy", "bridge_is_filtered"]
