"""Never bound wrongly: nodes and pods come, go and change, bindings fail, schedulers die (``churn.py``).

Whatever the order of things: no pod gets a second node, no node is over-committed, no required rule is broken, and no
pod that fits waits longer than the queue's flush. ``SAMPAN_CHURN_SEEDS=200`` runs that many, of each test.
"""

import churn
import pytest
from churn_gangs import GangChurn

from sampan.scheduler import groupcycle

pytestmark = [pytest.mark.timeout(300), pytest.mark.logs_errors]


@pytest.mark.parametrize("seed", range(churn.SEEDS or 5))
def test_nothing_is_bound_wrongly_and_nobody_waits_too_long(seed):
    churn.live(churn.Churn, seed)


#: two in which pods whose group was deleted, or was too small after a restart, once kept nodes that were promised them
GANGS = (3, 112, 120)


@pytest.mark.parametrize("seed", range(churn.SEEDS) if churn.SEEDS else GANGS)
def test_no_gang_is_bound_in_part_and_none_waits_that_is_sure_of_its_places(seed, monkeypatch):
    monkeypatch.setattr(groupcycle, "_STRETCH", 1)  # others have their turn between the pods of a gang
    seen = churn.live(GangChurn, seed)
    assert seen.judged or seed not in GANGS
