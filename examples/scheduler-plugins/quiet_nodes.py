"""A score plug-in: of the nodes that can take a pod, those whose owner calls them quiet are better."""

from sampan.scheduler.plugins.base import NodeScore


class QuietNodes(NodeScore):
    name = "QuietNodes"

    def rate(self, pod, node):
        return 100.0 if node["metadata"].get("labels", {}).get("example.com/quiet") == "true" else 0.0
