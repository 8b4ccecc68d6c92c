"""Leader election on a Lease, under virtual time."""

import asyncio
import contextlib
import random
from datetime import UTC, datetime, timedelta

import pytest

from sampan.api.errors import Conflict, ServiceUnavailable
from sampan.api.resources import CONFIG_MAPS, LEASES
from sampan.client.client import Client
from sampan.client.leaderelection import (
    ElectionConfig,
    LeaderElector,
    LeadershipLost,
    Term,
    WrongElection,
    fenced,
)
from sampan.client.leaderelection.record import claim, given_up

PLACE = ("kube-system", "manager")


class LoopClock:
    """Wall time that goes with the loop's virtual time."""

    def now(self):
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=asyncio.get_running_loop().time())


class Heard:
    """What a candidate tells of itself."""

    def __init__(self):
        self.said, self.states, self.slow = [], [], 0

    def leading(self, name, leads):
        self.states.append(leads)

    def event(self, lease, message):
        self.said.append((lease["metadata"]["name"], message))

    def slow_path(self, name):
        self.slow += 1


def elector(api, identity, report=None, **how):
    return LeaderElector(
        Client(api), ElectionConfig(*PLACE, identity, **how), LoopClock(), random.Random(identity), report
    )


def spec(api):
    return api.get(LEASES, *PLACE)["spec"]


def until(condition):
    async def wait():
        async with asyncio.timeout(600):
            while not condition():  # noqa: ASYNC110  # virtual time
                await asyncio.sleep(0.05)

    return wait()


@contextlib.asynccontextmanager
async def candidate(api, identity, acts, report=None, **how):
    """One candidate; ``acts`` lists who leads at the moment."""

    async def lead(term):
        acts.append(identity)
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            acts.remove(identity)

    made = elector(api, identity, report, **how)
    task = asyncio.ensure_future(made.run(lead))
    try:
        yield made, task
    finally:
        task.cancel()
        await asyncio.wait([task])


def unreachable(api, method, times=100):
    api.fail_next = [(method, "leases", ServiceUnavailable("cut")) for _ in range(times)]


def test_one_leads_and_the_other_takes_over_within_twenty_seconds_of_its_death(remote_api, virtual):
    async def run():
        loop = asyncio.get_running_loop()
        for round_ in range(30):
            acts = []
            remote_api.tables.clear()
            async with candidate(remote_api, f"a{round_}", acts) as (_, first):
                await asyncio.sleep(1)
                async with candidate(remote_api, f"b{round_}", acts):
                    await asyncio.sleep(30 + round_ / 7)
                    assert acts == [f"a{round_}"]
                    # It dies without a word: it neither renews nor releases.
                    unreachable(remote_api, "PUT", 1)
                    remote_api.fail_next.append(("GET", "leases", ServiceUnavailable("cut")))
                    first.cancel()
                    await asyncio.wait([first])
                    remote_api.fail_next = []
                    died = loop.time()
                    assert spec(remote_api)["holderIdentity"] == f"a{round_}"
                    await until(lambda: acts == [f"b{round_}"])  # noqa: B023
                    assert loop.time() - died <= 20
                    assert spec(remote_api)["leaseTransitions"] == 1
            assert spec(remote_api)["holderIdentity"] == ""

    virtual(run())


def test_a_lease_that_was_given_back_is_taken_at_the_next_look(remote_api, virtual):
    async def run():
        acts = []
        async with candidate(remote_api, "a", acts) as (_, first):
            await asyncio.sleep(1)
            async with candidate(remote_api, "b", acts):
                await asyncio.sleep(30)
                first.cancel()
                await asyncio.wait([first])
                given = spec(remote_api)
                assert (given["holderIdentity"], given["leaseDurationSeconds"]) == ("", 1)
                began = asyncio.get_running_loop().time()
                await until(lambda: acts == ["b"])
                assert asyncio.get_running_loop().time() - began <= 4.5  # a pause with its jitter

    virtual(run())


