"""What a StatefulSet does next, from whatever is there; and that every sequence of steps stays safe and arrives."""

from __future__ import annotations

import copy
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from sampan.api.pods import status as podstatus
from sampan.controllers.statefulset import facts, retention
from sampan.controllers.statefulset.plan import (
    BURST,
    Action,
    CreateClaims,
    CreatePod,
    DeletePod,
    Observed,
    OwnClaim,
    RepairPod,
    TellConflict,
    plan,
    plan_status,
)

NOW = datetime(2026, 1, 1, 1, tzinfo=UTC)
LONG_AGO = "2026-01-01T00:00:00Z"
OLD, NEW = "web-old", "web-new"
Obj = dict[str, Any]


def stateful_set(replicas: int = 3, **spec: Any) -> Obj:
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "new"}]}}
    return {
        "metadata": {"name": "web", "namespace": "default", "uid": "set", "generation": 2},
        "spec": {
            "replicas": replicas,
            "serviceName": "svc",
            "selector": {"matchLabels": {"app": "web"}},
            "template": template,
            "podManagementPolicy": "OrderedReady",
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}},
            **spec,
        },
    }


DATA = [{"metadata": {"name": "data", "labels": {"own": "yes"}}, "spec": {"accessModes": ["ReadWriteOnce"]}}]
OLD_TEMPLATE = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "old"}]}}


def pod(
    number: int,
    owner: Obj | None = None,
    *,
    revision: str = NEW,
    ready: bool = True,
    phase: str = "Running",
    **meta: Any,
) -> Obj:
    made = facts.make_pod(owner or stateful_set(), OLD_TEMPLATE, revision, number)
    made["metadata"] |= {"uid": f"uid-{number}", **meta}
    condition = {"type": "Ready", "status": str(ready), "lastTransitionTime": LONG_AGO}
    made["status"] = {"phase": phase, "conditions": [condition] if phase == "Running" else []}
    return made


def observed(owner: Obj, pods: list[Obj], claims: list[Obj] | None = None, current: str = OLD) -> Observed:
    named = {claim["metadata"]["name"]: claim for claim in claims or []}
    return Observed(owner, pods, named.get, current, NEW, OLD_TEMPLATE, NOW)


def told(actions: list[Action]) -> list[str]:
    """``+web-0`` made, ``-web-0`` deleted, ``~web-0`` repaired."""
    found = []
    for action in actions:
        match action:
            case CreatePod(made, _):
                found.append(f"+{made['metadata']['name']}")
            case DeletePod(gone):
                found.append(f"-{gone['metadata']['name']}")
            case RepairPod(changed):
                found.append(f"~{changed['metadata']['name']}")
            case CreateClaims(_, claims):
                found += [f"claim {claim['metadata']['name']}" for claim in claims]
            case OwnClaim(claim):
                found.append(f"owners of {claim['metadata']['name']}")
            case TellConflict(claim):
                found.append(f"conflict {claim['metadata']['name']}")
    return found


PARALLEL = {"podManagementPolicy": "Parallel"}


class TestPods:
    def test_a_pod_has_its_name_its_labels_its_host_name_and_its_claims(self) -> None:
        owner = stateful_set(volumeClaimTemplates=DATA, ordinals={"start": 5})
        owner["spec"]["template"]["spec"]["volumes"] = [
            {"name": "data", "emptyDir": {}},
            {"name": "tmp", "emptyDir": {}},
        ]
        [action, *_] = plan(observed(owner, []))
        assert isinstance(action, CreatePod)
        made = action.pod
        assert made["metadata"]["name"] == "web-5"
        assert made["metadata"]["labels"] == {
            "app": "web",
            "controller-revision-hash": NEW,
            "statefulset.kubernetes.io/pod-name": "web-5",
            "apps.kubernetes.io/pod-index": "5",
        }
        assert (made["spec"]["hostname"], made["spec"]["subdomain"]) == ("web-5", "svc")
        assert made["spec"]["volumes"] == [
            {"name": "data", "persistentVolumeClaim": {"claimName": "data-web-5"}},
            {"name": "tmp", "emptyDir": {}},
        ]
        [claim] = action.claims
        assert claim["metadata"] == {
            "name": "data-web-5",
            "namespace": "default",
            "labels": {"own": "yes", "app": "web"},
        }

    @pytest.mark.parametrize(
        ("name", "found"),
        [
            ("web-0", ("web", 0)),
            ("my-web-12", ("my-web", 12)),
            ("web-07", None),
            ("web-", None),
            ("web", None),
            ("web-x", None),
        ],
    )
    def test_a_name_tells_set_and_ordinal(self, name: str, found: Any) -> None:
        assert facts.split_name(name) == found


