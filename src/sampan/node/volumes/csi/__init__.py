"""Volumes of CSI drivers, the node's half.

``handler`` takes drivers as they register, ``nodeinfo`` tells the API of them, ``drivers`` holds them and carries calls
to them from threads, ``plugin`` is the volume plug-in, ``requests`` says purely what a volume asks of a driver,
``attachments`` waits for what the attach/detach controller does, ``growing`` expands.
"""
