"""Who gets which names, and the order of versions."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.api.customresources import naming
from sampan.api.customresources.naming import Names, accept
from sampan.api.customresources.versions import in_order

NOW = datetime(2026, 1, 1, tzinfo=UTC)
BOATS = Names("boats", "boat", "Boat", "BoatList", ("bt",))


def test_free_names_are_given() -> None:
    assert accept(BOATS, Names(), []).names == BOATS
    assert not accept(BOATS, BOATS, [Names("ships", "ship", "Ship", "ShipList")]).reason


@pytest.mark.parametrize(
    ("taken", "reason", "message"),
    [
        (Names("boats"), "PluralConflict", '"boats" is already in use'),
        (Names("x", "boat"), "SingularConflict", '"boat" is already in use'),
        (Names("x", short_names=("bt",)), "ShortNamesConflict", '"bt" is already in use'),
        (Names("x", kind="Boat"), "KindConflict", '"Boat" is already in use'),
        (Names("x", kind="BoatList"), "ListKindConflict", '"BoatList" is already in use'),
    ],
)
def test_a_taken_name_is_refused_and_the_others_are_given(taken: Names, reason: str, message: str) -> None:
    verdict = accept(BOATS, Names(), [taken])
    assert (verdict.reason, verdict.message) == (reason, message)
    given_names = {verdict.names.plural, verdict.names.singular, verdict.names.kind, verdict.names.list_kind}
    assert "" in given_names or not verdict.names.short_names


def test_several_short_names_are_told_together() -> None:
    wanted = Names("boats", short_names=("a", "b", "c"))
    verdict = accept(wanted, Names("boats", short_names=("c",)), [Names("x", short_names=("a", "b", "c"))])
    assert verdict.message == '["a" is already in use, "b" is already in use]'
    assert verdict.names.short_names == ("c",)


def test_what_was_established_stays_so_when_other_names_are_asked_for() -> None:
    before = {"status": {"conditions": [{"type": "Established", "status": "True", "reason": "InitialNamesAccepted"}]}}
    status = naming.named_status(before, naming.Verdict(BOATS, "KindConflict", "taken"), NOW)
    rows = {one["type"]: (one["status"], one["reason"]) for one in status["conditions"]}
    assert rows == {"Established": ("True", "InitialNamesAccepted"), "NamesAccepted": ("False", "KindConflict")}


def test_the_time_of_a_condition_changes_with_its_status_only() -> None:
    first = naming.with_condition(None, "A", "True", "One", "one", NOW)
    later = NOW.replace(hour=5)
    same = naming.with_condition(first, "A", "True", "Two", "two", later)
    assert (same[0]["lastTransitionTime"], same[0]["reason"]) == (first[0]["lastTransitionTime"], "Two")
    assert (
        naming.with_condition(same, "A", "False", "Two", "", later)[0]["lastTransitionTime"] == "2026-01-01T05:00:00Z"
    )


@pytest.mark.parametrize(
    ("annotation", "row"),
    [
        ("", ("False", "MissingAnnotation")),
        ("unapproved, experimental", ("False", "UnapprovedAnnotation")),
        ("https://github.com/kubernetes/kubernetes/pull/1", ("True", "ApprovedAnnotation")),
        ("because", ("False", "InvalidAnnotation")),
    ],
)
def test_groups_of_kubernetes_need_an_approval(annotation: str, row: tuple[str, str]) -> None:
    metadata = {"annotations": {"api-approved.kubernetes.io": annotation} if annotation else {}}
    found = naming.api_approval({"metadata": metadata, "spec": {"group": "gateway.networking.k8s.io"}})
    assert found is not None and found[:2] == row
    assert naming.api_approval({"metadata": metadata, "spec": {"group": "example.com"}}) is None


def test_stable_versions_come_first_and_the_newest_of_them() -> None:
    wanted = ["v10", "v2", "v1", "v11beta2", "v10beta3", "v3beta1", "v12alpha1", "v11alpha2", "foo1", "foo10"]
    assert in_order(reversed(wanted)) == wanted


@given(st.permutations(["v1", "v1beta1", "v2alpha1", "v2", "x"]))
def test_the_order_of_versions_does_not_depend_on_who_comes_first(versions: list[str]) -> None:
    assert in_order(versions) == ["v2", "v1", "v1beta1", "v2alpha1", "x"]


@given(st.lists(st.builds(Names, *[st.sampled_from(["a", "b", "c", "d", ""])] * 4), max_size=4))
def test_no_two_definitions_ever_hold_the_same_name(wanted: list[Names]) -> None:
    held: list[Names] = []
    for names in wanted:
        held.append(accept(names, Names(), held).names)
    for index, one in enumerate(held):
        for other in held[index + 1 :]:
            assert not set(one.resources()) & set(other.resources())
            assert not set(one.kinds()) & set(other.kinds())
