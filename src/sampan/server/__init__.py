"""The API server: pipeline, authentication, authorization, admission, REST, watch, discovery, streaming proxies.

Knows nothing of controllers and nodes. ``app`` composes it; every stage is a small function over ``request.Request``.
"""
