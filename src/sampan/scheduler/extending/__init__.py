"""Extenders: programs that the scheduler asks over HTTP about pods that concern them."""
