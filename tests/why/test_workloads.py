"""Rollouts, Jobs, Services, Ingresses: the way from what people look at to what is wrong."""

from __future__ import annotations

from typing import Any

from situations import Situation, pod, workload

from sampan.api.resources import DEPLOYMENTS, INGRESSES, NODES, PODS, SERVICES, STATEFUL_SETS
from sampan.api.types import Obj
from sampan.node import runtime
from sampan.node.simulated import Behaviour


def of(kind: str, name: str, version: str = "v1", **rest: Any) -> Obj:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name}, **rest}


def service(name: str = "web", selector: Obj | None = None, **port: Any) -> Obj:
    spec = {"selector": selector or {"app": "web"}, "ports": [{"port": 80, **port}]}
    return of("Service", name, spec=spec)


def behave(situation: Situation, **how: Any) -> None:
    for each in situation.cluster.runtimes.values():
        each.default_behaviour = Behaviour(**how)


def test_a_paused_rollout(situation: Situation) -> None:
    situation.make(workload())
    situation.wait()
    situation.cluster.patch(DEPLOYMENTS, "web", {"spec": {"paused": True}})
    situation.cluster.patch(DEPLOYMENTS, "web", {"spec": {"template": {"metadata": {"annotations": {"new": "1"}}}}})
    situation.wait(10)
    situation.mended(situation.first("deployment/web", "paused", "is paused"), "deployment/web")


def test_a_deployment_that_asks_for_no_pods(situation: Situation) -> None:
    situation.make(workload(replicas=0))
    situation.wait(10)
    situation.mended(situation.first("deployment/web", "zero", "it asks for none"), "deployment/web")


def test_pods_that_are_not_available_yet(situation: Situation) -> None:
    situation.make(workload(own={"minReadySeconds": 3600, "progressDeadlineSeconds": 7200}))
    situation.wait(60)
    situation.mended(situation.first("deployment/web", "min-ready", "ready for 3600 s"), "deployment/web")


def test_a_rollout_that_has_stalled_is_told_by_its_cause_first(situation: Situation) -> None:
    situation.make(workload(container={"resources": {"requests": {"cpu": "64"}}}, own={"progressDeadlineSeconds": 30}))
    situation.wait(120)
    found = situation.why("deployment/web")
    assert [cause.rule for cause in found.causes] == ["node-resources", "rollout-deadline"]
    assert [str(ref).partition("/")[0] for ref in found.causes[0].path] == ["deployment", "replicaset"]
    situation.mended(found.causes[0], "deployment/web")


def test_a_stateful_set_that_waits_for_an_ordinal(situation: Situation) -> None:
    situation.make(workload("StatefulSet", "db", replicas=3, nodeSelector={"disk": "sdd"}))
    situation.wait(30)
    found = situation.why("statefulset/db")
    assert [cause.rule for cause in found.causes] == ["node-selector", "ordinal"]
    assert "db-1 is not made before db-0 is ready" in found.causes[1].sentence
    situation.mended(found.causes[0], "statefulset/db")


def test_an_update_that_a_partition_holds_back(situation: Situation) -> None:
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"partition": 2}}
    situation.make(workload("StatefulSet", "db", replicas=2, own={"updateStrategy": strategy}))
    situation.wait(30)
    template = {"spec": {"template": {"metadata": {"annotations": {"new": "1"}}}}}
    situation.cluster.patch(STATEFUL_SETS, "db", template)
    situation.wait(10)
    situation.mended(situation.first("statefulset/db", "held-update", "below ordinal 2"), "statefulset/db")


def test_an_update_that_waits_for_somebody_to_delete_pods(situation: Situation) -> None:
    situation.make(workload("StatefulSet", "db", replicas=2, own={"updateStrategy": {"type": "OnDelete"}}))
    situation.wait(30)
    situation.cluster.patch(STATEFUL_SETS, "db", {"spec": {"template": {"metadata": {"annotations": {"new": "1"}}}}})
    situation.wait(10)
    situation.mended(situation.first("statefulset/db", "held-update", "OnDelete"), "statefulset/db")


def test_a_daemon_set_that_skips_a_tainted_node(situation: Situation) -> None:
    taint = {"key": "dedicated", "value": "db", "effect": "NoSchedule"}
    situation.cluster.patch(NODES, "node-1", {"spec": {"taints": [taint]}})
    situation.make(workload("DaemonSet", "agent"))
    situation.wait()
    cause = situation.first(
        "daemonset/agent", "skipped-nodes", "does not run on 1 of 3 nodes: node node-1 has the taint"
    )
    situation.mended(cause, "daemonset/agent")


