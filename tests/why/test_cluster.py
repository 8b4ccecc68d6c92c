"""Claims, namespaces, nodes, budgets, autoscalers, quotas, APIs, certificates, rights."""

from __future__ import annotations

from typing import Any

import pytest
from situations import Situation, pod, workload

from sampan.api.errors import Forbidden
from sampan.api.resources import CONFIG_MAPS, NAMESPACES, NODES, PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES, PODS
from sampan.api.types import Obj
from sampan.why import access, reader
from sampan.why.model import Ref
from sampan.why.whynot import why_not


def of(kind: str, name: str, version: str = "v1", **rest: Any) -> Obj:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name}, **rest}


def claim(**spec: Any) -> Obj:
    own = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}, **spec}
    return of("PersistentVolumeClaim", "data", spec=own)


def mounting(name: str = "p") -> Obj:
    return pod(name, volumes=[{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}])


def test_a_claim_of_a_class_that_does_not_exist(situation: Situation) -> None:
    situation.make(claim(storageClassName="fast"), mounting())
    situation.wait()
    cause = situation.first("pod/p", "claim-class", "there is no StorageClass fast")
    situation.mended(cause, "pod/p", seconds=600)


def test_a_claim_that_waits_for_a_pod(situation: Situation) -> None:
    situation.make(claim())
    situation.wait()
    cause = situation.first("pvc/data", "claim-first-consumer", "waits for a pod that uses it")
    situation.mended(cause, "pvc/data")


def test_a_claim_of_an_empty_class_without_a_volume(situation: Situation) -> None:
    situation.make(claim(storageClassName=""))
    situation.wait()
    cause = situation.first("pvc/data", "claim-no-class", "names no StorageClass")
    situation.mend(cause)
    situation.make(mounting())
    situation.wait(120)
    assert situation.why("pvc/data").healthy


def test_a_claim_whose_class_makes_no_volumes(situation: Situation) -> None:
    provisioner = {"provisioner": "kubernetes.io/no-provisioner", "volumeBindingMode": "Immediate"}
    small = of(
        "PersistentVolume", "small",
        spec={"storageClassName": "manual", "capacity": {"storage": "100Mi"}, "accessModes": ["ReadWriteOnce"],
              "hostPath": {"path": "/x"}},
    )  # fmt: skip
    situation.make(
        of("StorageClass", "manual", "storage.k8s.io/v1", **provisioner), small, claim(storageClassName="manual")
    )
    situation.wait()
    cause = situation.first("pvc/data", "claim-no-provisioner", "nobody makes volumes of class manual")
    assert "volume small has 100Mi" in cause.evidence


def test_a_claim_whose_driver_does_not_answer(situation: Situation) -> None:
    csi = {"provisioner": "csi.example.com", "volumeBindingMode": "Immediate"}
    situation.make(of("StorageClass", "far", "storage.k8s.io/v1", **csi), claim(storageClassName="far"))
    situation.wait()
    cause = situation.first("pvc/data", "claim-no-provisioner", "waits for csi.example.com")
    situation.mend(cause)
    situation.make(mounting())
    situation.wait(120)
    assert situation.why("pvc/data").healthy


def test_a_claim_whose_volume_is_gone(situation: Situation) -> None:
    situation.make(claim(volumeName="gone", storageClassName=""))
    situation.wait()
    situation.first("pvc/data", "claim-volume", "PersistentVolume gone that it is bound to does not exist")


def test_a_claim_that_is_deleted_while_a_pod_uses_it(situation: Situation) -> None:
    situation.make(claim(), mounting())
    situation.wait()
    situation.cluster.delete(PERSISTENT_VOLUME_CLAIMS, "data")
    situation.wait(5)
    cause = situation.first("pvc/data", "claim-in-use", "pod default/p still uses it")
    situation.mend(cause)
    situation.wait()
    assert not situation.why("pvc/data").found


def test_a_volume_that_is_deleted_while_it_is_bound(situation: Situation) -> None:
    situation.make(claim(), mounting())
    situation.wait()
    name = situation.cluster.get(PERSISTENT_VOLUME_CLAIMS, "data")["spec"]["volumeName"]
    situation.cluster.delete(PERSISTENT_VOLUMES, name)
    situation.wait(5)
    situation.first(f"pv/{name}", "volume-in-use", "claim default/data is bound to it")


def test_a_volume_of_a_node_that_takes_no_pods(situation: Situation) -> None:
    situation.make(claim(), mounting())
    situation.wait()
    where = situation.cluster.get(PODS, "p")["spec"]["nodeName"]
    situation.cluster.delete(PODS, "p")
    situation.cluster.patch(NODES, where, {"spec": {"unschedulable": True}})
    situation.wait()
    situation.make(mounting("q"))
    situation.wait()
    found = situation.why("pod/q")
    rules = [cause.rule for cause in found.causes]
    assert rules[0] == "node-volume" and "node-cordoned" in rules
    cordoned = next(cause for cause in found.causes if cause.rule == "node-cordoned")
    situation.mended(cordoned, "pod/q")


