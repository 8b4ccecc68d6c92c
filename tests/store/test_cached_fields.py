"""Entries hold the values of their selectable fields; their names lie once in the cache."""

from __future__ import annotations

from sampan.store.cachewatch import Codec

POD = {"metadata.name": "p", "spec.nodeName": "n", "status.phase": "Running"}


def codec() -> Codec:
    return Codec(lambda obj: ({}, {}), lambda value, revision: {})


def test_fields_are_what_was_given() -> None:
    fields = codec().fields(POD)
    assert fields == POD and dict(fields) == POD and len(fields) == 3
    assert fields["spec.nodeName"] == fields.get("spec.nodeName") == "n"
    assert fields.get("spec.other", "") == "" and "spec.other" not in fields


def test_names_are_kept_once_for_each_form_of_object() -> None:
    made = codec()
    pods = [made.fields({**POD, "metadata.name": f"p{number}"}) for number in range(100)]
    other = made.fields({"metadata.name": "q"})
    assert [each["metadata.name"] for each in (pods[7], pods[93], other)] == ["p7", "p93", "q"]
    assert len(made._names) == 2


def test_forms_without_number_do_not_stay_for_ever() -> None:
    made = codec()
    kept = [made.fields({f"spec.field{number}": "x"}) for number in range(5000)]
    assert len(made._names) <= 2048
    assert all(each.get(f"spec.field{number}") == "x" for number, each in enumerate(kept))