def test_a_daemon_set_that_skips_nodes_without_a_label(situation: Situation) -> None:
    situation.make(workload("DaemonSet", "agent", nodeSelector={"role": "edge"}))
    situation.wait()
    situation.mended(situation.first("daemonset/agent", "skipped-nodes", "has no label role"), "daemonset/agent")


def job(name: str = "j", **spec: Any) -> Obj:
    own = {"containers": [{"name": "c", "image": "docker.io/library/app:1"}], "restartPolicy": "Never"}
    return of("Job", name, "batch/v1", spec={"template": {"spec": own}, **spec})


def test_a_job_whose_pods_fail(situation: Situation) -> None:
    behave(situation, run_seconds=1, exit_code=4)
    situation.make(job(backoffLimit=1))
    situation.wait(120)
    cause = situation.first("job/j", "job-backoff", "more than its backoffLimit of 1 allows")
    assert any("ended with exit code 4" in each for each in cause.evidence)
    behave(situation, run_seconds=1, exit_code=0)
    situation.mended(cause, "job/j")


def test_a_job_that_took_too_long(situation: Situation) -> None:
    situation.make(job(activeDeadlineSeconds=10))
    situation.wait(60)
    cause = situation.first("job/j", "job-deadline", "longer than its activeDeadlineSeconds (10 s)")
    situation.mended(cause, "job/j")


def test_a_job_that_is_suspended(situation: Situation) -> None:
    situation.make(job(suspend=True))
    situation.wait(10)
    situation.mended(situation.first("job/j", "job-suspended"), "job/j")


def test_a_job_that_its_policy_fails(situation: Situation) -> None:
    behave(situation, run_seconds=1, exit_code=42)
    rule = {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [42]}}
    situation.make(job(podFailurePolicy={"rules": [rule]}))
    situation.wait(60)
    cause = situation.first("job/j", "job-policy", "its podFailurePolicy says so")
    behave(situation, run_seconds=1, exit_code=0)
    situation.mended(cause, "job/j")


def cron_job(**spec: Any) -> Obj:
    made = job()["spec"]
    return of("CronJob", "tick", "batch/v1", spec={"schedule": "* * * * *", "jobTemplate": {"spec": made}, **spec})


def test_a_cron_job_that_is_suspended(situation: Situation) -> None:
    behave(situation, run_seconds=1, exit_code=0)
    situation.make(cron_job(suspend=True))
    situation.wait(90)
    situation.mended(situation.first("cronjob/tick", "cron-suspended"), "cronjob/tick")


def test_a_cron_job_whose_last_job_does_not_end(situation: Situation) -> None:
    situation.make(cron_job(concurrencyPolicy="Forbid"))
    situation.wait(200)
    cause = situation.first("cronjob/tick", "cron-busy", "starts no new Job while tick-")
    situation.mend(cause)
    situation.wait(90)
    assert "cron-busy" not in {each.rule for each in situation.why("cronjob/tick").causes}


def test_a_cron_job_whose_last_job_failed_leads_to_it(situation: Situation) -> None:
    behave(situation, run_seconds=1, exit_code=1)
    made = cron_job()
    made["spec"]["jobTemplate"]["spec"]["backoffLimit"] = 0
    situation.make(made)
    situation.wait(100)
    situation.first("cronjob/tick", "job-backoff")


def test_a_service_whose_selector_is_a_slip(situation: Situation) -> None:
    situation.make(workload(), service(selector={"app": "wbe"}))
    situation.wait()
    cause = situation.first("service/web", "service-selector", "its selector app=wbe means no pod")
    situation.mended(cause, "service/web")


def test_a_service_whose_pods_do_not_exist(situation: Situation) -> None:
    situation.make(service(selector={"tier": "gone"}))
    situation.wait(5)
    cause = situation.first("service/web", "service-selector", "no pod of namespace default has the labels tier=gone")
    situation.make(pod("front", labels={"tier": "gone"}))
    situation.wait()
    assert cause.fix is not None and situation.why("service/web").healthy


def test_a_service_that_sends_to_a_port_that_no_pod_names(situation: Situation) -> None:
    ports = {"ports": [{"name": "http", "containerPort": 8080}]}
    situation.make(workload(container=ports), service(targetPort="htpp"))
    situation.wait()
    cause = situation.first("service/web", "service-port", "no container of its pods has a port named htpp")
    situation.mended(cause, "service/web")
    assert situation.cluster.get(SERVICES, "web")["spec"]["ports"][0]["targetPort"] == "http"


