"""The published conformance cases of HTTPRoute, by their names, as objects and what clients get.

Each is used twice: against what the model means (test_conformance_http.py) and through the real program
(test_conformance_program.py).
"""

from __future__ import annotations

from tests.edge.gateway.cases_filters import FILTERS
from tests.edge.gateway.cases_matching import MATCHING

CASES = (*MATCHING, *FILTERS)
