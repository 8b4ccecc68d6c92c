"""Devices by structured parameters (KEP-4381): which there are (``pools``), and who gets which (``allocator``)."""
