"""Keeps what a node has to enforce up to date, change by change. Pure.

One pod's change touches the sets it is among and, on its own node, the selection it goes through; nothing that grows
with the cluster. A policy that selects none of this node's pods costs its place in an index.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from sampan.network.policy.members import Members
from sampan.network.policy.model import DIRECTIONS, Direction, PodFacts, PodKey, Policy, PolicyKey, Rule
from sampan.network.policy.plan import (
    Chain,
    Delta,
    Judged,
    NamedPorts,
    PeerSet,
    PolicyRules,
    Selection,
    SetKey,
)
from sampan.network.policy.sets import Sets

#: Pods, and policies of each, that are looked at before who drives the work may turn to others.
_AT_ONCE = 400


class Planner:
    """Invariants: ``_judged`` holds this node's pods that some policy restricts, each under every address it has;
    ``_users`` counts the addresses of each selection; ``_sets`` has what the rules of used selections refer to.
    Pods that are ``_behind`` stand there as they were before."""

    def __init__(self, node: str) -> None:
        self.node = node
        self._policies: dict[PolicyKey, Policy] = {}
        self._subjects: Members[PolicyKey] = Members()
        self._sets = Sets()
        self._labels: dict[str, Mapping[str, str]] = {}
        self._pods: dict[PodKey, PodFacts] = {}
        #: this node's pods, by namespace
        self._local: dict[str, dict[PodKey, None]] = {}
        #: pods whose namespace has changed, or a policy that selects them, and who have not been looked at since
        self._behind: dict[PodKey, None] = {}
        #: sets that stale chains will want, and that ``preparing`` has filled
        self._prepared: list[SetKey] = []
        #: by address; of several pods that claim one, the last has it
        self._judged: dict[str, dict[PodKey, Judged]] = {}
        self._users: dict[Selection, int] = {}
        #: selections whose policies' rules changed, came into use or fell out of it
        self._stale: set[Selection] = set()
        self._stale_pods: set[str] = set()
        # What was told last.
        self._told_pods: dict[str, Judged] = {}
        self._told_chains: dict[Selection, Chain] = {}
        self._told_policies: dict[PolicyRules, tuple[Rule, ...]] = {}
        #: used chains by the policies that they name
        self._by_policy: dict[PolicyKey, set[Selection]] = {}
        self._referred: dict[Selection, tuple[SetKey, ...]] = {}

    # What changes

    def set_namespace(self, name: str, labels: Mapping[str, str] | None) -> None:
        """None: it is gone. Its pods are looked at by ``preparing``, or by ``take``."""
        if labels is None:
            self._labels.pop(name, None)
        else:
            self._labels[name] = labels
        for_sets = self._sets.set_namespace(name, labels)
        for_subjects = self._subjects.set_namespace(name, labels)
        if for_sets or for_subjects:
            self._behind.update(dict.fromkeys(self._sets.pods_in(name)))

    def set_pod(self, key: PodKey, facts: PodFacts | None) -> None:
        """None: it is gone, or has no address of its own."""
        before = self._pods.get(key)
        if before == facts:
            return
        if facts is None:
            self._pods.pop(key, None)
        else:
            self._pods[key] = facts
        self._sets.set_pod(key, facts)
        if facts is not None and facts.node == self.node:
            self._local.setdefault(key.namespace, {})[key] = None
        elif before is not None and before.node == self.node:
            self._local[key.namespace].pop(key)
            if not self._local[key.namespace]:
                del self._local[key.namespace]
        if before is not None and before.node == self.node:
            kept = facts.addresses if facts is not None and facts.node == self.node else ()
            for address in sorted(set(before.addresses) - set(kept)):
                self._claim(address, key, None)
        if facts is not None and facts.node == self.node:
            self._judge(key, facts)

    def set_policy(self, key: PolicyKey, policy: Policy | None) -> None:
        """None: it is gone. The pods that it selects are looked at by ``preparing``, or by ``take``: once, of however
        many policies that change at a time."""
        before = self._policies.get(key)
        if before == policy:
            return
        concerned = self._selected(before) | self._selected(policy)
        if policy is None:
            self._policies.pop(key, None)
            self._subjects.drop(key)
        else:
            self._policies[key] = policy
            self._subjects.put(key, policy.subject)
        self._stale |= self._by_policy.get(key, set())
        self._behind.update(dict.fromkeys(sorted(concerned)))

    # What is asked

    def judged(self, address: str) -> Judged:
        """By what an address is judged at present."""
        claims = self._judged.get(address)
        return next(reversed(claims.values())) if claims else Judged()

    def owner(self, address: str) -> PodKey | None:
        """The pod of this node that has it and is restricted."""
        claims = self._judged.get(address)
        return next(reversed(claims)) if claims else None

    @property
    def restricted(self) -> int:
        """How many addresses of this node some policy restricts."""
        return len(self._judged)

    def addresses(self, key: PodKey) -> set[str]:
        """Those under which a pod is known."""
        facts = self._pods.get(key)
        return set(facts.addresses) if facts is not None else set()

    def policies(self) -> list[Policy]:
        return list(self._policies.values())

    def policy(self, key: PolicyKey) -> Policy | None:
        return self._policies.get(key)

    def used(self) -> list[Policy]:
        """Those that restrict a pod of this node."""
        used = sorted({key for each in self._users for key in each.policies})
        return [self._policies[key] for key in used if key in self._policies]

    @property
    def idle(self) -> bool:
        return not self._policies

    def preparing(self) -> Iterator[None]:
        """Does step by step what ``take`` would otherwise do at once, and what grows with the cluster: fills sets that
        come into use, looks at pods that are behind. Between the steps everything may change."""
        yield from self._catch_up()
        wanted = dict.fromkeys(
            key
            for selection in self._stale
            if selection in self._users
            for rule in (
                rule
                for policy in selection.policies
                for rule in self._policies[policy].rules(selection.direction) or ()
            )
            for key in sets_of(rule)
        )
        for key in wanted:
            self._prepared.append(key)
            yield from self._sets.refer(key)

    def _catch_up(self) -> Iterator[None]:
        done = 0
        while self._behind:
            key, _ = self._behind.popitem()
            facts = self._pods.get(key)
            if facts is not None:
                self._sets.set_pod(key, facts)
                done += 1
                if facts.node == self.node:
                    done += self._judge(key, facts)
                if done >= _AT_ONCE:
                    done = 0
                    yield

    def take(self, *, whole: bool = False) -> Delta:
        """What changed since the last time; ``whole``: all there is, for who has nothing."""
        if whole:
            self._told_pods, self._told_chains, self._told_policies = {}, {}, {}
            self._stale |= set(self._users)
            self._stale_pods = set(self._judged)
        for _ in self._catch_up():
            pass
        delta = Delta(whole=whole)
        self._take_chains(delta)
        for key in self._prepared:
            self._sets.release(key)
        self._prepared = []
        delta.sets, delta.elements = self._sets.take(whole=whole)
        self._take_pods(delta)
        return delta

    # Pods of this node

    def _selected(self, policy: Policy | None) -> set[PodKey]:
        """This node's pods that it selects."""
        if policy is None:
            return set()
        subject = policy.subject
        where = [subject.namespace] if subject.namespace else list(self._local)
        return {
            key
            for namespace in where
            for key in self._local.get(namespace, ())
            if subject.matches(namespace, self._labels.get(namespace, {}), self._pods[key].labels)
        }

    def _judge(self, key: PodKey, facts: PodFacts) -> int:
        """How many policies select it."""
        selected = [self._policies[each] for each in self._subjects.of(facts.key.namespace, facts.labels)]
        judged = Judged(*(select(selected, direction) for direction in DIRECTIONS))
        for address in facts.addresses:
            self._claim(address, key, judged if judged != Judged() else None)
        return len(selected)

    def _claim(self, address: str, key: PodKey, judged: Judged | None) -> None:
        claims = self._judged.setdefault(address, {})
        before = self.judged(address)
        if judged is None:
            claims.pop(key, None)
        else:
            claims[key] = judged
        if not claims:
            del self._judged[address]
        after = self.judged(address)
        if before == after:
            return
        self._stale_pods.add(address)
        for selection in after:
            if selection is not None:
                self._users[selection] = self._users.get(selection, 0) + 1
                self._stale.add(selection)
        for selection in before:
            if selection is not None:
                self._users[selection] -= 1
                if not self._users[selection]:
                    del self._users[selection]
                    self._stale.add(selection)

    # What is told

    def _take_chains(self, delta: Delta) -> None:
        named: dict[PolicyRules, None] = {}
        delta.known_chains, delta.known_policies = frozenset(self._told_chains), frozenset(self._told_policies)
        for selection in sorted(self._stale, key=_by_words):
            used = selection in self._users
            chain = self._chain(selection) if used else None
            self._refer(selection, chain)
            if chain != self._told_chains.get(selection):
                delta.chains[selection] = chain
                if chain is None:
                    del self._told_chains[selection]
                else:
                    self._told_chains[selection] = chain
            named.update((PolicyRules(key, selection.direction), None) for key in selection.network)
        self._stale = set()
        for rules in named:
            self._take_policy(rules, delta)

    def _take_policy(self, rules: PolicyRules, delta: Delta) -> None:
        used = any(each.direction == rules.direction for each in self._by_policy.get(rules.key, ()))
        policy = self._policies.get(rules.key)
        wanted = (policy.rules(rules.direction) if policy is not None else None) if used else None
        if wanted != self._told_policies.get(rules):
            delta.policies[rules] = wanted
            if wanted is None:
                del self._told_policies[rules]
            else:
                self._told_policies[rules] = wanted

    def _take_pods(self, delta: Delta) -> None:
        before: dict[str, Judged] = {}
        for address in sorted(self._stale_pods):
            old, new = self._told_pods.pop(address, None), self.judged(address)
            if new != Judged():
                self._told_pods[address] = new
            if (old or Judged()) == new:
                continue
            delta.pods[address] = new if new != Judged() else None
            if old is not None:
                before[address] = old
        self._stale_pods = set()
        delta.pods_before = before

    def _chain(self, selection: Selection) -> Chain:
        return Chain(
            tuple(self._rules(selection.admin, selection.direction)),
            selection.network,
            tuple(self._rules(selection.baseline, selection.direction)),
        )

    def _rules(self, keys: Iterable[PolicyKey], direction: Direction) -> Iterable[Rule]:
        for key in keys:
            yield from self._policies[key].rules(direction) or ()

    def _refer(self, selection: Selection, chain: Chain | None) -> None:
        """Sets that rules name live as long as a used chain names them."""
        for key in selection.policies:
            using = self._by_policy.setdefault(key, set())
            if chain is None:
                using.discard(selection)
            else:
                using.add(selection)
            if not using:
                del self._by_policy[key]
        named: dict[SetKey, None] = {}
        if chain is not None:
            rules = [*chain.admin, *chain.baseline, *self._rules(chain.network, selection.direction)]
            named = dict.fromkeys(key for rule in rules for key in sets_of(rule))
        before = self._referred.pop(selection, ())
        for wanted in named:
            for _ in self._sets.refer(wanted):
                pass
        for held in before:
            self._sets.release(held)
        if named:
            self._referred[selection] = tuple(named)


