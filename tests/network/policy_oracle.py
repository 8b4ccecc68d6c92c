"""Who may reach whom, read off the objects as slowly and plainly as the API's documents say it. The tests' judge.

It shares nothing with ``sampan.network.policy``: no index, no plan, no arithmetic of ranges.
"""

import ipaddress


def labels_match(selector, labels):
    for key, value in (selector.get("matchLabels") or {}).items():
        if labels.get(key) != value:
            return False
    for each in selector.get("matchExpressions") or []:
        key, operator, values = each["key"], each["operator"], each.get("values") or []
        if operator == "In" and labels.get(key) not in values:
            return False
        if operator == "NotIn" and key in labels and labels[key] in values:
            return False
        if operator == "Exists" and key not in labels:
            return False
        if operator == "DoesNotExist" and key in labels:
            return False
    return True


class World:
    """``namespaces``: labels by name; ``pods`` and ``policies``: objects. Whoever has no pod is outside."""

    def __init__(self, namespaces, pods, policies):
        self.namespaces = namespaces
        self.policies = list(policies)
        self.by_address = {}
        for pod in pods:
            if pod["spec"].get("hostNetwork") or pod["status"].get("phase") in ("Succeeded", "Failed"):
                continue
            for each in pod["status"].get("podIPs") or []:
                self.by_address[each["ip"]] = pod

    def allowed(self, source, target, protocol, port):
        if source == target:
            return True
        return self._direction("egress", source, target, source, target, protocol, port) and self._direction(
            "ingress", target, source, source, target, protocol, port
        )

    def _direction(self, direction, own, other, source, target, protocol, port):
        pod = self.by_address.get(own)
        if pod is None:
            return True
        match = {"direction": direction, "other": other, "target": target, "protocol": protocol, "port": port}
        verdict = self._tier("Admin", pod, match)
        if verdict in ("Accept", "Deny"):
            return verdict == "Accept"
        selecting = [
            policy
            for policy in self.policies
            if policy["kind"] == "NetworkPolicy"
            and policy["metadata"]["namespace"] == pod["metadata"]["namespace"]
            and labels_match(policy["spec"].get("podSelector") or {}, pod["metadata"].get("labels") or {})
            and direction.capitalize() in policy["spec"]["policyTypes"]
        ]
        if selecting:
            return any(
                self._network_rule(policy, rule, match)
                for policy in selecting
                for rule in policy["spec"].get(direction) or []
            )
        return self._tier("Baseline", pod, match) != "Deny"

    # NetworkPolicy

    def _network_rule(self, policy, rule, match):
        peers = rule.get("from" if match["direction"] == "ingress" else "to") or []
        if peers and not any(self._network_peer(policy, peer, match["other"]) for peer in peers):
            return False
        ports = rule.get("ports") or []
        return not ports or any(self._network_port(port, match) for port in ports)

    def _network_peer(self, policy, peer, other):
        if "ipBlock" in peer:
            return self._in_block(other, peer["ipBlock"]["cidr"]) and not any(
                self._in_block(other, each) for each in peer["ipBlock"].get("except") or []
            )
        pod = self.by_address.get(other)
        if pod is None:
            return False
        namespace = pod["metadata"]["namespace"]
        if "namespaceSelector" in peer:
            if not labels_match(peer["namespaceSelector"], self.namespaces.get(namespace, {})):
                return False
        elif namespace != policy["metadata"]["namespace"]:
            return False
        return labels_match(peer.get("podSelector") or {}, pod["metadata"].get("labels") or {})

    def _network_port(self, port, match):
        if port.get("protocol", "TCP") != match["protocol"]:
            return False
        wanted = port.get("port")
        if wanted is None:
            return True
        if isinstance(wanted, str):
            return self._named(wanted, match)
        return wanted <= match["port"] <= port.get("endPort", wanted)

    def _named(self, name, match):
        pod = self.by_address.get(match["target"])
        return pod is not None and any(
            (port.get("name"), port.get("protocol", "TCP"), port["containerPort"])
            == (name, match["protocol"], match["port"])
            for container in pod["spec"]["containers"]
            for port in container.get("ports") or []
        )

    @staticmethod
    def _in_block(address, cidr):
        return ipaddress.ip_address(address) in ipaddress.ip_network(cidr)

    # ClusterNetworkPolicy

    def _tier(self, tier, pod, match):
        policies = [
            each for each in self.policies if each["kind"] == "ClusterNetworkPolicy" and each["spec"]["tier"] == tier
        ]
        for policy in sorted(policies, key=lambda policy: (policy["spec"]["priority"], policy["metadata"]["name"])):
            if not self._cluster_peer(policy["spec"]["subject"], pod):
                continue
            for rule in policy["spec"].get(match["direction"]) or []:
                if self._cluster_rule(rule, match):
                    return rule["action"]
        return ""

    def _cluster_rule(self, rule, match):
        peers = rule["from" if match["direction"] == "ingress" else "to"]
        pod = self.by_address.get(match["other"])
        found = any(
            any(self._in_block(match["other"], cidr) for cidr in peer["networks"])
            if "networks" in peer
            else pod is not None and self._cluster_peer(peer, pod)
            for peer in peers
        )
        protocols = rule.get("protocols")
        return found and (not protocols or any(self._cluster_port(each, match) for each in protocols))

    def _cluster_peer(self, peer, pod):
        labels = self.namespaces.get(pod["metadata"]["namespace"], {})
        if "namespaces" in peer:
            return labels_match(peer["namespaces"], labels)
        return labels_match(peer["pods"].get("namespaceSelector") or {}, labels) and labels_match(
            peer["pods"].get("podSelector") or {}, pod["metadata"].get("labels") or {}
        )

    def _cluster_port(self, protocol, match):
        if "destinationNamedPort" in protocol:
            return self._named(protocol["destinationNamedPort"], match)
        ((kind, what),) = protocol.items()
        if kind.upper() != match["protocol"]:
            return False
        port = what.get("destinationPort")
        if not port:
            return True
        if "range" in port:
            return port["range"]["start"] <= match["port"] <= port["range"]["end"]
        return port["number"] == match["port"]
