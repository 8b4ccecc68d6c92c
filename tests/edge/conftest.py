"""Tests of the edge, most of them with the real program on loopback."""
