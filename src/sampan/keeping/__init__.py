"""Failure domains inside one process: components that are kept running, each apart from the others.

``Keeper`` is used by the server for its own loops, by the cluster layer for controllers, scheduler and node parts, and
by whoever runs several things that must survive each other. It knows nothing of what they do.
"""

from sampan.keeping.ending import at_end
from sampan.keeping.keeper import Keeper, Kept, Patience
from sampan.keeping.words import fault_words

__all__ = ["Keeper", "Kept", "Patience", "at_end", "fault_words"]