def test_a_lease_is_judged_by_the_moment_its_record_changed_and_not_by_the_times_in_it(remote_api, virtual):
    """Clocks of machines differ: one that is an hour behind is no dead leader."""

    async def run():
        acts = []
        old = {"holderIdentity": "x", "leaseDurationSeconds": 15, "renewTime": "2020-01-01T00:00:00.000000Z"}
        remote_api.add(LEASES, {"metadata": {"namespace": PLACE[0], "name": PLACE[1]}, "spec": old})
        async with candidate(remote_api, "a", acts):
            for second in range(5):
                await asyncio.sleep(14)
                assert acts == []

                def renew(obj, second=second):
                    obj["spec"]["renewTime"] = f"2020-01-01T00:00:{second + 10}.000000Z"

                remote_api.change(LEASES, *PLACE, renew)
            await asyncio.sleep(20)
            assert acts == ["a"]

    virtual(run())


def test_a_change_of_anything_but_the_record_keeps_no_lease_alive(remote_api, virtual):
    async def run():
        acts = []
        remote_api.add(
            LEASES,
            {
                "metadata": {"namespace": PLACE[0], "name": PLACE[1]},
                "spec": {"holderIdentity": "x", "leaseDurationSeconds": 15},
            },
        )
        async with candidate(remote_api, "a", acts):
            for number in range(10):
                await asyncio.sleep(2)
                remote_api.change(LEASES, *PLACE, lambda obj, n=number: obj["metadata"].update(labels={"n": str(n)}))
            assert acts == ["a"]

    virtual(run())


@pytest.mark.parametrize("hangs", [True, False])
def test_a_leader_that_cannot_renew_stops_before_its_lease_can_be_taken(remote_api, virtual, hangs):
    async def run():
        acts = []
        async with candidate(remote_api, "a", acts) as (made, task):
            await asyncio.sleep(5)
            renewed = remote_api.get(LEASES, *PLACE)["spec"]["renewTime"]
            if hangs:
                call = remote_api.call

                async def silent(asked):
                    if asked.path.endswith("leases/manager"):
                        await asyncio.get_running_loop().create_future()
                    return await call(asked)

                remote_api.call = silent
            else:
                unreachable(remote_api, "GET")
                remote_api.fail_next += [("PUT", "leases", ServiceUnavailable("down")) for _ in range(50)]
            with pytest.raises(LeadershipLost):
                await task
            assert acts == [] and not made.leads
            assert spec(remote_api)["renewTime"] == renewed
            since = LoopClock().now() - datetime.fromisoformat(renewed)
            assert since < timedelta(seconds=13)

    virtual(run())


def test_who_sees_another_holder_stops_at_once(remote_api, virtual):
    async def run():
        acts, heard = [], Heard()
        async with candidate(remote_api, "a", acts, heard) as (_, task):
            await asyncio.sleep(5)
            remote_api.change(LEASES, *PLACE, lambda obj: obj["spec"].update(holderIdentity="b"))
            with pytest.raises(LeadershipLost):
                await task
            assert spec(remote_api)["holderIdentity"] == "b"  # what is another's is not given back
            assert heard.said == [("manager", "a became leader"), ("manager", "a stopped leading")]
            assert heard.states == [False, True, False]

    virtual(run())


def test_beside_the_servers_cache_the_term_ends_with_the_commit_that_takes_the_lease(new_fake_api, virtual):
    async def run():
        api, acts = new_fake_api(in_process=True), []
        async with candidate(api, "a", acts) as (made, task):
            await asyncio.sleep(5)
            term = made.term
            api.change(LEASES, *PLACE, lambda obj: obj["spec"].update(holderIdentity="b"))
            assert not term.may_act
            with pytest.raises(LeadershipLost):
                await task

    virtual(run())


def test_beside_the_servers_cache_a_lease_that_is_given_back_or_deleted_is_taken_at_once(new_fake_api, virtual):
    async def run():
        for free in (
            lambda api: api.change(LEASES, *PLACE, lambda obj: obj["spec"].update(holderIdentity="")),
            lambda api: api.remove(LEASES, *PLACE),
        ):
            api, acts = new_fake_api(in_process=True), []
            other = {"holderIdentity": "b", "leaseDurationSeconds": 3600}
            api.add(LEASES, {"metadata": {"namespace": PLACE[0], "name": PLACE[1]}, "spec": other})
            async with candidate(api, "a", acts):
                await asyncio.sleep(5.01)
                assert acts == []
                free(api)
                await asyncio.sleep(0.001)
                assert acts == ["a"]

    virtual(run())


