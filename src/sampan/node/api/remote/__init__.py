"""The node's streaming server: exec, attach and port-forward for SPDY and WebSocket clients, joined with the runtime.

``peer`` is what both protocols share, ``spdypeer`` and ``channelpeer`` are the protocols, ``commands`` and ``ports``
what is done over them. Everything is bounded: what lies unread makes the connection wait.
"""
