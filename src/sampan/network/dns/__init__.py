"""Cluster DNS (Kubernetes DNS specification 1.1.0, behaviour of CoreDNS' kubernetes plugin).

``records`` looks names up in the informers, ``resolve`` answers a question from records (pure), ``forward`` asks the
node's own name servers, ``server`` speaks UDP and TCP.
"""

from sampan.network.dns.config import DnsConfig
from sampan.network.dns.server import DnsServer

__all__ = ["DnsConfig", "DnsServer"]
