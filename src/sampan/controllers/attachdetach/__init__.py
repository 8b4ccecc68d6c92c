"""Volumes are attached to the nodes whose pods want them, and taken off the others (upstream
``pkg/controller/volume/attachdetach``). A VolumeAttachment asks for it; a driver's attacher does it."""