def test_beside_the_servers_cache_a_leader_whose_lease_was_emptied_or_deleted_takes_it_back_at_once(
    new_fake_api, virtual
):
    async def run():
        for disturb in (
            lambda api: api.change(LEASES, *PLACE, lambda obj: obj["spec"].update(holderIdentity="")),
            lambda api: api.remove(LEASES, *PLACE),
        ):
            api, acts = new_fake_api(in_process=True), []
            async with candidate(api, "a", acts, lease_seconds=60, renew_deadline_seconds=40, retry_seconds=20) as (
                made,
                task,
            ):
                await asyncio.sleep(1)
                for _ in range(3):
                    disturb(api)
                    await asyncio.sleep(0.01)
                    assert spec(api)["holderIdentity"] == "a"
                    assert made.leads and not task.done() and acts == ["a"]

    virtual(run())


def test_others_wait_no_shorter_than_the_leader_acts_when_the_lease_is_no_whole_number_of_seconds():
    config = ElectionConfig(*PLACE, "a", 1.9, 1.8, 0.1)
    config.validate()
    assert claim(config, None, "now")["spec"]["leaseDurationSeconds"] == 2


@pytest.mark.parametrize("deleted", [False, True])
def test_a_lease_that_is_anothers_before_its_winner_has_his_answer_is_not_led_by(new_fake_api, virtual, deleted):
    async def run():
        api, acts, answers = new_fake_api(in_process=True), [], []
        call = api.call

        async def late(request):
            answer = await call(request)
            if request.method == "POST" and not answers:
                answers.append(answer)
                if deleted:
                    api.remove(LEASES, *PLACE)
                else:
                    api.change(LEASES, *PLACE, lambda obj: obj["spec"].update(holderIdentity="b"))
            return answer

        api.call = late
        async with candidate(api, "a", acts, sole=True) as (made, task):
            await asyncio.sleep(0.01)
            if deleted:
                assert made.leads and spec(api)["holderIdentity"] == "a"
            else:
                assert acts == [] and task.done()
                with pytest.raises(LeadershipLost):
                    await task

    virtual(run())


def test_with_the_only_server_in_the_process_a_slow_store_ends_no_term(new_fake_api, virtual):
    async def run():
        api, acts = new_fake_api(in_process=True), []
        async with candidate(api, "a", acts, sole=True) as (made, task):
            await asyncio.sleep(5)
            unreachable(api, "GET", 1000)
            api.fail_next += [("PUT", "leases", ServiceUnavailable("slow")) for _ in range(1000)]
            await asyncio.sleep(600)
            assert acts == ["a"] and made.leads and made.overdue_seconds() == 0
            api.fail_next = []
            api.change(LEASES, *PLACE, lambda obj: obj["spec"].update(holderIdentity="b"))
            with pytest.raises(LeadershipLost):
                await task

    virtual(run())


def test_who_comes_back_under_the_same_name_leads_at_once(remote_api, virtual):
    async def run():
        acts = []
        remote_api.add(
            LEASES,
            {
                "metadata": {"namespace": PLACE[0], "name": PLACE[1]},
                "spec": {"holderIdentity": "a", "leaseDurationSeconds": 3600, "leaseTransitions": 4},
            },
        )
        async with candidate(remote_api, "a", acts):
            await asyncio.sleep(0.1)
            assert acts == ["a"] and spec(remote_api)["leaseTransitions"] == 4

    virtual(run())


def test_a_renewal_is_one_request(remote_api, virtual):
    async def run():
        acts, heard, asked = [], Heard(), []
        call = remote_api.call

        async def counted(each):
            asked.append(each.method)
            return await call(each)

        remote_api.call = counted
        async with candidate(remote_api, "a", acts, heard):
            await asyncio.sleep(0.5)
            asked.clear()
            await asyncio.sleep(20)
            assert asked == ["PUT"] * 10 and heard.slow == 0
            # Somebody labels the lease: the renewal that finds out looks again.
            remote_api.change(LEASES, *PLACE, lambda obj: obj["metadata"].update(labels={"a": "b"}))
            await asyncio.sleep(5)
            assert acts == ["a"] and heard.slow == 1 and "GET" in asked
            assert remote_api.get(LEASES, *PLACE)["metadata"]["labels"] == {"a": "b"}

    virtual(run())


