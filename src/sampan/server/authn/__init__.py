"""Who asks: client certificates, ServiceAccount tokens, anonymous requests, impersonation."""
