"""CertificateSigningRequests approved, signed and cleaned up; the bundle of who signs for the API server."""