def alone(policies: Iterable[Policy]) -> Delta:
    """The rules of some policies and what they ask, with nobody in their sets and nobody who goes through them."""
    delta = Delta(whole=True)
    for policy in policies:
        for direction in DIRECTIONS:
            rules = policy.rules(direction)
            if rules is None:
                continue
            delta.sets.update((key, True) for rule in rules for key in sets_of(rule))
            if policy.tier == "network":
                delta.policies[PolicyRules(policy.key, direction)] = rules
            else:
                delta.chains[Selection(direction, admin=(policy.key,))] = Chain(admin=rules)
    return delta


def select(policies: Iterable[Policy], direction: Direction) -> Selection | None:
    """Of the policies that select a pod those that decide a direction; None: none does."""
    found: dict[str, list[Policy]] = {"admin": [], "network": [], "baseline": []}
    for policy in policies:
        if policy.rules(direction) is not None:
            found[policy.tier].append(policy)
    if not any(found.values()):
        return None
    ordered = {
        tier: tuple(policy.key for policy in sorted(listed, key=lambda policy: policy.order))
        for tier, listed in found.items()
    }
    return Selection(direction, ordered["admin"], ordered["network"], () if ordered["network"] else ordered["baseline"])


def sets_of(rule: Rule) -> list[SetKey]:
    """The sets that a rule asks."""
    return [*map(PeerSet, rule.peers), *map(NamedPorts, rule.names)]


def _by_words(selection: Selection) -> tuple[object, ...]:
    return selection.direction, selection.admin, selection.network, selection.baseline
