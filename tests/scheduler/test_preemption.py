"""Which pods go for one of higher priority, and what is said when none will do."""


def test_the_cheapest_victims_are_chosen(world):
    for name, priority in (("a", 50), ("b", 10)):
        world.node(name, cpu="1")
        world.pod(f"on-{name}", name, cpu="1", priority=priority)
    plan = world.preempt(cpu="1", priority=100)
    assert (plan.node, [victim.name for victim in plan.victims]) == ("b", ["on-b"])


def test_no_more_pods_go_than_must(world):
    world.node("a", cpu="3")
    for number, priority in enumerate((1, 2, 3)):
        world.pod(f"v{number}", "a", cpu="1", priority=priority)
    assert [victim.name for victim in world.preempt(cpu="1", priority=100).victims] == ["v0"]
    world.cluster.check_invariants()


def test_pods_of_equal_priority_stay(world):
    world.node("a", cpu="1")
    world.pod("other", "a", cpu="1", priority=100)
    assert world.preempt(cpu="1", priority=100).message == (
        "preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod."
    )


def test_nodes_that_preemption_cannot_help_are_counted(world):
    world.node("a", cpu="1")
    world.node("b", taints=[{"key": "k", "effect": "NoSchedule"}])
    world.pod("other", "a", cpu="1", priority=100)
    assert world.preempt(cpu="1").message == (
        "preemption: 0/2 nodes are available: 1 No preemption victims found for incoming pod, "
        "1 Preemption is not helpful for scheduling."
    )


def test_a_pod_that_never_preempts_says_so(world):
    world.node("a", cpu="1")
    world.pod("other", "a", cpu="1")
    message = world.preempt(cpu="1", priority=10, preemptionPolicy="Never").message
    assert message == "preemption: not eligible due to preemptionPolicy=Never."


def test_disruption_budgets_are_spared(world):
    for name in ("a", "b"):
        world.node(name, cpu="1")
        world.pod(f"on-{name}", name, cpu="1", labels={"app": name})
    budget = {
        "metadata": {"namespace": "default"},
        "spec": {"selector": {"matchLabels": {"app": "a"}}},
        "status": {"disruptionsAllowed": 0},
    }
    assert world.preempt([budget], cpu="1", priority=1).node == "b"


def test_room_promised_to_one_is_not_given_to_another(world, pod):
    world.node("a", cpu="1")
    world.cluster.nominate(pod("promised", cpu="1", priority=10), "a")
    assert not world.decide(cpu="1", priority=5).node
    assert world.decide(cpu="1", priority=20).node == "a"
