"""Manifests that several end-to-end tests use, as text."""

from __future__ import annotations

IMAGE = "docker.io/sampan/e2e:1"


def pod(name: str, command: str = "sleep 3600", extra: str = "", container_extra: str = "") -> str:
    """A pod with one container ``main``; ``extra`` is YAML below spec, ``container_extra`` below the container."""
    return f"""
apiVersion: v1
kind: Pod
metadata:
  name: {name}
  labels: {{app: {name}}}
spec:
  terminationGracePeriodSeconds: 1
  containers:
    - name: main
      image: {IMAGE}
      imagePullPolicy: IfNotPresent
      command: ["sh", "-c", {command!r}]
{_indent(container_extra, 6)}
{_indent(extra, 2)}
"""


def web(name: str = "web", replicas: int = 3, annotation: str = "one", image: str = IMAGE) -> str:
    """A Deployment of small web servers that answer with their pod's name, and its Service."""
    return f"""
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {name}
  labels: {{app: {name}}}
spec:
  replicas: {replicas}
  selector: {{matchLabels: {{app: {name}}}}}
  strategy: {{type: RollingUpdate, rollingUpdate: {{maxSurge: 1, maxUnavailable: 0}}}}
  template:
    metadata:
      labels: {{app: {name}}}
      annotations: {{note: {annotation}}}
    spec:
      terminationGracePeriodSeconds: 5
      containers:
        - name: web
          image: {image}
          imagePullPolicy: IfNotPresent
          command: ["sh", "-c", "mkdir -p /www; hostname > /www/index.html; exec httpd -f -p 8080 -h /www"]
          ports: [{{name: http, containerPort: 8080}}]
          readinessProbe: {{httpGet: {{path: /, port: http}}, periodSeconds: 2}}
          lifecycle: {{preStop: {{exec: {{command: ["sleep", "2"]}}}}}}
---
apiVersion: v1
kind: Service
metadata:
  name: {name}
spec:
  selector: {{app: {name}}}
  ports: [{{port: 80, targetPort: http}}]
"""


def _indent(text: str, width: int) -> str:
    return "\n".join(" " * width + line for line in text.strip("\n").splitlines())