class TestScaling:
    def test_ordered_sets_make_one_after_the_other(self) -> None:
        owner = stateful_set()
        assert told(plan(observed(owner, []))) == ["+web-0"]
        assert told(plan(observed(owner, [pod(0, ready=False)]))) == []
        assert told(plan(observed(owner, [pod(0)]))) == ["+web-1"]
        assert told(plan(observed(owner, [pod(0), pod(2)]))) == ["+web-1"]
        assert told(plan(observed(stateful_set(minReadySeconds=7200), [pod(0)]))) == []

    def test_parallel_sets_make_all_at_once(self) -> None:
        assert told(plan(observed(stateful_set(**PARALLEL), [pod(1, ready=False)]))) == ["+web-0", "+web-2"]

    def test_a_set_that_is_far_too_large_costs_what_one_look_makes(self) -> None:
        """Nobody builds a list of two thousand million pods because somebody asked for them."""
        most = 2**31 - 1
        assert len(plan(observed(stateful_set(most, **PARALLEL), [pod(1)]))) == BURST
        assert told(plan(observed(stateful_set(most), [pod(0)]))) == ["+web-1"]
        status, _ = plan_status(observed(stateful_set(most, **PARALLEL), [pod(1)]))
        assert (status["replicas"], status["currentRevision"]) == (1, OLD)

    def test_ordered_sets_lose_the_last_first_and_wait_for_each(self) -> None:
        owner = stateful_set(1)
        assert told(plan(observed(owner, [pod(0), pod(1), pod(2)]))) == ["-web-2"]
        assert told(plan(observed(owner, [pod(0), pod(1), pod(2, deletionTimestamp=LONG_AGO)]))) == []
        assert told(plan(observed(owner, [pod(0, ready=False), pod(1)]))) == []
        assert told(plan(observed(owner, [pod(0), pod(1, ready=False), pod(2)]))) == ["-web-2"]
        assert told(plan(observed(owner, [pod(0), pod(1, ready=False), pod(2, ready=False)]))) == []

    def test_parallel_sets_lose_all_at_once(self) -> None:
        owner = stateful_set(1, **PARALLEL)
        assert told(plan(observed(owner, [pod(0, ready=False), pod(1), pod(2)]))) == ["-web-2", "-web-1"]

    def test_ended_pods_are_made_again_under_their_name(self) -> None:
        assert told(plan(observed(stateful_set(1), [pod(0, phase="Failed")]))) == ["-web-0"]
        assert told(plan(observed(stateful_set(1), [pod(0, phase="Succeeded")]))) == ["-web-0"]
        assert told(plan(observed(stateful_set(1), [pod(0, phase="Failed", deletionTimestamp=LONG_AGO)]))) == []

    def test_a_set_that_goes_does_nothing(self) -> None:
        owner = stateful_set()
        owner["metadata"]["deletionTimestamp"] = LONG_AGO
        assert plan(observed(owner, [])) == []

    def test_labels_are_put_back(self) -> None:
        changed = pod(0)
        del changed["metadata"]["labels"]["apps.kubernetes.io/pod-index"]
        [action] = plan(observed(stateful_set(1), [changed]))
        assert isinstance(action, RepairPod)
        assert action.pod["metadata"]["labels"]["apps.kubernetes.io/pod-index"] == "0"


