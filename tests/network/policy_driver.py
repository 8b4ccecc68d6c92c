"""Objects that change, the planner that hears of it, and the judge who says what should come of it."""

import itertools

import policy_oracle
import policy_worlds as make

from sampan.network.policy.memory import MemoryBackend
from sampan.network.policy.model import PodKey, PolicyKey
from sampan.network.policy.planner import Planner
from sampan.network.policy.reading import read_pod, read_policy

NODE = "node1"
OUTSIDE = "192.0.2.2"


class Driver:
    """Objects that change, a planner that hears of it, and a back end that is told."""

    def __init__(self):
        self.planner = Planner(NODE)
        self.backend = MemoryBackend()
        self.namespaces, self.pods, self.policies = {}, {}, {}

    def put(self, *objects):
        for obj in objects:
            meta = obj["metadata"]
            if obj["kind"] == "Namespace":
                self.namespaces[meta["name"]] = meta["labels"]
                self.planner.set_namespace(meta["name"], meta["labels"])
            elif obj["kind"] == "Pod":
                key = PodKey(meta["namespace"], meta["name"])
                self.pods[key] = obj
                self.planner.set_pod(key, read_pod(obj))
            else:
                read = read_policy(obj)
                self.policies[read.key] = obj
                self.planner.set_policy(read.key, read)

    def drop(self, key):
        if isinstance(key, PolicyKey):
            del self.policies[key]
            self.planner.set_policy(key, None)
        elif isinstance(key, PodKey):
            del self.pods[key]
            self.planner.set_pod(key, None)
        else:
            del self.namespaces[key]
            self.planner.set_namespace(key, None)

    def sync(self, whole=False):
        delta = self.planner.take(whole=whole)
        if delta:
            self.backend.take(delta)
        return delta

    def world(self):
        return policy_oracle.World(self.namespaces, self.pods.values(), self.policies.values())

    def lets(self, source, target, protocol="TCP", port=80):
        return self.backend.lets(source, target, protocol.lower(), port)

    def agree(self, random=None, samples=0):
        """Both directions of every pair in which this node has a say."""
        world = self.world()
        addresses = [*sorted({each["ip"] for pod in self.pods.values() for each in pod["status"]["podIPs"]}), OUTSIDE]
        local = {
            each["ip"]
            for pod in self.pods.values()
            if pod["spec"]["nodeName"] == NODE
            for each in pod["status"]["podIPs"]
        }
        questions = [
            (source, target, protocol, port)
            for source, target in itertools.product(addresses, addresses)
            if source in local or target in local
            for protocol, port in itertools.product(make.PROTOCOLS, make.PORTS)
        ]
        if random is not None:
            questions = random.sample(questions, min(samples, len(questions)))
        for source, target, protocol, port in questions:
            expected = here(world, local, source, target, protocol, port)
            assert self.lets(source, target, protocol, port) == expected, (source, target, protocol, port)


def here(world, local, source, target, protocol, port):
    """What this node is to say: it judges its own pods' ends."""
    if source == target:
        return True
    return (source not in local or world._direction("egress", source, target, source, target, protocol, port)) and (
        target not in local or world._direction("ingress", target, source, source, target, protocol, port)
    )
