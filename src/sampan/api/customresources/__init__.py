"""Custom resources: what a definition may say, and what its objects must be. Pure."""