def test_nothing_is_written_after_the_term_and_what_is_written_says_who_leads(remote_api, virtual):
    async def run():
        term = Term("kube-system/manager a", asyncio.get_running_loop().time, 10.0)
        seen, call = [], remote_api.call

        async def noted(each):
            seen.append((each.method, each.leader))
            return await call(each)

        remote_api.call = noted
        client = fenced(Client(remote_api), term)
        await client.create(CONFIG_MAPS, {"metadata": {"name": "x", "namespace": "n"}})
        await asyncio.sleep(10)
        for write in (
            client.create(CONFIG_MAPS, {"metadata": {"name": "y", "namespace": "n"}}),
            client.delete(CONFIG_MAPS, "x", "n"),
        ):
            with pytest.raises(ServiceUnavailable, match="no longer the leader"):
                await write
        assert (await client.get(CONFIG_MAPS, "x", "n"))["metadata"]["name"] == "x"
        assert seen == [("POST", "kube-system/manager a"), ("GET", "")]
        term.end()
        term.extend(1e9)
        assert not term.may_act

    virtual(run())


def test_what_the_leader_does_on_its_way_out_is_no_act(remote_api, virtual):
    async def run():
        refused = []

        async def lead(term):
            client = fenced(Client(remote_api), term)
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                try:
                    await client.create(CONFIG_MAPS, {"metadata": {"name": "late", "namespace": "n"}})
                except ServiceUnavailable as error:
                    refused.append(error)

        task = asyncio.ensure_future(elector(remote_api, "a").run(lead))
        await asyncio.sleep(1)
        task.cancel()
        await asyncio.wait([task])
        assert len(refused) == 1 and not remote_api.all(CONFIG_MAPS)

    virtual(run())


@pytest.mark.logs_errors("task leader manager failed")
def test_what_the_leader_fails_of_is_told_and_the_lease_given_back(remote_api, virtual):
    async def run():
        async def lead(term):
            raise ValueError("broken")

        with pytest.raises(ValueError, match="broken"):
            await elector(remote_api, "a").run(lead)
        assert spec(remote_api)["holderIdentity"] == ""

    virtual(run())


def test_of_two_who_try_at_once_one_wins(remote_api, virtual):
    async def run():
        remote_api.fail_next = [("PUT", "leases", Conflict("modified"))]
        for round_ in range(20):
            remote_api.tables.clear()
            acts = []
            async with candidate(remote_api, "a", acts), candidate(remote_api, "b", acts):
                await asyncio.sleep(round_ + 1)
                assert len(acts) == 1

    virtual(run())


@pytest.mark.parametrize(
    ("durations", "words"),
    [
        ((10, 10, 2), "leaseDuration must be greater than renewDeadline"),
        ((15, 2.4, 2), "renewDeadline must be greater than retryPeriod*JitterFactor"),
        ((0.9, 0.5, 0.1), "leaseDuration must be greater than zero"),
        ((15, 10, 0), "retryPeriod must be greater than zero"),
    ],
)
def test_durations_that_do_not_fit_are_refused_in_upstreams_words(durations, words):
    with pytest.raises(WrongElection) as refused:
        ElectionConfig(*PLACE, "a", *durations).validate()
    assert str(refused.value) == words


def test_nobody_leads_without_a_name():
    with pytest.raises(WrongElection, match="Lock identity is empty"):
        ElectionConfig(*PLACE, "").validate()


def test_what_others_keep_in_a_lease_stays(virtual):
    config = ElectionConfig(*PLACE, "a")
    lease = {
        "metadata": {"name": PLACE[1], "namespace": PLACE[0], "resourceVersion": "7", "annotations": {"k": "v"}},
        "spec": {"holderIdentity": "b", "strategy": "OldestEmulationVersion", "preferredHolder": "c"},
    }
    for made in (claim(config, lease, "now"), given_up(config, lease, "now")):
        assert made["metadata"] == lease["metadata"]
        assert (made["spec"]["strategy"], made["spec"]["preferredHolder"]) == ("OldestEmulationVersion", "c")


@pytest.mark.parametrize("spec", [None, {}, {"holderIdentity": None, "leaseTransitions": None}, "none"])
def test_a_lease_that_says_nothing_is_anybodys(remote_api, virtual, spec):
    async def run():
        acts = []
        remote_api.add(LEASES, {"metadata": {"namespace": PLACE[0], "name": PLACE[1]}, "spec": spec})
        async with candidate(remote_api, "a", acts):
            await asyncio.sleep(0.1)
            assert acts == ["a"]

    virtual(run())