def test_a_service_whose_pods_are_not_ready(situation: Situation) -> None:
    for each in situation.cluster.runtimes.values():
        each.exec_handler = lambda container, command: runtime.ExecResult(b"", b"no", 1)
    probe = {"readinessProbe": {"exec": {"command": ["check"]}, "periodSeconds": 1}}
    situation.make(workload(container=probe), service())
    situation.wait(60)
    cause = situation.first("service/web", "not-ready-probe")
    assert [str(ref) for ref in cause.path] == ["service/web"]
    situation.mended(cause, "service/web")


def test_a_service_without_a_selector(situation: Situation) -> None:
    situation.make(of("Service", "db", spec={"ports": [{"port": 5432}]}))
    situation.wait(5)
    situation.first("service/db", "service-by-hand", "nobody wrote an EndpointSlice")


def test_a_load_balancer_of_a_class_that_nobody_serves(situation: Situation) -> None:
    made = service()
    made["spec"] |= {"type": "LoadBalancer", "loadBalancerClass": "example.com/cloud"}
    situation.make(workload(), made)
    situation.wait()
    cause = situation.first("service/web", "load-balancer", "nothing here serves the class example.com/cloud")
    situation.mended(cause, "service/web")


def test_a_network_policy_that_lets_nobody_in(situation: Situation) -> None:
    policy = of("NetworkPolicy", "shut", "networking.k8s.io/v1", spec={"podSelector": {}, "policyTypes": ["Ingress"]})
    situation.make(workload(), service(), policy)
    situation.wait()
    cause = situation.first("service/web", "policy-drops", "the NetworkPolicy shut lets no connection in")
    situation.mended(cause, "service/web")


def test_a_port_that_no_container_declares_is_only_possible(situation: Situation) -> None:
    ports = {"ports": [{"containerPort": 8080}]}
    situation.make(workload(container=ports), service(targetPort=9090))
    situation.wait()
    cause = situation.first("service/web", "service-number", "sends to port 9090")
    assert cause.confidence == "possible"
    situation.mended(cause, "service/web")


def ingress(name: str = "web", port: int = 80, **spec: Any) -> Obj:
    backend = {"service": {"name": name, "port": {"number": port}}}
    path = {"path": "/", "pathType": "Prefix", "backend": backend}
    rules = [{"host": "web.example.com", "http": {"paths": [path]}}]
    return of("Ingress", "front", "networking.k8s.io/v1", spec={"ingressClassName": "sampan", "rules": rules, **spec})


def classed(situation: Situation) -> None:
    situation.make(
        of("IngressClass", "sampan", "networking.k8s.io/v1", spec={"controller": "sampan.io/ingress"}),
    )


def test_an_ingress_to_a_service_that_does_not_exist(situation: Situation) -> None:
    classed(situation)
    situation.make(workload(), service(), ingress("wbe"))
    situation.wait()
    cause = situation.first(
        "ingress/front", "ingress-service", "answers 503 at web.example.com/: its Service wbe does not"
    )
    situation.mended(cause, "ingress/front")


def test_an_ingress_to_a_port_that_the_service_does_not_have(situation: Situation) -> None:
    classed(situation)
    situation.make(workload(), service(), ingress(port=8080))
    situation.wait()
    cause = situation.first("ingress/front", "ingress-port", "the Service web has no port 8080")
    situation.mended(cause, "ingress/front")


def test_an_ingress_to_a_service_without_endpoints(situation: Situation) -> None:
    classed(situation)
    situation.make(workload(), service(selector={"app": "wbe"}), ingress())
    situation.wait()
    cause = situation.first("ingress/front", "service-selector")
    assert [str(ref) for ref in cause.path] == ["ingress/front"]
    situation.mended(cause, "ingress/front")


def test_an_ingress_of_a_class_that_does_not_exist(situation: Situation) -> None:
    classed(situation)
    situation.make(workload(), service(), ingress(ingressClassName="nginx"))
    situation.wait()
    cause = situation.first("ingress/front", "ingress-class", "there is no IngressClass nginx")
    situation.mended(cause, "ingress/front")
    assert situation.cluster.get(INGRESSES, "front")["spec"]["ingressClassName"] == "sampan"


def test_an_ingress_without_its_certificate(situation: Situation) -> None:
    classed(situation)
    tls = [{"hosts": ["web.example.com"], "secretName": "web-tls"}]
    situation.make(workload(), service(), ingress(tls=tls))
    situation.wait()
    cause = situation.first("ingress/front", "ingress-certificate", "the Secret web-tls does not exist")
    assert cause.fix is not None and "kubectl create secret tls web-tls -n default" in cause.fix.text
    assert situation.cluster.list(PODS, "default")
