"""Tokens in Secrets that nobody uses any more: marked invalid, then deleted."""
