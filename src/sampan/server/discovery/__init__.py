"""What the server tells about itself: API discovery, version, health, metrics, OpenAPI hand-off."""
