"""The definitions of the Gateway API's kinds, standard channel, structured as those that the project publishes.

Fields, limits, rules with their messages, columns, short names and categories are those of release ``BUNDLE_VERSION``,
without the prose. ListenerSet, TCPRoute and UDPRoute of that release are not among them: nothing here acts on them.
Pure.
"""

from sampan.edge.gateway.definitions.bundle import BUNDLE_VERSION, definitions, is_older

__all__ = ["BUNDLE_VERSION", "definitions", "is_older"]