def test_an_object_that_a_finalizer_holds(situation: Situation) -> None:
    made = of("ConfigMap", "kept")
    made["metadata"]["finalizers"] = ["example.com/keep"]
    situation.make(made)
    situation.cluster.delete(CONFIG_MAPS, "kept")
    situation.wait(5)
    cause = situation.first("configmap/kept", "finalizer", "its finalizer example.com/keep holds it")
    situation.mend(cause)
    assert not situation.why("configmap/kept").found


def test_a_namespace_that_an_object_keeps(situation: Situation) -> None:
    made = of("ConfigMap", "kept")
    made["metadata"] |= {"finalizers": ["example.com/keep"], "namespace": "old"}
    situation.make(of("Namespace", "old"), made)
    situation.cluster.delete(NAMESPACES, "old")
    situation.wait(30)
    cause = situation.first("ns/old", "namespace-content", "configmap/kept (finalizer example.com/keep) is left in it")
    situation.mend(cause)
    situation.wait(60)
    assert not situation.why("ns/old").found


def test_a_namespace_that_its_own_finalizer_keeps(situation: Situation) -> None:
    made = of("Namespace", "old")
    made["metadata"]["finalizers"] = ["example.com/keep"]
    situation.make(made)
    situation.cluster.delete(NAMESPACES, "old")
    situation.wait(30)
    cause = situation.first("ns/old", "namespace-finalizer", "example.com/keep holds it")
    situation.mend(cause)
    situation.wait(30)
    assert not situation.why("ns/old").found


def test_a_namespace_that_an_api_service_keeps(situation: Situation) -> None:
    service = {"name": "metrics", "namespace": "default", "port": 443}
    spec = {"group": "example.com", "version": "v1", "groupPriorityMinimum": 100, "versionPriority": 10,
            "service": service, "insecureSkipTLSVerify": True}  # fmt: skip
    made = of("APIService", "v1.example.com", "apiregistration.k8s.io/v1", spec=spec)
    situation.make(of("Namespace", "old"), made)
    situation.wait(10)
    cause = situation.first(
        "apiservice/v1.example.com", "apiservice-away", "its Service default/metrics does not exist"
    )
    situation.mend(cause)
    situation.wait(30)
    assert not situation.why("apiservice/v1.example.com").found


def test_a_node_that_is_not_heard_of(situation: Situation) -> None:
    situation.cluster.ail("node-1", "silent")
    situation.wait(90)
    situation.first("node/node-1", "node-silent", "its agent (kubelet) is not heard of since")
    situation.cluster.ail("node-1", None)
    situation.wait(60)
    assert situation.why("node/node-1").healthy


def test_a_pod_of_a_node_that_is_not_heard_of(situation: Situation) -> None:
    situation.make(pod(nodeName="node-1"))
    situation.wait()
    situation.cluster.ail("node-1", "silent")
    situation.wait(90)
    cause = situation.first("pod/p", "node-silent")
    assert [str(ref) for ref in cause.path] == ["pod/p"]


def test_a_pod_that_is_deleted_on_a_node_that_is_silent(situation: Situation) -> None:
    situation.make(pod(nodeName="node-1"))
    situation.wait()
    situation.cluster.ail("node-1", "silent")
    situation.wait(90)
    situation.cluster.delete(PODS, "p")
    situation.wait(60)
    situation.first("pod/p", "silent-node-holds-pod", "its node node-1 does not answer")


def test_pods_without_a_node_when_none_is_ready(situation: Situation) -> None:
    for number in range(3):
        situation.cluster.ail(f"node-{number}", "silent")
    situation.wait(90)
    situation.make(pod())
    situation.wait()
    situation.first("pod/p", "node-not-ready", "all 3 nodes are not ready")


def test_a_cordoned_node(situation: Situation) -> None:
    situation.cluster.patch(NODES, "node-1", {"spec": {"unschedulable": True}})
    situation.mended(situation.first("node/node-1", "node-cordon", "it is cordoned"), "node/node-1")


def test_a_drain_that_waits_for_a_budget(situation: Situation) -> None:
    budget = of("PodDisruptionBudget", "all", "policy/v1",
                spec={"minAvailable": 2, "selector": {"matchLabels": {"app": "web"}}})  # fmt: skip
    situation.make(workload(replicas=2), budget)
    situation.wait()
    where = next(each["spec"]["nodeName"] for each in situation.cluster.list(PODS, "default"))
    situation.cluster.patch(NODES, where, {"spec": {"unschedulable": True}})
    situation.wait(5)
    cause = situation.first(f"node/{where}", "drain-waits", "the PodDisruptionBudget all lets no pod go")
    situation.mend(cause)
    situation.wait()
    assert "drain-waits" not in {each.rule for each in situation.why(f"node/{where}").causes}


