"""The service proxy: Services and EndpointSlices as rules of one nftables table.

``model`` reads the API's objects, ``endpoints`` chooses among endpoints, ``render`` and ``base`` make chains and map
elements, ``table`` compares the wanted table with the present one, ``proxy`` is the loop; ``conntrack`` and ``health``
are its helpers. Everything but the last three is pure. IPv4 only.
"""

from sampan.network.proxy.config import ProxyConfig, bridge_is_filtered
from sampan.network.proxy.proxy import ServiceProxy

__all__ = ["ProxyConfig", "ServiceProxy", "bridge_is_filtered"]
