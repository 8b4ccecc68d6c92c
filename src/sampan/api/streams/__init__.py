"""Wire formats of upgraded connections, without I/O: SPDY/3.1 and WebSocket frames. For server, node and clients."""
