"""Makes the claims of generic ephemeral volumes (upstream ``pkg/controller/volume/ephemeral``)."""
