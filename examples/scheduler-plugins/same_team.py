"""A filter plug-in: a pod with a team runs on that team's nodes alone."""

from sampan.scheduler.plugins.base import NodeFilter


class SameTeam(NodeFilter):
    name = "SameTeam"

    def __init__(self, arguments):
        self.label = arguments.get("label", "team")

    def refuse(self, pod, node):
        team = pod["metadata"].get("labels", {}).get(self.label)
        owner = node["metadata"].get("labels", {}).get(self.label)
        return f"node(s) belonged to another {self.label}" if team and team != owner else ""
