"""The HorizontalPodAutoscaler controller over the API, in virtual time: when it looks, what it writes and tells."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from sampan.api import errors
from sampan.api.resources import DEPLOYMENTS, EVENTS, HORIZONTAL_POD_AUTOSCALERS, PODS, STATEFUL_SETS, Resource
from sampan.api.transport import Call
from sampan.metrics import Registry, use

Obj = dict[str, Any]
COUNTED = "horizontal_pod_autoscaler_controller_"
GOT = ("True", "SucceededGetScale", "the HPA controller was able to get the target's current scale")
CPU_FOUND = (
    "the HPA was able to successfully calculate a replica count from cpu resource utilization (percentage of request)"
)


def queue(target: Obj, selector: Obj | None = None) -> Obj:
    metric: Obj = {"name": "queue"} if selector is None else {"name": "queue", "selector": selector}
    return {"type": "External", "external": {"metric": metric, "target": target}}


BY_SHARE = {"type": "AverageValue", "averageValue": "10"}


def test_a_new_autoscaler_is_looked_at_at_once_and_then_each_quarter_of_a_minute(live: Any) -> None:
    """HPA controller: conditions, currentMetrics, observedGeneration and lastScaleTime of a scale up."""

    async def body(world: Any) -> None:
        world.target(2)
        world.pods(2, "100m")
        world.autoscaler()
        async with world.controller():
            await world.at(0.5)
            assert world.replicas() == 4
            found = world.found()
            conditions = found.pop("conditions")
            assert found == {
                "currentReplicas": 2, "desiredReplicas": 4, "lastScaleTime": "2026-01-01T12:00:00Z",
                "observedGeneration": 1,
                "currentMetrics": [{"type": "Resource", "resource": {
                    "name": "cpu", "current": {"averageUtilization": 100, "averageValue": "100m"}}}],
            }  # fmt: skip
            assert [each["type"] for each in conditions] == [
                "AbleToScale", "ScalingActive", "ScalingLimited", "ScaledToZero",
            ]  # fmt: skip
            assert conditions[0] == {
                "type": "AbleToScale", "status": "True", "reason": "SucceededRescale", "observedGeneration": 1,
                "message": "the HPA controller was able to update the target scale to 4",
                "lastTransitionTime": "2026-01-01T12:00:00Z",
            }  # fmt: skip
            assert world.conditions()["ScalingActive"] == ("True", "ValidMetricFound", CPU_FOUND)
            assert world.conditions()["ScalingLimited"] == (
                "False", "DesiredWithinRange", "the desired count is within the acceptable range",
            )  # fmt: skip
            assert world.conditions()["ScaledToZero"] == (
                "False", "NotScaledToZero", "the HPA controller did not scale the workload to zero",
            )  # fmt: skip
            assert world.told() == [
                ("Normal", "SuccessfulRescale",
                 "New size: 4; reason: cpu resource utilization (percentage of request) above target"),
            ]  # fmt: skip
            [event] = world.api.all(EVENTS)
            assert event["source"]["component"] == "horizontal-pod-autoscaler"
            assert event["involvedObject"]["kind"] == "HorizontalPodAutoscaler"
            world.pods(4, "50m")
            asked = len(world.metrics.asked)
            await world.at(14.5)
            assert len(world.metrics.asked) == asked
            await world.at(15.5)
            assert len(world.metrics.asked) == asked + 1
            assert world.conditions()["AbleToScale"][1] == "ReadyForNewScale"
            await world.at(75.5)
            assert len(world.metrics.asked) == asked + 5

    live(body)


def test_nothing_is_written_while_nothing_changes(live: Any) -> None:
    async def body(world: Any) -> None:
        world.target(2)
        world.pods(2)
        world.autoscaler()
        async with world.controller():
            await world.at(20)
            revision = world.api.revision
            await world.at(600)
            assert world.api.revision == revision

    live(body)


def test_a_changed_spec_is_looked_at_at_once_and_a_changed_status_is_not(live: Any) -> None:
    async def body(world: Any) -> None:
        world.target(2)
        world.pods(2)
        world.autoscaler()
        async with world.controller():
            await world.at(1)
            world.change(minReplicas=3)
            await world.at(2)
            assert world.replicas() == 3
            assert world.told()[-1][2] == "New size: 3; reason: Current number of replicas below Spec.MinReplicas"
            assert world.found()["observedGeneration"] == 2
            asked = len(world.metrics.asked)

            def someone(obj: Obj) -> None:
                obj["status"]["currentReplicas"] = 17

            world.api.change(HORIZONTAL_POD_AUTOSCALERS, "default", "web", someone)
            await world.at(10)
            assert len(world.metrics.asked) == asked

    live(body)


def test_bounds_are_kept_without_any_metric(live: Any) -> None:
    async def body(world: Any) -> None:
        world.target(9)
        world.metrics.pods = None
        world.autoscaler(maxReplicas=5)
        async with world.controller():
            await world.at(1)
            assert world.replicas() == 5
            assert world.told() == [
                (
                    "Normal",
                    "SuccessfulRescale",
                    "New size: 5; reason: Current number of replicas above Spec.MaxReplicas",
                )
            ]
            assert world.found()["currentMetrics"] is None
            assert world.metrics.asked == []

    live(body)


def test_less_comes_after_five_minutes(live: Any) -> None:
    async def body(world: Any) -> None:
        world.target(5)
        world.pods(5, "10m")
        world.autoscaler()
        async with world.controller():
            await world.at(299)
            assert world.replicas() == 5
            assert world.conditions()["AbleToScale"][1] == "ScaleDownStabilized"
            await world.at(331)
            assert world.replicas() == 1
            assert world.told() == [("Normal", "SuccessfulRescale", "New size: 1; reason: All metrics below target")]

    live(body)


def test_the_periods_and_the_tolerance_can_be_chosen(live: Any) -> None:
    async def body(world: Any) -> None:
        world.target(4)
        world.pods(4, "40m")  # 0.8 of the target
        world.autoscaler()
        async with world.controller():
            await world.at(7)
            assert len(world.metrics.asked) == 2
            assert world.replicas() == 4
            world.pods(4, "30m")
            await world.at(11)
            assert world.replicas() == 4
            await world.at(22)
            assert world.replicas() == 3

    live(
        body,
        autoscaler_sync_seconds=5.0,
        autoscaler_downscale_stabilization_seconds=10.0,
        autoscaler_tolerance=0.25,
    )


# -- the target ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ({"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"}, 'deployments "d" not found'),
        ({"apiVersion": "a/b/c", "kind": "Deployment", "name": "d"}, "unexpected GroupVersion string: a/b/c"),
        ({"apiVersion": "x.io/v1", "kind": "Thing", "name": "d"}, 'no matches for kind "Thing" in group "x.io"'),
        ({"kind": "Deployment", "name": "d"}, 'no matches for kind "Deployment" in group ""'),
    ],
)
def test_a_target_that_is_not_there_is_told(live: Any, reference: Obj, message: str) -> None:
    async def body(world: Any) -> None:
        world.autoscaler(scaleTargetRef=reference)
        async with world.controller():
            await world.at(1)
            assert world.conditions() == {
                "AbleToScale": (
                    "False", "FailedGetScale",
                    f"the HPA controller was unable to get the target's current scale: {message}",
                )
            }  # fmt: skip
            assert world.told() == [("Warning", "FailedGetScale", message)]

    live(body)


def test_a_target_that_comes_later_is_found(live: Any) -> None:
    async def body(world: Any) -> None:
        world.pods(2, "100m")
        world.autoscaler()
        async with world.controller():
            await world.at(5)
            assert world.conditions()["AbleToScale"][0] == "False"
            world.target(2)
            await world.at(16)
            assert world.replicas() == 4
            assert world.conditions()["AbleToScale"][:2] == ("True", "SucceededRescale")

    live(body)


@pytest.mark.parametrize("kind", ["StatefulSet", "Thing"])
def test_anything_with_a_scale_is_scaled(live: Any, kind: str) -> None:
    """[sig-autoscaling] CustomResourceDefinition and StatefulSet are targets too."""
    thing = Resource("x.io", "v1", "things", "Thing", True)
    resource, api_version = (STATEFUL_SETS, "apps/v1") if kind == "StatefulSet" else (thing, "x.io/v1")

    async def body(world: Any) -> None:
        verbs = ["get", "list", "watch", "delete", "update"]
        things = {"resource": "things", "responseKind": {"kind": "Thing"}, "scope": "Namespaced", "verbs": verbs}
        version = {"version": "v1", "resources": [things]}
        world.api.discovery = [{"metadata": {"name": "x.io"}, "versions": [version]}]
        world.target(2, "t", resource)
        world.pods(2, "100m")
        world.autoscaler(scaleTargetRef={"apiVersion": api_version, "kind": kind, "name": "t"})
        async with world.controller():
            await world.at(1)
            assert world.api.get(resource, "default", "t")["spec"]["replicas"] == 4

    live(body)


def test_a_target_at_zero_is_left_alone(live: Any) -> None:
    async def body(world: Any) -> None:
        world.target(0)
        world.autoscaler()
        async with world.controller():
            await world.at(40)
            assert world.replicas() == 0
            assert world.conditions() == {
                "AbleToScale": GOT,
                "ScalingActive": (
                    "False", "ScalingDisabled",
                    "scaling is disabled since the replica count of the target is zero",
                ),
            }  # fmt: skip
            found = world.found()
            assert (found["currentReplicas"], found["desiredReplicas"], found["currentMetrics"]) == (0, 0, None)
            assert world.told() == []

    live(body)


def test_a_scale_that_is_refused_is_told_and_tried_again(live: Any) -> None:
    async def body(world: Any) -> None:
        world.target(2)
        world.pods(2, "100m")
        world.autoscaler()
        world.scale_fails.append(errors.Forbidden("not today"))
        async with world.controller():
            await world.at(1)
            assert world.replicas() == 2
            assert world.conditions()["AbleToScale"] == (
                "False", "FailedUpdateScale", "the HPA controller was unable to update the target scale: not today",
            )  # fmt: skip
            reason = "cpu resource utilization (percentage of request) above target"
            assert world.told() == [("Warning", "FailedRescale", f"New size: 4; reason: {reason}; error: not today")]
            found = world.found()
            assert (found["currentReplicas"], found["desiredReplicas"]) == (2, 0)
            assert "lastScaleTime" not in found and len(found["currentMetrics"]) == 1
            await world.at(16)
            assert world.replicas() == 4

    live(body)


def test_what_is_written_to_the_target_meanwhile_is_no_reason_to_fail(live: Any) -> None:
    async def body(world: Any) -> None:
        world.target(2)
        world.pods(2, "100m")
        world.autoscaler()
        world.scale_fails += [errors.conflict("deployments.apps", "web")] * 2
        async with world.controller():
            await world.at(1)
            assert world.replicas() == 4
            assert [reason for _, reason, _ in world.told()] == ["SuccessfulRescale"]

    live(body)


# -- the selector -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("selector", "reason", "told", "message"),
    [
        ("", "InvalidSelector", "SelectorRequired", "the HPA target's scale is missing a selector"),
        ("a in b", "InvalidSelector", "InvalidSelector", "couldn't convert selector into a corresponding internal"),
    ],
)
def test_a_scale_without_a_usable_selector(live: Any, selector: str, reason: str, told: str, message: str) -> None:
    async def body(world: Any) -> None:
        world.target(2)
        world.selector = selector
        world.autoscaler()
        async with world.controller():
            await world.at(1)
            status, given, text = world.conditions()["ScalingActive"]
            assert (status, given) == ("False", reason)
            assert text.startswith(message)
            assert [each[1] for each in world.told()] == [told, "FailedComputeMetricsReplicas"]
            assert world.told()[0][2] == ("selector is required" if not selector else text)

    live(body)


def test_two_autoscalers_of_the_same_pods_stand_still_until_one_goes(live: Any) -> None:
    """[sig-autoscaling] AmbiguousSelector."""

    async def body(world: Any) -> None:
        world.target(2)
        world.pods(2, "100m")
        world.autoscaler("one")
        world.autoscaler("two")
        async with world.controller():
            await world.at(16)
            size = world.replicas()
            message = "pods by selector app=web are controlled by multiple HPAs: [default/one default/two]"
            for name in ("one", "two"):
                assert world.conditions(name)["ScalingActive"] == ("False", "AmbiguousSelector", message)
            assert ("Warning", "AmbiguousSelector", message) in world.told()
            assert ("Warning", "FailedComputeMetricsReplicas", message) in world.told()
            world.pods(size, "100m")
            world.api.remove(HORIZONTAL_POD_AUTOSCALERS, "default", "two")
            await world.at(32)
            assert world.conditions("one")["ScalingActive"][0] == "True"
            assert world.replicas() == 2 * size

    live(body)


def test_an_autoscaler_that_goes_in_the_midst_of_a_look_stands_in_nobodys_way(live: Any) -> None:
    """[sig-autoscaling] AmbiguousSelector."""

    async def body(world: Any) -> None:
        world.target(2)
        world.pods(2, "100m")
        world.autoscaler("old")
        plain = world._scale

        async def going(call: Call) -> Obj:
            world._scale = plain
            scale = await plain(call)
            world.api.remove(HORIZONTAL_POD_AUTOSCALERS, "default", "old")
            await asyncio.sleep(1)  # the controller hears of it before the answer comes
            return scale

        world._scale = going
        async with world.controller() as controller:
            await world.at(3)
            world.autoscaler("new")
            await world.at(5)
            assert world.conditions("new")["ScalingActive"][1] == "ValidMetricFound"
            assert set(controller._selectors._known["default"]) == {"new"}

    live(body)


# -- metrics ------------------------------------------------------------------------------------------------------


def test_a_metrics_api_that_is_not_there(live: Any) -> None:
    """Word for word what v1.36.2 was seen to say."""

    async def body(world: Any) -> None:
        world.target(2)
        world.pods(2)
        world.metrics.pods = None
        world.autoscaler()
        async with world.controller():
            await world.at(1)
            unable = (
                "failed to get cpu utilization: unable to get metrics for resource cpu: unable to fetch metrics from "
                "resource metrics API: the server could not find the requested resource (get pods.metrics.k8s.io)"
            )
            assert world.conditions() == {
                "AbleToScale": GOT,
                "ScalingActive": (
                    "False", "FailedGetResourceMetric", f"the HPA was unable to compute the replica count: {unable}",
                ),
            }  # fmt: skip
            assert world.told() == [
                ("Warning", "FailedGetResourceMetric", unable),
                ("Warning", "FailedComputeMetricsReplicas",
                 "invalid metrics (1 invalid out of 1), first error is: failed to get cpu resource metric value: "
                 + unable),
            ]  # fmt: skip
            found = world.found()
            assert (found["currentReplicas"], found["desiredReplicas"]) == (2, 0)
            assert found["currentMetrics"] == [{"type": ""}]

    live(body)


def test_a_metrics_api_that_hangs_is_given_up_and_left_alone_for_a_while(live: Any) -> None:
    async def body(world: Any) -> None:
        world.target(2)
        world.pods(2, "100m")
        world.metrics.hangs = True
        target = {"type": "AverageValue", "averageValue": "64Mi"}
        world.autoscaler(metrics=[cpu(50), {"type": "Resource", "resource": {"name": "memory", "target": target}}])
        async with world.controller():
            await world.at(10.5)
            assert world.conditions()["ScalingActive"][2].endswith(
                "unable to fetch metrics from resource metrics API: context deadline exceeded"
            )
            assert len(world.metrics.asked) == 1
            world.metrics.hangs = False
            await world.at(26)
            assert world.replicas() == 4

    live(body)


def test_an_api_that_is_out_of_order_is_told_in_the_words_of_upstreams_client(live: Any) -> None:
    async def body(world: Any) -> None:
        world.target(2)
        world.pods(2)
        world.metrics.fails = errors.ServiceUnavailable("service unavailable")
        world.autoscaler()
        async with world.controller():
            await world.at(1)
            assert world.conditions()["ScalingActive"][2].endswith(
                "resource metrics API: the server is currently unable to handle the request (get pods.metrics.k8s.io)"
            )

    live(body)


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        ({"name": "memory", "target": {"type": "AverageValue", "averageValue": "16Mi"}}, "memory resource"),
        ({"name": "memory", "target": {"type": "Utilization", "averageUtilization": 25}},
         "memory resource utilization (percentage of request)"),
    ],
)  # fmt: skip
def test_other_resources_and_plain_values(live: Any, metric: Obj, message: str) -> None:
    async def body(world: Any) -> None:
        world.target(2)
        world.pods(2)
        world.autoscaler(metrics=[{"type": "Resource", "resource": metric}])
        async with world.controller():
            await world.at(1)
            assert world.replicas() == 4
            assert world.told()[0][2] == f"New size: 4; reason: {message} above target"
            [shown] = world.found()["currentMetrics"]
            assert shown["resource"]["current"]["averageValue"] == "33554432"

    live(body)


def test_one_container_of_each_pod(live: Any) -> None:
    """ContainerResource metrics."""

    async def body(world: Any) -> None:
        world.target(1)
        world.pods(1, "100m")
        target = {"type": "Utilization", "averageUtilization": 50}
        source = {"name": "cpu", "container": "c", "target": target}
        metric = {"type": "ContainerResource", "containerResource": source}
        world.autoscaler(metrics=[metric])
        async with world.controller():
            await world.at(1)
            assert world.replicas() == 2
            name = "cpu container resource utilization (percentage of request)"
            assert world.told()[0][2] == f"New size: 2; reason: {name} above target"
            current = {"averageUtilization": 100, "averageValue": "100m"}
            [shown] = world.found()["currentMetrics"]
            assert shown["containerResource"] == {"name": "cpu", "container": "c", "current": current}
            world.change(metrics=[{**metric, "containerResource": {**source, "container": "x"}}])
            await world.at(2)
            unable = (
                "failed to get cpu utilization: unable to get metrics for resource cpu: failed to get container "
                "metrics: container x not present in metrics for pod default/web-0"
            )
            assert world.told()[-2:] == [
                ("Warning", "FailedGetContainerResourceMetric", unable),
                ("Warning", "FailedComputeMetricsReplicas",
                 "invalid metrics (1 invalid out of 1), first error is: failed to get x container metric value: "
                 + unable),
            ]  # fmt: skip

    live(body)


def test_a_container_without_a_request_is_named(live: Any) -> None:
    async def body(world: Any) -> None:
        world.target(1)
        world.pods(1, "100m")
        world.api.change(PODS, "default", "web-0", lambda obj: obj["spec"]["containers"][0].pop("resources"))
        world.autoscaler()
        async with world.controller():
            await world.at(1)
            assert world.told()[0] == (
                "Warning", "FailedGetResourceMetric",
                "failed to get cpu utilization: missing request for cpu in container c of Pod web-0",
            )  # fmt: skip

    live(body)


def test_a_custom_metric_of_pods(live: Any) -> None:
    async def body(world: Any) -> None:
        world.target(2)
        world.pods(2)
        target = {"type": "AverageValue", "averageValue": "100"}
        named = {"name": "rps", "selector": {"matchLabels": {"verb": "GET"}}}
        world.autoscaler(metrics=[{"type": "Pods", "pods": {"metric": named, "target": target}}])
        async with world.controller():
            await world.at(1)
            unable = "unable to get metric rps: unable to fetch metrics from custom metrics API: "
            missing = f"{unable}no custom metrics API (custom.metrics.k8s.io) registered"
            assert world.told() == [
                ("Warning", "FailedGetPodsMetric", missing),
                ("Warning", "FailedComputeMetricsReplicas",
                 f"invalid metrics (1 invalid out of 1), first error is: failed to get pods metric value: {missing}"),
            ]  # fmt: skip
            world.metrics.custom_pods = {}
            await world.at(16)
            none = "unable to get metric rps: no metrics returned from custom metrics API"
            assert ("Warning", "FailedGetPodsMetric", none) in world.told()
            world.metrics.custom_pods = {"rps": {"web-0": "150", "web-1": "250"}}
            await world.at(31)
            assert world.replicas() == 4
            assert world.told()[-1][2] == "New size: 4; reason: pods metric rps above target"
            assert world.found()["currentMetrics"] == [
                {"type": "Pods", "pods": {"metric": named, "current": {"averageValue": "200"}}}
            ]
            assert "/apis/custom.metrics.k8s.io/v1beta2/namespaces/default/pods/*/rps" in world.metrics.asked
            world.metrics.custom_versions = ["v1beta1"]
            await world.at(46)
            assert "/apis/custom.metrics.k8s.io/v1beta1/namespaces/default/pods/*/rps" in world.metrics.asked
            world.metrics.custom_versions = ["v2"]
            await world.at(61)
            assert (
                "Warning",
                "FailedGetPodsMetric",
                f"{unable}no known available metric versions found",
            ) in world.told()

    live(body)


@pytest.mark.parametrize(
    ("kind", "api_version", "path"),
    [
        ("Ingress", "networking.k8s.io/v1", "ingresses.networking.k8s.io/main/hits"),
        ("Service", "v1", "services/main/hits"),
        ("Namespace", "v1", "metrics/hits"),
    ],
)
def test_a_custom_metric_of_one_object(live: Any, kind: str, api_version: str, path: str) -> None:
    async def body(world: Any) -> None:
        world.target(2)
        world.pods(2)
        world.metrics.custom_pods = {}
        described = {"apiVersion": api_version, "kind": kind, "name": "main"}

        def metric(**target: str) -> list[Obj]:
            return [
                {
                    "type": "Object",
                    "object": {"metric": {"name": "hits"}, "describedObject": described, "target": target},
                }
            ]

        world.autoscaler(metrics=metric(type="Value", value="10"))
        async with world.controller():
            await world.at(1)
            unable = (
                f"unable to get metric hits: {kind} on default main/unable to fetch metrics from custom metrics API: "
                f"the server could not find the metric {path}"
            )
            assert world.told() == [
                ("Warning", "FailedGetObjectMetric", unable),
                ("Warning", "FailedComputeMetricsReplicas",
                 f"invalid metrics (1 invalid out of 1), first error is: failed to get object metric value: {unable}"),
            ]  # fmt: skip
            world.metrics.custom[path] = "15"
            await world.at(16)
            assert world.replicas() == 3
            assert world.told()[-1][2] == f"New size: 3; reason: {kind} metric hits above target"
            assert world.found()["currentMetrics"] == [{"type": "Object", "object": {
                "metric": {"name": "hits"}, "describedObject": described, "current": {"value": "15"}}}]  # fmt: skip
            world.change(metrics=metric(type="AverageValue", averageValue="1"))
            await world.at(17)
            assert world.replicas() == 6, "15 shares, but no more than twice as many"
            assert world.told()[-1][2] == "New size: 6; reason: external metric hits(nil) above target"

    live(body)


def test_an_object_of_no_known_kind(live: Any) -> None:
    async def body(world: Any) -> None:
        world.target(2)
        world.pods(2)
        world.metrics.custom_pods = {}
        described = {"apiVersion": "x.io/v1", "kind": "Thing", "name": "main"}
        target = {"type": "Value", "value": "10"}
        source = {"metric": {"name": "hits"}, "describedObject": described, "target": target}
        world.autoscaler(metrics=[{"type": "Object", "object": source}])
        async with world.controller():
            await world.at(1)
            assert world.told()[0][2] == (
                "unable to get metric hits: Thing on default main/unable to fetch metrics from custom metrics API: "
                'unable to map kind Thing.x.io to resource: no matches for kind "Thing" in group "x.io"'
            )

    live(body)


def test_an_external_metric(live: Any) -> None:
    """External metrics by value, by average value, and what is said without them."""
    selector = {"matchLabels": {"topic": "a"}}

    async def body(world: Any) -> None:
        world.target(2)
        world.pods(2)
        world.autoscaler(metrics=[queue({"type": "Value", "value": "10"}, selector)])
        words = (
            "&LabelSelector{MatchLabels:map[string]string{topic: a,},MatchExpressions:[]LabelSelectorRequirement{},}"
        )
        async with world.controller():
            await world.at(1)
            unable = (
                f"unable to get external metric default/queue/{words}: unable to fetch metrics from external metrics "
                "API: the server could not find the requested resource (get queue.external.metrics.k8s.io)"
            )
            assert world.told() == [
                ("Warning", "FailedGetExternalMetric", unable),
                ("Warning", "FailedComputeMetricsReplicas",
                 "invalid metrics (1 invalid out of 1), first error is: failed to get queue external metric value: "
                 f"failed to get external metric queue: {unable}"),
            ]  # fmt: skip
            world.metrics.external = {"queue": [({"topic": "a"}, "7"), ({"topic": "a"}, "8"), ({"topic": "b"}, "99")]}
            await world.at(16)
            assert world.replicas() == 3, "1.5 of the two that are ready"
            assert world.told()[-1][2] == f"New size: 3; reason: external metric queue({words}) above target"
            [shown] = world.found()["currentMetrics"]
            assert shown["external"] == {"metric": {"name": "queue", "selector": selector}, "current": {"value": "15"}}
            world.change(metrics=[queue({"type": "AverageValue", "averageValue": "3"}, selector)])
            await world.at(17)
            assert world.replicas() == 5
            [shown] = world.found()["currentMetrics"]
            assert shown["external"]["current"] == {"averageValue": "7500m"}, "of the two that are there"
            world.metrics.external["queue"] = []
            await world.at(32)
            unable = (
                f"unable to get external metric default/queue/{words}: no metrics returned from external metrics API"
            )
            assert ("Warning", "FailedGetExternalMetric", unable) in world.told()

    live(body)


@pytest.mark.parametrize(
    ("metric", "reason", "message"),
    [
        ({"type": "Resource", "resource": {"name": "cpu", "target": {}}}, "FailedGetResourceMetric",
         "invalid resource metric source: neither an average utilization target nor an average value (usage) target "
         "was set"),
        ({"type": "Object", "object": {"metric": {"name": "m"}, "target": {}}}, "FailedGetObjectMetric",
         "invalid object metric source: neither a value target nor an average value target was set"),
        ({"type": "External", "external": {"metric": {"name": "m"}, "target": {}}}, "FailedGetExternalMetric",
         "invalid external metric source: neither a value target nor an average value target was set"),
        ({"type": "Tea"}, "InvalidMetricSourceType", 'unknown metric source type "Tea"'),
    ],
)  # fmt: skip
def test_a_metric_that_asks_for_nothing(live: Any, metric: Obj, reason: str, message: str) -> None:
    async def body(world: Any) -> None:
        world.target(2)
        world.pods(2)
        world.autoscaler(metrics=[metric])
        async with world.controller():
            await world.at(1)
            assert world.told()[0] == ("Warning", reason, message)
            assert world.conditions()["ScalingActive"][1] == reason

    live(body)


# -- several metrics ----------------------------------------------------------------------------------------------


def test_of_several_metrics_the_most_counts(live: Any) -> None:
    async def body(world: Any) -> None:
        world.target(2)
        world.pods(2, "75m")  # 3 by cpu
        world.metrics.external = {"queue": [({}, "40")]}
        world.autoscaler(metrics=[cpu(50), queue(BY_SHARE)])
        async with world.controller():
            await world.at(1)
            assert world.replicas() == 4
            assert world.told()[0][2] == "New size: 4; reason: external metric queue(nil) above target"
            assert [each["type"] for each in world.found()["currentMetrics"]] == ["Resource", "External"]

    live(body)


def test_a_metric_that_fails_holds_back_less_but_not_more(live: Any) -> None:
    async def body(world: Any) -> None:
        world.target(4)
        world.pods(4, "10m")
        world.autoscaler(metrics=[queue(BY_SHARE), cpu(50)])
        async with world.controller():
            await world.at(400)
            assert world.replicas() == 4
            status, reason, message = world.conditions()["ScalingActive"]
            assert (status, reason) == ("False", "FailedGetExternalMetric")
            assert "unable to get external metric default/queue/nil" in message
            assert world.told()[-1][2].startswith(
                "invalid metrics (1 invalid out of 2), first error is: failed to get queue external metric value: "
                "failed to get queue external metric: unable to get external metric"
            )
            assert [each["type"] for each in world.found()["currentMetrics"]] == ["", "Resource"]
            world.pods(4, "75m")
            await world.at(420)
            assert world.replicas() == 6
            assert world.conditions()["ScalingActive"] == ("True", "ValidMetricFound", CPU_FOUND)

    live(body)


# -- zero ---------------------------------------------------------------------------------------------------------


def test_to_zero_and_back_by_an_external_metric(live: Any) -> None:
    """HPAScaleToZero, which v1.37 has on: to zero, and back when there is something to do."""

    async def body(world: Any) -> None:
        world.target(2)
        world.pods(2)
        world.metrics.external = {"queue": [({}, "0")]}
        world.autoscaler(minReplicas=0, metrics=[queue(BY_SHARE)])
        async with world.controller():
            await world.at(331)
            assert world.replicas() == 0
            assert world.conditions()["ScaledToZero"] == (
                "True", "ScaledToZero", "the HPA controller scaled the workload to zero",
            )  # fmt: skip
            assert world.told()[-1][2] == "New size: 0; reason: All metrics below target"
            world.set_replicas(0)
            await world.at(700)
            assert world.replicas() == 0
            assert world.conditions()["ScalingActive"][0] == "True"
            world.metrics.external = {"queue": [({}, "1")]}
            await world.at(716)
            assert world.replicas() == 1
            assert world.conditions()["ScaledToZero"][:2] == ("False", "NotScaledToZero")

    live(body)


def test_nothing_is_scaled_to_zero_that_would_not_be_known_to_be(live: Any) -> None:
    """HPAScaleToZero: whose status cannot be written would be left at zero by whoever comes next."""

    async def body(world: Any) -> None:
        world.target(2)
        world.pods(2)
        world.metrics.external = {"queue": [({}, "0")]}
        world.autoscaler(minReplicas=0, metrics=[queue(BY_SHARE)])
        plain, refused = world._plain, []

        async def refusing(call: Call) -> Any:
            said = {
                each["type"]: each["status"] for each in ((call.body or {}).get("status") or {}).get("conditions", ())
            }
            if call.path.endswith("/status") and said.get("ScaledToZero") == "True" and len(refused) < 3:
                refused.append(world.replicas())
                raise errors.Forbidden("not today")
            return await plain(call)

        world._plain = refusing
        async with world.controller():
            await world.at(400)
            assert refused == [2, 2, 2]
            assert world.replicas() == 0
            assert world.conditions()["ScaledToZero"][0] == "True"

    live(body)


def test_zero_that_somebody_else_chose_stays(live: Any) -> None:
    async def body(world: Any) -> None:
        world.target(2)
        world.metrics.external = {"queue": [({}, "50")]}
        world.pods(2)
        world.autoscaler(minReplicas=0, metrics=[queue(BY_SHARE)])
        async with world.controller():
            await world.at(1)
            assert world.replicas() == 4
            world.set_replicas(0)
            await world.at(40)
            assert world.replicas() == 0
            assert world.conditions()["ScalingActive"][:2] == ("False", "ScalingDisabled")

    live(body)


def test_a_minimum_given_while_at_zero_is_kept(live: Any) -> None:
    async def body(world: Any) -> None:
        world.target(1)
        world.pods(1)
        world.metrics.external = {"queue": [({}, "0")]}
        world.autoscaler(minReplicas=0, metrics=[queue(BY_SHARE)])
        async with world.controller():
            await world.at(331)
            assert world.replicas() == 0
            world.set_replicas(0)
            world.change(minReplicas=2)
            await world.at(332)
            assert world.replicas() == 2
            assert world.told()[-1][2] == "New size: 2; reason: Current number of replicas below Spec.MinReplicas"

    live(body)


def test_a_crash_between_scaling_to_zero_and_saying_so_does_not_strand_the_target(live: Any) -> None:
    async def body(world: Any) -> None:
        world.target(1)
        world.pods(1)
        world.metrics.external = {"queue": [({}, "0")]}
        world.autoscaler(minReplicas=0, metrics=[queue(BY_SHARE)])
        crashed = asyncio.Event()

        def watch(method: str, what: str, name: str) -> None:
            if method == "PUT" and what == "deployments":
                crashed.set()  # the Scale is written; nothing else will be
                world.api.fail_next += [("PUT", "horizontalpodautoscalers", errors.InternalError("gone"))] * 9

        world.api.on_write = watch
        async with world.controller():
            await crashed.wait()
        world.api.on_write = None
        world.api.fail_next.clear()
        assert world.replicas() == 0
        world.set_replicas(0)
        world.metrics.external = {"queue": [({}, "30")]}
        async with world.controller():
            await asyncio.sleep(1)
            assert world.replicas() == 3

    live(body)


# -- itself -------------------------------------------------------------------------------------------------------


def test_a_status_that_was_written_meanwhile_is_written_over_and_nobody_is_told(live: Any) -> None:
    async def body(world: Any) -> None:
        world.target(2)
        world.pods(2, "100m")
        world.autoscaler()
        world.api.fail_next += [("PUT", "horizontalpodautoscalers", errors.conflict("x", "web"))] * 2
        async with world.controller():
            await world.at(1)
            assert world.found()["desiredReplicas"] == 4
            assert [reason for _, reason, _ in world.told()] == ["SuccessfulRescale"]

    live(body)


def test_a_status_that_cannot_be_written_is_told(live: Any) -> None:
    async def body(world: Any) -> None:
        world.target(2)
        world.pods(2)
        world.autoscaler()
        world.api.fail_next += [("PUT", "horizontalpodautoscalers", errors.Forbidden("no"))]
        async with world.controller():
            await world.at(1)
            assert world.told() == [("Warning", "FailedUpdateStatus", "no")]
            await world.at(16)
            assert world.conditions()["ScalingActive"][0] == "True"

    live(body)


def test_what_a_deleted_autoscaler_left_is_forgotten(live: Any) -> None:
    async def body(world: Any) -> None:
        world.target(2)
        world.pods(2)
        world.autoscaler()
        async with world.controller() as controller:
            await world.at(1)
            assert len(controller._histories) == 1
            world.api.remove(HORIZONTAL_POD_AUTOSCALERS, "default", "web")
            await world.at(60)
            assert controller._histories == {} and controller._selectors._known == {}
            asked = len(world.metrics.asked)
            await world.at(90)
            assert len(world.metrics.asked) == asked

    live(body)


def test_a_new_controller_does_not_scale_down_at_once(live: Any) -> None:
    async def body(world: Any) -> None:
        world.target(8)
        world.pods(8, "10m")
        world.autoscaler()
        async with world.controller():
            await world.at(200)
        async with world.controller():
            await world.at(490)
            assert world.replicas() == 8
            await world.at(540)
            assert world.replicas() == 2

    live(body)


def test_damaged_answers_of_a_metrics_server_cost_only_what_they_say(live: Any) -> None:
    async def body(world: Any) -> None:
        world.target(2)
        world.pods(2, "100m")
        plain = world.metrics.answer

        async def damaged(call: Any, labels_of: Any) -> Any:
            answer = await plain(call, labels_of)
            broken: list[Any] = [
                None,
                7,
                "x",
                {},
                {"metadata": {"name": "web-9"}, "containers": [{"usage": {"cpu": []}}]},
            ]
            return {**answer, "items": [*broken, *answer["items"]]}

        world.metrics.answer = damaged
        world.autoscaler()
        async with world.controller():
            await world.at(1)
            assert world.conditions()["ScalingActive"][0] == "True"
            assert world.replicas() >= 3

    live(body)


def cpu(percent: int) -> Obj:
    return {
        "type": "Resource",
        "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": percent}},
    }


def test_the_target_is_named_by_its_kind_in_an_old_version(live: Any) -> None:
    async def body(world: Any) -> None:
        world.target(2)
        world.pods(2, "100m")
        world.autoscaler(scaleTargetRef={"apiVersion": "apps/v1beta2", "kind": "Deployment", "name": "web"})
        async with world.controller():
            await world.at(1)
            assert world.api.get(DEPLOYMENTS, "default", "web")["spec"]["replicas"] == 4

    live(body)


def test_what_is_done_is_counted_under_upstreams_names(live: Any) -> None:
    async def body(world: Any) -> None:
        world.target(2)
        world.pods(2, "100m")
        world.autoscaler(metrics=[cpu(50), queue(BY_SHARE)])
        registry = Registry()
        with use(registry):
            async with world.controller():
                await world.at(1)
                world.pods(4, "50m")
                await world.at(16)
        found = {family.name.removeprefix(COUNTED): family.values for family in registry.copy()()}
        assert found["reconciliations"] == {("scale_up", "internal"): 1, ("none", "internal"): 1}
        assert found["metric_computation"] == {
            ("scale_up", "none", "Resource"): 1, ("none", "internal", "External"): 2, ("none", "none", "Resource"): 1,
        }  # fmt: skip
        assert found["desired_replicas"] == {("default", "web"): 4}
        assert found["num_horizontal_pod_autoscalers"] == {(): 1}
        assert sum(found["metric_computation_duration_seconds"]["none", "internal", "External"].buckets) == 2
        assert sum(found["reconciliation_duration_seconds"]["scale_up", "internal"].buckets) == 1
        assert found["reconciliation_duration_seconds"]["scale_up", "internal"].bounds[-1] == 16.384

    live(body)


def test_pods_of_others_in_the_namespace_cost_nothing(live: Any) -> None:
    async def body(world: Any) -> None:
        world.target(2)
        world.pods(2, "100m")
        for number in range(20):
            world.pod(f"other-{number}", None, app="other")
        world.autoscaler()
        asked: set[str] = set()
        async with world.controller() as controller:
            by_index = controller._pods.by_index

            def look_up(index: str, value: str) -> Any:
                asked.add(value)
                return by_index(index, value)

            def look_at_all(namespace: str | None = None) -> Any:
                raise AssertionError("all pods of the namespace are looked at")

            controller._pods.by_index, controller._pods.list = look_up, look_at_all
            await world.at(1)
        assert world.replicas() == 4
        assert asked == {"default/app=web"}

    live(body)