def test_a_budget_that_lets_no_pod_go(situation: Situation) -> None:
    budget = of("PodDisruptionBudget", "all", "policy/v1",
                spec={"maxUnavailable": 0, "selector": {"matchLabels": {"app": "web"}}})  # fmt: skip
    situation.make(workload(replicas=2), budget)
    situation.wait()
    situation.mended(
        situation.first("pdb/all", "budget-used-up", "asks for 2 healthy pods, and there are 2"), "pdb/all"
    )


def test_a_budget_that_protects_nobody(situation: Situation) -> None:
    spec = {"minAvailable": 1, "selector": {"matchLabels": {"app": "gone"}}}
    situation.make(of("PodDisruptionBudget", "none", "policy/v1", spec=spec))
    situation.wait(5)
    situation.first("pdb/none", "budget-nobody", "its selector means no pod")


def autoscaler(target: str = "web", **spec: Any) -> Obj:
    metric = {
        "type": "Resource",
        "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}},
    }
    scaled = {"apiVersion": "apps/v1", "kind": "Deployment", "name": target}
    return of("HorizontalPodAutoscaler", "web", "autoscaling/v2",
              spec={"scaleTargetRef": scaled, "maxReplicas": 3, "metrics": [metric], **spec})  # fmt: skip


def test_an_autoscaler_of_pods_that_request_nothing(situation: Situation) -> None:
    situation.make(workload(), autoscaler())
    situation.wait(60)
    cause = situation.first("hpa/web", "autoscaler-requests", "container c of deployment/web requests no cpu")
    situation.mend(cause)
    situation.wait(120)
    assert "autoscaler-requests" not in {each.rule for each in situation.why("hpa/web").causes}


def test_an_autoscaler_of_something_that_does_not_exist(situation: Situation) -> None:
    situation.make(workload(container={"resources": {"requests": {"cpu": "100m"}}}), autoscaler("wbe"))
    situation.wait(60)
    cause = situation.first("hpa/web", "autoscaler-target", "the Deployment wbe that it is to scale does not exist")
    situation.mend(cause)
    situation.wait(60)
    assert "autoscaler-target" not in {each.rule for each in situation.why("hpa/web").causes}


def test_an_autoscaler_whose_target_has_no_replicas(situation: Situation) -> None:
    situation.make(workload(replicas=0, container={"resources": {"requests": {"cpu": "100m"}}}), autoscaler())
    situation.wait(60)
    cause = situation.first("hpa/web", "autoscaler-off", "while deployment/web has 0 replicas")
    situation.mend(cause)
    situation.wait(60)
    assert "autoscaler-off" not in {each.rule for each in situation.why("hpa/web").causes}


def test_an_autoscaler_without_metrics(situation: Situation) -> None:
    metric = {
        "type": "Pods",
        "pods": {"metric": {"name": "queue"}, "target": {"type": "AverageValue", "averageValue": "1"}},
    }
    situation.make(workload(), autoscaler(metrics=[metric]))
    situation.wait(60)
    cause = situation.first("hpa/web", "autoscaler-metrics", "its metrics cannot be had")
    assert any("nobody serves v1beta1.custom.metrics.k8s.io" in each for each in cause.evidence)


def test_a_quota_that_is_full(situation: Situation) -> None:
    situation.make(of("ResourceQuota", "few", spec={"hard": {"pods": "1"}}), pod())
    situation.wait(10)
    situation.mended(situation.first("quota/few", "quota-full", "is used up: pods 1 of 1"), "quota/few")


def request_for(name: str, signer: str) -> Obj:
    import base64

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "bob")])
    made = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    pem = base64.b64encode(made.public_bytes(serialization.Encoding.PEM)).decode()
    spec = {"request": pem, "signerName": signer, "usages": ["client auth"]}
    return of("CertificateSigningRequest", name, "certificates.k8s.io/v1", spec=spec)


def test_a_certificate_request_that_nobody_approved(situation: Situation) -> None:
    situation.make(request_for("bob", "kubernetes.io/kube-apiserver-client"))
    situation.wait(5)
    situation.mended(situation.first("csr/bob", "request-undecided", "nobody approved it"), "csr/bob")


def test_a_certificate_request_of_a_signer_that_is_not_there(situation: Situation) -> None:
    situation.make(request_for("bob", "example.com/signer"))
    situation.mend(situation.first("csr/bob", "request-undecided"))
    situation.wait(5)
    situation.first("csr/bob", "request-signer", "its signer example.com/signer has not signed it")


# Rights.


