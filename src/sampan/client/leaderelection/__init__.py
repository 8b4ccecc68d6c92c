"""Leader election on a Lease: of several identical processes one acts, and the others stand by.

``record`` is what a Lease says and what a candidate makes of it (pure), ``elector`` the loop of one candidate,
``candidate`` the same with Events and metrics, ``term`` how long a leader may act, and the transport that lets nobody
act for longer. Interoperable with client-go's.
"""

from sampan.client.leaderelection.candidate import Candidate
from sampan.client.leaderelection.elector import LeaderElector, LeadershipLost, Report
from sampan.client.leaderelection.record import ElectionConfig, WrongElection
from sampan.client.leaderelection.term import FencedTransport, Term, fenced

__all__ = [
    "Candidate",
    "ElectionConfig",
    "FencedTransport",
    "LeaderElector",
    "LeadershipLost",
    "Report",
    "Term",
    "WrongElection",
    "fenced",
]