class TestRolling:
    def old(self, count: int = 3, **more: Any) -> list[Obj]:
        return [pod(number, revision=OLD, **more) for number in range(count)]

    def test_the_last_old_pod_goes_first(self) -> None:
        assert told(plan(observed(stateful_set(), self.old()))) == ["-web-2"]
        rolled = [*self.old(2), pod(2)]
        assert told(plan(observed(stateful_set(), rolled))) == ["-web-1"]
        assert told(plan(observed(stateful_set(), [*self.old(2), pod(2, ready=False)]))) == []

    def test_below_the_partition_all_stay_and_come_back_as_they_were(self) -> None:
        owner = stateful_set(updateStrategy={"type": "RollingUpdate", "rollingUpdate": {"partition": 2}})
        assert told(plan(observed(owner, self.old()))) == ["-web-2"]
        assert told(plan(observed(owner, [*self.old(2), pod(2)]))) == []
        [action] = plan(observed(owner, [self.old()[0], pod(2)]))
        assert isinstance(action, CreatePod)
        assert action.pod["spec"]["containers"][0]["image"] == "old"
        assert facts.revision_of(action.pod) == OLD

    def test_the_partition_counts_from_the_first_ordinal(self) -> None:
        owner = stateful_set(
            ordinals={"start": 10}, updateStrategy={"type": "RollingUpdate", "rollingUpdate": {"partition": 2}}
        )
        pods = [pod(number, owner, revision=OLD) for number in (10, 11, 12)]
        assert told(plan(observed(owner, pods))) == ["-web-12"]

    @pytest.mark.parametrize(("most", "gone"), [(2, 2), ("67%", 2), ("10%", 1), (9, 3)])
    def test_as_many_as_may_be_missing(self, most: Any, gone: int) -> None:
        owner = stateful_set(
            updateStrategy={"type": "RollingUpdate", "rollingUpdate": {"partition": 0, "maxUnavailable": most}}
        )
        assert told(plan(observed(owner, self.old()))) == ["-web-2", "-web-1", "-web-0"][:gone]

    def test_what_is_missing_already_counts(self) -> None:
        owner = stateful_set(
            **PARALLEL, updateStrategy={"type": "RollingUpdate", "rollingUpdate": {"partition": 0, "maxUnavailable": 2}}
        )
        assert told(plan(observed(owner, [*self.old(2), pod(2, ready=False)]))) == ["-web-1"]

    def test_a_parallel_set_replaces_old_pods_that_are_not_available_whatever_their_number(self) -> None:
        """A first revision that never becomes ready is rolled away (as v1.37, not as v1.35)."""
        ill = self.old(ready=False)
        assert told(plan(observed(stateful_set(**PARALLEL), ill))) == ["-web-2", "-web-1", "-web-0"]
        assert told(plan(observed(stateful_set(1, **PARALLEL), ill[:1]))) == ["-web-0"]
        assert told(plan(observed(stateful_set(), ill))) == [], "an ordered set waits for its first pod"
        mixed = [ill[0], *self.old()[1:]]
        assert told(plan(observed(stateful_set(**PARALLEL), mixed))) == ["-web-0"], "no well one as well"
        rolling = {"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 2}}}
        assert told(plan(observed(stateful_set(**PARALLEL, **rolling), ill))) == ["-web-2"]

    def test_an_old_pod_that_ended_goes_once(self) -> None:
        assert told(plan(observed(stateful_set(1, **PARALLEL), self.old(1, phase="Failed")))) == ["-web-0"]

    def test_on_delete_waits_and_makes_the_new_one(self) -> None:
        owner = stateful_set(updateStrategy={"type": "OnDelete"})
        assert plan(observed(owner, self.old())) == []
        [action] = plan(observed(owner, self.old(2)))
        assert isinstance(action, CreatePod)
        assert facts.revision_of(action.pod) == NEW


def claim(name: str, *owners: Obj) -> Obj:
    return {"metadata": {"name": name, "namespace": "default", "ownerReferences": list(owners)}, "spec": {}}


def reference(uid: str, kind: str, name: str, *, controller: bool = True) -> Obj:
    return {"kind": kind, "name": name, "uid": uid, "controller": controller}


class TestClaims:
    def owner(self, replicas: int = 1, scaled: str = "Retain", deleted: str = "Retain") -> Obj:
        policy = {"whenScaled": scaled, "whenDeleted": deleted}
        return stateful_set(replicas, volumeClaimTemplates=DATA, persistentVolumeClaimRetentionPolicy=policy)

    def both(self, number: int) -> tuple[Obj, Obj]:
        return reference("set", "StatefulSet", "web"), reference(f"uid-{number}", "Pod", "", controller=False)

    def test_a_pod_that_waits_gets_claims_that_somebody_deleted(self) -> None:
        owner = self.owner()
        assert told(plan(observed(owner, [pod(0, owner, phase="Pending")]))) == ["claim data-web-0"]
        assert told(plan(observed(owner, [pod(0, owner)]))) == []

    @pytest.mark.parametrize(
        ("scaled", "deleted", "kept", "beyond"),
        [
            ("Retain", "Retain", [], []),
            ("Retain", "Delete", ["set"], ["set"]),
            ("Delete", "Retain", [], ["uid-1"]),
            ("Delete", "Delete", ["set"], ["uid-1"]),
        ],
    )
    def test_who_owns_a_claim_follows_the_policy(
        self, scaled: str, deleted: str, kept: list[str], beyond: list[str]
    ) -> None:
        owner = self.owner(1, scaled, deleted)
        pods = [pod(0, owner), pod(1, owner)]
        for wrong in (False, True):
            claims = [claim(f"data-web-{number}", *(self.both(number) if wrong else ())) for number in (0, 1)]
            result = {each["metadata"]["name"]: each for each in claims}
            for action in plan(observed(owner, pods, claims)):
                if isinstance(action, OwnClaim):
                    result[action.claim["metadata"]["name"]] = action.claim
            uids = {
                name: [
                    ref["uid"]
                    for ref in each["metadata"]["ownerReferences"]
                    if ref["uid"] in ("set", f"uid-{name[-1]}")
                ]
                for name, each in result.items()
            }
            assert uids == {"data-web-0": kept, "data-web-1": beyond}

    def test_a_new_claim_has_its_owner_from_the_start(self) -> None:
        [action] = plan(observed(self.owner(1, "Delete", "Delete"), []))
        assert isinstance(action, CreatePod)
        assert [ref["uid"] for ref in action.claims[0]["metadata"]["ownerReferences"]] == ["set"]

    def test_a_pod_waits_until_the_claim_of_its_predecessor_is_gone(self) -> None:
        stale = claim("data-web-0", reference("earlier", "Pod", "web-0"))
        assert plan(observed(self.owner(1, "Delete"), [], [stale])) == []
        going = claim("data-web-0")
        going["metadata"]["deletionTimestamp"] = LONG_AGO
        assert plan(observed(self.owner(1), [], [going])) == []

    def test_a_claim_of_another_controller_is_left_to_it_and_told_of(self) -> None:
        owner = self.owner(1, "Retain", "Delete")
        others = claim("data-web-0", reference("other", "Database", "db"))
        assert told(plan(observed(owner, [pod(0, owner)], [others]))) == ["conflict data-web-0"]
        watched = claim("data-web-0", reference("other", "Database", "db", controller=False))
        assert told(plan(observed(owner, [pod(0, owner)], [watched]))) == ["owners of data-web-0"]
        assert retention.corrected(owner, pod(0, owner), watched)["metadata"]["ownerReferences"][0]["uid"] == "other"


class TestStatus:
    def test_it_counts_by_revision_and_ends_a_roll(self) -> None:
        status, _ = plan_status(observed(stateful_set(), [pod(0, revision=OLD), pod(1), pod(2, ready=False)]))
        assert status == {
            "replicas": 3,
            "availableReplicas": 2,
            "currentRevision": OLD,
            "updateRevision": NEW,
            "collisionCount": 0,
            "observedGeneration": 2,
            "readyReplicas": 2,
            "currentReplicas": 1,
            "updatedReplicas": 2,
        }
        done, _ = plan_status(observed(stateful_set(), [pod(0), pod(1), pod(2)]))
        assert (done["currentRevision"], done["currentReplicas"]) == (NEW, 3)
        begun, _ = plan_status(observed(stateful_set(), [pod(2)]))
        assert begun["currentRevision"] == OLD, "those below a partition that are missing come back as they were"
        manual, _ = plan_status(observed(stateful_set(updateStrategy={"type": "OnDelete"}), [pod(0)]))
        assert manual["currentRevision"] == OLD

    def test_it_looks_again_when_a_pod_becomes_available(self) -> None:
        _, wait = plan_status(observed(stateful_set(minReadySeconds=3610), [pod(0)]))
        assert wait == 10.0


def some_pods() -> Any:
    one = st.tuples(
        st.integers(0, 6), st.sampled_from([OLD, NEW]), st.booleans(),
        st.sampled_from(["Running", "Running", "Running", "Pending", "Failed"]), st.booleans(),
    )  # fmt: skip
    return st.lists(one, max_size=6, unique_by=lambda each: each[0]).map(
        lambda many: [
            pod(
                number,
                revision=revision,
                ready=ready,
                phase=phase,
                **({"deletionTimestamp": LONG_AGO} if going else {}),
            )
            for number, revision, ready, phase, going in many
        ]
    )


@settings(max_examples=100, deadline=None)
@given(
    some_pods(),
    st.integers(0, 4),
    st.booleans(),
    st.integers(0, 2),
    st.integers(1, 3),
    st.randoms(use_true_random=False),
)
def test_every_prefix_is_safe_and_the_end_is_the_wanted_one(
    pods: list[Obj], replicas: int, parallel: bool, partition: int, most: int, chance: Any
) -> None:
    # Two pods beyond the wanted that have failed for good hold an ordered set up, upstream's too.
    failed = [each for each in pods if facts.ordinal(each) >= replicas and each["status"]["phase"] == "Failed"]
    assume(parallel or len(failed) < 2)
    rolling = {"partition": partition, "maxUnavailable": most}
    owner = stateful_set(
        replicas,
        podManagementPolicy="Parallel" if parallel else "OrderedReady",
        updateStrategy={"type": "RollingUpdate", "rollingUpdate": rolling},
    )
    state = {facts.ordinal(each): each for each in pods}
    for _ in range(200):
        seen = observed(owner, list(state.values()))
        before = copy.deepcopy(seen.pods)
        actions = plan(seen)
        assert seen.pods == before, "a plan changes nothing"
        creates = [action for action in actions if isinstance(action, CreatePod)]
        deletes = [action for action in actions if isinstance(action, DeletePod)]
        if not parallel:
            assert len(creates) <= 1
            assert not (creates and deletes)
        well = [
            n
            for n in range(replicas)
            if n in state and not facts.standing(seen.stateful_set, state[n]).is_unavailable(seen.now)
        ]
        losing = [facts.ordinal(action.pod) for action in deletes if facts.ordinal(action.pod) in well]
        assert len(losing) <= max(0, most - (replicas - len(well))), "never more missing than may be"
        done = 0 if not actions else chance.randint(1, len(actions))  # it may be killed after any step
        for action in actions[:done]:
            if isinstance(action, CreatePod):
                number = facts.ordinal(action.pod)
                assert number not in state, "never two of one name"
                status = {"phase": "Pending", "conditions": []}
                state[number] = {**action.pod, "metadata": {**action.pod["metadata"], "uid": "made"}, "status": status}
            elif isinstance(action, DeletePod):
                state[facts.ordinal(action.pod)]["metadata"]["deletionTimestamp"] = LONG_AGO
        moving = False
        for number, each in list(state.items()):
            if "deletionTimestamp" in each["metadata"]:
                del state[number]
                moving = True
            elif (
                not (each["status"]["phase"] == "Running" and podstatus.is_ready(each))
                and each["status"]["phase"] != "Failed"
            ):
                ready = {"type": "Ready", "status": "True", "lastTransitionTime": LONG_AGO}
                each["status"] = {"phase": "Running", "conditions": [ready]}
                moving = True
        if not actions and not moving:
            break
    assert sorted(state) == list(range(replicas))
    revisions = [facts.revision_of(state[number]) for number in range(partition, replicas)]
    assert revisions == [NEW] * len(revisions)
