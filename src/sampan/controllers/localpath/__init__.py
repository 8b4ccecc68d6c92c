"""Sampan's own provisioner, ``sampan.io/local-path``: a volume is a directory on the node that its first pod runs on.

The node agent makes the directory when the volume is first mounted, and takes it away when it is asked to by its node
API. The size that a claim asks for is not enforced: a directory has the room that its file system has.
"""
