"""Revisions: names for templates, the one in force, which are forgotten."""

from sampan.controllers.workload import history


def revision(name, number, *, created="2026-01-01T00:00:00Z", **meta):
    return {"metadata": {"name": name, "creationTimestamp": created, **meta}, "revision": number}


def test_a_hash_depends_on_the_value_and_the_collisions_and_on_no_order():
    first = history.short_hash({"a": 1, "b": [2]})
    assert first == history.short_hash({"b": [2], "a": 1})
    assert len({first, history.short_hash({"a": 2}), history.short_hash({"a": 1, "b": [2]}, 1)}) == 3
    assert not set(first) & set("aeiou013")


def test_the_oldest_of_equal_revisions_is_the_one_in_force():
    revisions = [revision("b", 1), revision("a", 1), revision("c", 1, created="2025-01-01T00:00:00Z"), revision("d", 2)]
    assert history.find_equal(revisions, lambda obj: obj["revision"] == 1)["metadata"]["name"] == "c"
    assert history.find_equal(revisions, lambda obj: obj["revision"] == 3) is None


def test_the_next_number_is_above_all():
    assert history.next_number([3, 1]) == 4
    assert history.next_number([]) == 1


def test_the_oldest_unused_revisions_above_the_limit_go():
    revisions = [revision(f"r{n}", n) for n in (4, 2, 3, 1)] + [revision("going", 0, deletionTimestamp="x")]

    def names(limit):
        found = history.surplus(revisions, limit, lambda r: r["revision"], lambda r: r["metadata"]["name"] != "r1")
        return [obj["metadata"]["name"] for obj in found]

    assert names(1) == ["r2", "r3"]  # r1 is above the limit too, but still in use
    assert names(4) == names(None) == []