def refused(situation: Situation, user: str, *, namespace: str | None = "default") -> str:
    with pytest.raises(Forbidden) as error:
        situation.cluster.run(situation.cluster.client_for(user).list(PODS, namespace))
    return error.value.message


@pytest.mark.parametrize("namespace", ["default", None])
@pytest.mark.parametrize("user", ["bob", "system:serviceaccount:default:robot"])
def test_a_request_that_nobody_allowed(situation: Situation, user: str, namespace: str | None) -> None:
    message = refused(situation, user, namespace=namespace)
    ask = reader.Reader(situation.cluster.client).ask
    found = situation.cluster.run(reader.explain_refusal(ask, message, "default", situation.cluster.now))
    cause = found.causes[0]
    assert cause.rule == "forbidden" and f"User {user} may not list pods" in cause.sentence
    situation.mend(cause)
    situation.wait(2)
    situation.cluster.run(situation.cluster.client_for(user).list(PODS, namespace))


def test_who_can_is_what_the_server_lets_happen(situation: Situation) -> None:
    rbac = "rbac.authorization.k8s.io"
    rule = {"verbs": ["get"], "apiGroups": [""], "resources": ["pods/log"], "resourceNames": ["p"]}
    role = of("Role", "reader", f"{rbac}/v1", rules=[rule])
    binding = of("RoleBinding", "readers", f"{rbac}/v1",
                 roleRef={"apiGroup": rbac, "kind": "Role", "name": "reader"},
                 subjects=[{"kind": "ServiceAccount", "name": "robot", "namespace": "default"}])  # fmt: skip
    situation.make(role, binding)
    ask = reader.Reader(situation.cluster.client).ask

    def who(request: access.Request) -> list[tuple[str, str]]:
        found, unseen = situation.cluster.run(
            reader.asked(ask, lambda world: access.grants(world, request), situation.cluster.now)
        )
        assert not unseen
        return [(each.kind, each.name) for each in found]

    assert ("ServiceAccount", "default/robot") in who(access.Request("get", "pods/log", "", "p", "default"))
    assert ("ServiceAccount", "default/robot") not in who(access.Request("get", "pods/log", "", "q", "default"))
    assert ("ServiceAccount", "default/robot") not in who(access.Request("get", "pods", "", "p", "default"))
    assert ("Group", "system:authenticated") in who(access.Request("get", path="/version"))
    assert ("ServiceAccount", "kube-system/replicaset-controller") in who(access.Request("create", "pods"))


def test_what_may_not_be_read_is_told_and_not_guessed(situation: Situation) -> None:
    situation.make(pod(nodeSelector={"disk": "sdd"}))
    situation.wait()
    found = situation.why("pod/p", user="bob")
    assert not found.found and "cannot get resource" in found.state.text
    rbac = "rbac.authorization.k8s.io"
    rule = {"verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods", "events"]}
    situation.make(
        of("ClusterRole", "pods", f"{rbac}/v1", rules=[rule]),
        of("ClusterRoleBinding", "pods", f"{rbac}/v1",
           roleRef={"apiGroup": rbac, "kind": "ClusterRole", "name": "pods"},
           subjects=[{"kind": "User", "name": "bob", "apiGroup": rbac}]),
    )  # fmt: skip
    situation.wait(2)
    found = situation.why("pod/p", user="bob")
    assert any('cannot list resource "nodes"' in each for each in found.unseen)
    assert not any("nodes" in cause.sentence and "lack" in cause.sentence for cause in found.causes)


def test_why_not_on_one_node_says_every_reason(situation: Situation) -> None:
    taint = {"key": "dedicated", "effect": "NoSchedule"}
    situation.cluster.patch(NODES, "node-1", {"spec": {"taints": [taint], "unschedulable": True}})
    situation.make(workload(container={"resources": {"requests": {"cpu": "9"}}}))
    situation.wait()
    ask = reader.Reader(situation.cluster.client).ask

    def asked(name: str, node: str) -> Any:
        from sampan.why.subjects import kind_named

        resource = kind_named(name.partition("/")[0])
        assert resource is not None
        subject = Ref(resource, name.partition("/")[2], "default")
        work = reader.asked(ask, lambda world: why_not(world, subject, node), situation.cluster.now)
        return situation.cluster.run(work)[0]

    rules = [cause.rule for cause in asked("deployment/web", "node-1").causes]
    assert rules == ["node-cordoned", "node-taint", "node-resources"]
    situation.make(pod())
    situation.wait()
    where = situation.cluster.get(PODS, "p")["spec"]["nodeName"]
    other = "node-2" if where == "node-0" else "node-0"
    assert asked("pod/p", where).healthy
    assert [cause.rule for cause in asked("pod/p", other).causes] == ["chosen-elsewhere"]
    assert asked("pod/p", "node-9").near
