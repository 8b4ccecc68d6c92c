"""Namespaces, pods and policies for tests: short calls, and random ones from a seed."""

import random

LABELS = {"app": ["web", "db"], "tier": ["front", "back"]}
PROTOCOLS = ["TCP", "UDP", "SCTP"]
#: (name, protocol, number) that pods may have; one name has two numbers
NAMED = [("http", "TCP", 80), ("http", "TCP", 8080), ("dns", "UDP", 53), ("assoc", "SCTP", 90)]
PORTS = [53, 80, 90, 8080]


def pod(name, address, labels=None, namespace="default", node="node1", ports=(), phase="Running", **spec):
    addresses = [address] if isinstance(address, str) else list(address)
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": dict(labels or {}),
            "uid": f"uid-{namespace}-{name}",
        },
        "spec": {
            "nodeName": node,
            "containers": [
                {
                    "name": "c",
                    "ports": [
                        {"name": port, "protocol": protocol, "containerPort": number}
                        for port, protocol, number in ports
                    ],
                }
            ],
            **spec,
        },
        "status": {
            "phase": phase,
            "podIP": addresses[0] if addresses else "",
            "podIPs": [{"ip": each} for each in addresses],
        },
    }


def namespace(name, **labels):
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": name, "labels": {"kubernetes.io/metadata.name": name, **labels}},
    }


def policy(name, selector=None, ingress=None, egress=None, namespace="default", types=None):
    """As the API server stores it: with its types and protocols. Labels of ``selector`` are a plain map."""
    types = types or [kind for kind, rules in (("Ingress", ingress), ("Egress", egress)) if rules is not None]
    spec = {"podSelector": {"matchLabels": selector} if selector else {}, "policyTypes": types or ["Ingress"]}
    for direction, rules in (("ingress", ingress), ("egress", egress)):
        if rules:
            spec[direction] = rules
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    }


def cluster_policy(name, tier="Admin", priority=10, subject=None, ingress=(), egress=()):
    spec = {"tier": tier, "priority": priority, "subject": subject or {"namespaces": {}}}
    for direction, rules in (("ingress", ingress), ("egress", egress)):
        if rules:
            spec[direction] = list(rules)
    return {
        "apiVersion": "policy.networking.k8s.io/v1alpha2",
        "kind": "ClusterNetworkPolicy",
        "metadata": {"name": name},
        "spec": spec,
    }


BLOCKS = ("10.244.0.0/24", "10.244.0.0/30", "10.244.1.0/24", "192.0.2.0/24", "0.0.0.0/0")
BLOCKS6 = ("fd00:10:244::/64", "fd00:10:244::2/127", "2001:db8::/64", "::/0")
#: what may be left out of a block
INSIDE = {
    "10.244.0.0/24": ["10.244.0.2/32", "10.244.0.4/31"],
    "0.0.0.0/0": ["10.244.0.0/25", "192.0.2.2/32"],
    "fd00:10:244::/64": ["fd00:10:244::4/128"],
    "::/0": ["fd00:10:244::/64", "2001:db8::2/128"],
}


class Dice:
    """Random policies over a small alphabet, so that they meet often."""

    def __init__(self, seed, blocks=BLOCKS):
        self.random = random.Random(seed)
        self.blocks = list(blocks)

    def some(self, listed, least=0, most=2):
        return self.random.sample(listed, min(len(listed), self.random.randint(least, most)))

    def labels(self):
        return {key: self.random.choice(values) for key, values in LABELS.items() if self.random.random() < 0.7}

    def selector(self):
        kind = self.random.randrange(5)
        key = self.random.choice(list(LABELS))
        if kind == 0:
            return {}
        if kind < 3:
            return {"matchLabels": {key: self.random.choice(LABELS[key])}}
        operator = self.random.choice(["In", "NotIn", "Exists", "DoesNotExist"])
        values = {"values": self.some(LABELS[key], 1)} if operator in ("In", "NotIn") else {}
        return {"matchExpressions": [{"key": key, "operator": operator, **values}]}

    def block(self):
        cidr = self.random.choice(self.blocks)
        holes = self.some(INSIDE.get(cidr, []))
        return {"ipBlock": {"cidr": cidr, **({"except": holes} if holes else {})}}

    def peer(self):
        kind = self.random.randrange(4)
        if kind == 0:
            return self.block()
        found = {}
        if kind in (1, 3):
            found["podSelector"] = self.selector()
        if kind in (2, 3):
            found["namespaceSelector"] = self.selector()
        return found

    def port(self):
        protocol = self.random.choice(PROTOCOLS)
        kind = self.random.randrange(5)
        if kind == 0:
            return {"protocol": protocol}
        if kind == 1:
            return {"protocol": protocol, "port": self.random.choice(NAMED)[0]}
        if kind == 2:
            first, last = sorted(self.random.sample(PORTS, 2))
            return {"protocol": protocol, "port": first, "endPort": last}
        return {"protocol": protocol, "port": self.random.choice(PORTS)}

    def rule(self, key):
        rule = {}
        if peers := [self.peer() for _ in range(self.random.randrange(3))]:
            rule[key] = peers
        if ports := [self.port() for _ in range(self.random.randrange(3))]:
            rule["ports"] = ports
        return rule

    def network_policy(self, name, namespace):
        made = policy(name, namespace=namespace, types=self.some(["Ingress", "Egress"], 1))
        made["spec"]["podSelector"] = self.selector()
        for direction, key in (("ingress", "from"), ("egress", "to")):
            if rules := [self.rule(key) for _ in range(self.random.randrange(3))]:
                made["spec"][direction] = rules
        return made

    def cluster_peer(self, networks):
        kind = self.random.randrange(3 if networks else 2)
        if kind == 2:
            return {"networks": self.some(self.blocks, 1)}
        if kind == 0:
            return {"namespaces": self.selector()}
        return {"pods": {"namespaceSelector": self.selector(), "podSelector": self.selector()}}

    def cluster_protocol(self):
        kind, protocol = self.random.randrange(4), self.random.choice(["tcp", "udp", "sctp"])
        if kind == 0:
            return {"destinationNamedPort": self.random.choice(NAMED)[0]}
        if kind == 1:
            first, last = sorted(self.random.sample(PORTS, 2))
            return {protocol: {"destinationPort": {"range": {"start": first, "end": last}}}}
        return {protocol: {"destinationPort": {"number": self.random.choice(PORTS)}}}

    def cluster_rules(self, key):
        rules = []
        for _ in range(self.random.randrange(3)):
            rule = {"action": self.random.choice(["Accept", "Deny", "Pass"])}
            rule[key] = [self.cluster_peer(key == "to") for _ in range(self.random.randint(1, 2))]
            if protocols := [self.cluster_protocol() for _ in range(self.random.randrange(2))]:
                rule["protocols"] = protocols
            rules.append(rule)
        return rules

    def cluster_policy(self, name):
        return cluster_policy(
            name,
            self.random.choice(["Admin", "Baseline"]),
            self.random.randrange(4),
            self.cluster_peer(networks=False),
            self.cluster_rules("from"),
            self.cluster_rules("to"),
        )

    def pod(self, name, address, namespace, node):
        return pod(
            name,
            address,
            self.labels(),
            namespace,
            node,
            self.some(NAMED[:1] + NAMED[2:]) if self.random.random() < 0.6 else NAMED[1:2],
        )
