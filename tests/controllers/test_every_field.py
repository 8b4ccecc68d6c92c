"""Every field of every workload has a test that fails without it: this is the table of them.

A field that the API gets anew has no entry, and fails here until somebody has written its test.
"""

import functools
from pathlib import Path

import pytest

from sampan.api.registry import registry
from sampan.api.schema.nodes import ObjectNode

HERE = Path(__file__).parent
#: Fields of objects of their own, which are not walked into.
WHOLE = {
    "template",
    "metadata",
    "selector",
    "conditions",
    "volumeClaimTemplates",
    "jobTemplate",
    "active",
    "scheduling",
}

_OWN = "test_replicaset.py::"
_COUNTS = "test_counts.py::"
_ROLL = "test_deployment_plan.py::"
_DEPLOYMENT = "test_deployment.py::"
_DAEMONS, _DAEMON = "daemonset/test_plan.py::", "daemonset/test_controller.py::"
_STATEFUL, _SET = "statefulset/test_plan.py::", "statefulset/test_controller.py::"
_JOBS, _JOB, _TTL = "job/test_plan.py::", "job/test_controller.py::", "ttlafterfinished/test_controller.py::"
_CRONS, _CRON = "cronjob/test_plan.py::", "cronjob/test_controller.py::"
_BUDGETS = "test_disruption.py::"

FIELDS = {
    "deployments": {
        "spec.minReadySeconds": _ROLL + "test_who_must_be_ready_longer_says_so_in_its_sets",
        "spec.paused": _ROLL + "test_paused_scales_but_does_not_roll_out",
        "spec.progressDeadlineSeconds": _DEPLOYMENT + "test_passed_deadline_is_reported",
        "spec.replicas": _ROLL + "test_resize_in_a_rollout_keeps_proportions",
        "spec.revisionHistoryLimit": _ROLL + "test_history_keeps_the_newest_sets",
        "spec.selector": _DEPLOYMENT + "test_deployment_makes_a_set_that_makes_pods",
        "spec.strategy": _ROLL + "test_rolling_is_safe_after_every_action_and_converges",
        "spec.strategy.rollingUpdate": _ROLL + "test_rolling_is_safe_after_every_action_and_converges",
        "spec.strategy.rollingUpdate.maxSurge": _ROLL + "test_surge_rounds_up_and_unavailable_down",
        "spec.strategy.rollingUpdate.maxUnavailable": _ROLL + "test_surge_rounds_up_and_unavailable_down",
        "spec.strategy.type": _ROLL + "test_recreate_waits_until_no_old_pod_runs",
        "spec.template": _ROLL + "test_rollback_reuses_the_old_set_under_a_new_revision",
        "status.availableReplicas": _COUNTS + "test_a_deployment_counts_what_is_not_available",
        "status.collisionCount": _DEPLOYMENT + "test_name_taken_by_another_template_counts_a_collision",
        "status.conditions": _DEPLOYMENT + "test_pause_and_resume_show_in_conditions",
        "status.observedGeneration": _COUNTS + "test_a_deployment_counts_what_is_not_available",
        "status.readyReplicas": _COUNTS + "test_a_deployment_counts_what_is_not_available",
        "status.replicas": _COUNTS + "test_a_deployment_counts_what_is_not_available",
        "status.terminatingReplicas": _COUNTS + "test_a_deployment_counts_what_is_not_available",
        "status.unavailableReplicas": _COUNTS + "test_a_deployment_counts_what_is_not_available",
        "status.updatedReplicas": _COUNTS + "test_a_deployment_counts_what_is_not_available",
    },
    "replicasets": {
        "spec.minReadySeconds": _OWN + "test_min_ready_seconds_delays_availability",
        "spec.replicas": _OWN + "test_scale_down_deletes_and_tells",
        "spec.selector": _OWN + "test_orphans_are_adopted_and_strangers_released",
        "spec.template": _OWN + "test_slow_start_stops_at_the_first_failing_batch",
        "status.availableReplicas": _COUNTS + "test_sets_count_their_pods",
        "status.conditions": _COUNTS + "test_a_failure_is_a_condition_until_it_is_over",
        "status.fullyLabeledReplicas": _COUNTS + "test_sets_count_their_pods",
        "status.observedGeneration": _COUNTS + "test_sets_count_their_pods",
        "status.readyReplicas": _COUNTS + "test_sets_count_their_pods",
        "status.replicas": _COUNTS + "test_sets_count_their_pods",
        "status.terminatingReplicas": _COUNTS + "test_sets_count_their_pods",
    },
    "replicationcontrollers": {
        "spec.minReadySeconds": _COUNTS + "test_sets_count_their_pods",
        "spec.replicas": _OWN + "test_replication_controller_keeps_its_pods",
        "spec.selector": _OWN + "test_replication_controller_keeps_its_pods",
        "spec.template": _OWN + "test_replication_controller_keeps_its_pods",
        "status.availableReplicas": _COUNTS + "test_sets_count_their_pods",
        "status.conditions": _COUNTS + "test_a_refused_pod_of_a_replication_controller_is_told_and_made_later",
        "status.fullyLabeledReplicas": _COUNTS + "test_sets_count_their_pods",
        "status.observedGeneration": _COUNTS + "test_sets_count_their_pods",
        "status.readyReplicas": _COUNTS + "test_sets_count_their_pods",
        "status.replicas": _COUNTS + "test_sets_count_their_pods",
    },
    "daemonsets": {
        "spec.minReadySeconds": _DAEMONS + "test_nothing_goes_while_a_new_one_is_not_available",
        "spec.revisionHistoryLimit": _DAEMON + "test_history_is_kept_within_its_limit",
        "spec.selector": _DAEMON + "test_orphans_are_adopted_and_what_selects_all_makes_nothing",
        "spec.template": _DAEMON + "test_a_change_rolls_node_by_node_and_undo_goes_back_to_the_same_revision",
        "spec.updateStrategy": _DAEMONS + "test_as_many_old_pods_go_as_may_be_missing",
        "spec.updateStrategy.rollingUpdate": _DAEMONS + "test_as_many_old_pods_go_as_may_be_missing",
        "spec.updateStrategy.rollingUpdate.maxSurge": _DAEMONS + "test_a_surge_makes_the_new_pod_first",
        "spec.updateStrategy.rollingUpdate.maxUnavailable": _DAEMONS + "test_as_many_old_pods_go_as_may_be_missing",
        "spec.updateStrategy.type": _DAEMONS + "test_on_delete_waits_for_somebody_to_delete",
        "status.collisionCount": _COUNTS + "test_a_revision_of_somebody_else_counts_a_collision",
        "status.conditions": "../clients/test_daemon_sets.py::test_a_status_is_read_updated_and_patched",
        "status.currentNumberScheduled": _DAEMONS + "test_the_status_counts_nodes",
        "status.desiredNumberScheduled": _DAEMONS + "test_the_status_counts_nodes",
        "status.numberAvailable": _DAEMONS + "test_the_status_counts_nodes",
        "status.numberMisscheduled": _DAEMONS + "test_the_status_counts_nodes",
        "status.numberReady": _DAEMONS + "test_the_status_counts_nodes",
        "status.numberUnavailable": _DAEMONS + "test_the_status_counts_nodes",
        "status.observedGeneration": _DAEMONS + "test_the_status_counts_nodes",
        "status.updatedNumberScheduled": _DAEMONS + "test_the_status_counts_nodes",
    },
    "statefulsets": {
        "spec.minReadySeconds": _STATEFUL + "test_it_looks_again_when_a_pod_becomes_available",
        "spec.ordinals": _STATEFUL + "test_the_partition_counts_from_the_first_ordinal",
        "spec.ordinals.start": _STATEFUL + "test_the_partition_counts_from_the_first_ordinal",
        "spec.persistentVolumeClaimRetentionPolicy": _STATEFUL + "test_who_owns_a_claim_follows_the_policy",
        "spec.persistentVolumeClaimRetentionPolicy.whenDeleted": _STATEFUL + "test_who_owns_a_claim_follows_the_policy",
        "spec.persistentVolumeClaimRetentionPolicy.whenScaled": _STATEFUL + "test_who_owns_a_claim_follows_the_policy",
        "spec.podManagementPolicy": _STATEFUL + "test_parallel_sets_make_all_at_once",
        "spec.replicas": _STATEFUL + "test_ordered_sets_lose_the_last_first_and_wait_for_each",
        "spec.revisionHistoryLimit": "test_history.py::test_the_oldest_unused_revisions_above_the_limit_go",
        "spec.selector": _SET + "test_only_pods_with_a_name_of_its_own_are_adopted",
        "spec.serviceName": _STATEFUL + "test_a_pod_has_its_name_its_labels_its_host_name_and_its_claims",
        "spec.template": _SET + "test_a_roll_goes_from_the_last_to_the_first_and_a_rollback_takes_the_old_revision",
        "spec.updateStrategy": _STATEFUL + "test_the_last_old_pod_goes_first",
        "spec.updateStrategy.rollingUpdate": _STATEFUL + "test_as_many_as_may_be_missing",
        "spec.updateStrategy.rollingUpdate.maxUnavailable": _STATEFUL + "test_as_many_as_may_be_missing",
        "spec.updateStrategy.rollingUpdate.partition":
            _STATEFUL + "test_below_the_partition_all_stay_and_come_back_as_they_were",
        "spec.updateStrategy.type": _STATEFUL + "test_on_delete_waits_and_makes_the_new_one",
        "spec.volumeClaimTemplates": _STATEFUL + "test_a_pod_that_waits_gets_claims_that_somebody_deleted",
        "status.availableReplicas": _STATEFUL + "test_it_counts_by_revision_and_ends_a_roll",
        "status.collisionCount": _COUNTS + "test_a_revision_of_somebody_else_counts_a_collision",
        "status.conditions": "../clients/test_stateful_sets.py::test_a_status_is_read_updated_and_patched",
        "status.currentReplicas": _STATEFUL + "test_it_counts_by_revision_and_ends_a_roll",
        "status.currentRevision": _STATEFUL + "test_it_counts_by_revision_and_ends_a_roll",
        "status.observedGeneration": _STATEFUL + "test_it_counts_by_revision_and_ends_a_roll",
        "status.readyReplicas": _STATEFUL + "test_it_counts_by_revision_and_ends_a_roll",
        "status.replicas": _STATEFUL + "test_it_counts_by_revision_and_ends_a_roll",
        "status.updateRevision": _STATEFUL + "test_it_counts_by_revision_and_ends_a_roll",
        "status.updatedReplicas": _STATEFUL + "test_it_counts_by_revision_and_ends_a_roll",
    },
    "jobs": {
        "spec.activeDeadlineSeconds": _JOBS + "test_the_deadline",
        "spec.backoffLimit": _JOBS + "test_too_many_failures",
        "spec.backoffLimitPerIndex": _JOBS + "test_each_index_has_its_own_limit_and_its_own_pause",
        "spec.completionMode": _JOBS + "test_the_lowest_open_indexes_come_first",
        "spec.completions": _JOBS + "test_enough_successes",
        "spec.managedBy": _JOB + "test_another_managers_job_is_left_alone",
        "spec.manualSelector": _COUNTS + "test_a_job_counts_the_pods_that_run_are_ready_and_are_going",
        "spec.maxFailedIndexes": _JOBS + "test_failed_indexes",
        "spec.parallelism": _JOBS + "test_pods_are_made_up_to_parallelism_and_what_is_left",
        "spec.podFailurePolicy": _JOBS + "test_a_rule_that_fails_the_job",
        "spec.podFailurePolicy.rules": _JOBS + "test_a_rule_that_fails_the_job",
        "spec.podFailurePolicy.rules.action": _JOBS + "test_ignored_failures_are_none",
        "spec.podFailurePolicy.rules.onExitCodes": _JOBS + "test_a_rule_that_fails_the_job",
        "spec.podFailurePolicy.rules.onExitCodes.containerName": _JOBS + "test_a_rule_that_fails_the_job",
        "spec.podFailurePolicy.rules.onExitCodes.operator": _JOBS + "test_a_rule_that_fails_the_job",
        "spec.podFailurePolicy.rules.onExitCodes.values": _JOBS + "test_a_rule_that_fails_the_job",
        "spec.podFailurePolicy.rules.onPodConditions": _JOBS + "test_a_rule_that_fails_the_job",
        "spec.podFailurePolicy.rules.onPodConditions.status": _JOBS + "test_a_rule_that_fails_the_job",
        "spec.podFailurePolicy.rules.onPodConditions.type": _JOBS + "test_a_rule_that_fails_the_job",
        "spec.podReplacementPolicy": _JOBS + "test_replacements_wait_for_the_end_if_asked_to",
        "spec.scheduling": "../api/test_gates.py::test_every_place_of_a_field_that_is_off_is_in_the_table_of_its_kind",
        "spec.selector": _JOB + "test_orphans_are_adopted_with_their_finalizer_and_let_go_without",
        "spec.successPolicy": _JOBS + "test_a_rule_of_success",
        "spec.successPolicy.rules": _JOBS + "test_a_rule_of_success",
        "spec.successPolicy.rules.succeededCount": _JOBS + "test_a_rule_of_success",
        "spec.successPolicy.rules.succeededIndexes": _JOBS + "test_a_rule_of_success",
        "spec.suspend": _JOBS + "test_pods_go_and_the_condition_tells",
        "spec.template": _JOB + "test_a_job_runs_its_pod_and_completes",
        "spec.ttlSecondsAfterFinished": _TTL + "test_the_time_left_counts_from_the_end",
        "status.active": _COUNTS + "test_a_job_counts_the_pods_that_run_are_ready_and_are_going",
        "status.completedIndexes": _JOBS + "test_indexes_are_counted_once_whatever_their_pods",
        "status.completionTime": _JOBS + "test_a_job_ends_when_all_are_counted_and_gone",
        "status.conditions": _JOBS + "test_a_job_ends_when_all_are_counted_and_gone",
        "status.failed": _JOBS + "test_what_still_runs_when_a_job_fails_has_failed",
        "status.failedIndexes": _JOBS + "test_failed_indexes_are_written",
        "status.ready": _COUNTS + "test_a_job_counts_the_pods_that_run_are_ready_and_are_going",
        "status.startTime": _JOBS + "test_who_goes_on_starts_anew",
        "status.succeeded": _JOBS + "test_a_job_ends_when_all_are_counted_and_gone",
        "status.terminating": _COUNTS + "test_a_job_counts_the_pods_that_run_are_ready_and_are_going",
        "status.uncountedTerminatedPods": _JOBS + "test_uids_come_first_numbers_after_and_nothing_counts_twice",
        "status.uncountedTerminatedPods.failed": _JOBS + "test_uids_come_first_numbers_after_and_nothing_counts_twice",
        "status.uncountedTerminatedPods.succeeded":
            _JOBS + "test_uids_come_first_numbers_after_and_nothing_counts_twice",
    },
    "cronjobs": {
        "spec.concurrencyPolicy": _CRONS + "test_forbid_waits_for_the_next_time_and_says_so",
        "spec.failedJobsHistoryLimit": _CRONS + "test_history_keeps_so_many_of_each_sort_the_oldest_go",
        "spec.jobTemplate": _CRON + "test_jobs_come_at_their_times_and_their_ends_are_noted",
        "spec.schedule": "cronjob/test_times.py::test_every_time_of_a_year_comes_when_the_clock_shows_it",
        "spec.startingDeadlineSeconds": _CRONS + "test_a_deadline_ends_what_may_still_start",
        "spec.successfulJobsHistoryLimit": _CRONS + "test_history_keeps_so_many_of_each_sort_the_oldest_go",
        "spec.suspend": _CRONS + "test_a_suspended_one_waits_for_nothing",
        "spec.timeZone": _CRONS + "test_a_time_zone_decides_when_and_is_shown_in_the_annotation",
        "status.active": _CRONS + "test_a_finished_job_leaves_the_active_ones_and_is_told_of",
        "status.lastScheduleTime": _CRONS + "test_a_time_that_has_come_starts_its_job",
        "status.lastSuccessfulTime": _CRONS + "test_the_last_success_is_the_latest_and_never_goes_back",
    },
    "poddisruptionbudgets": {
        "spec.maxUnavailable": _BUDGETS + "test_how_many_are_expected_and_must_be_healthy",
        "spec.minAvailable": _BUDGETS + "test_how_many_are_expected_and_must_be_healthy",
        "spec.selector": _BUDGETS + "test_the_status_follows_pods_and_the_deployments_size",
        "spec.unhealthyPodEvictionPolicy":
            "../server/races/test_evictions.py::test_a_pod_that_becomes_available_while_it_is_evicted_counts",
        "status.conditions": _BUDGETS + "test_only_ready_pods_that_stay_count",
        "status.currentHealthy": _BUDGETS + "test_only_ready_pods_that_stay_count",
        "status.desiredHealthy": _BUDGETS + "test_the_status_follows_pods_and_the_deployments_size",
        "status.disruptedPods": _BUDGETS + "test_evicted_pods_are_forgotten_when_gone_and_told_of_when_they_stay",
        "status.disruptionsAllowed": _BUDGETS + "test_a_budget_without_pods_allows_nothing",
        "status.expectedPods": _BUDGETS + "test_the_status_follows_pods_and_the_deployments_size",
        "status.observedGeneration": _BUDGETS + "test_only_ready_pods_that_stay_count",
    },
}  # fmt: skip

_GROUPS = {"replicationcontrollers": "", "jobs": "batch", "cronjobs": "batch", "poddisruptionbudgets": "policy"}


def fields_of(node, path):
    node = getattr(node, "items", None) if not isinstance(node, ObjectNode) else node
    if not isinstance(node, ObjectNode):
        return
    for name, field in node.fields.items():
        yield f"{path}.{name}"
        if name not in WHOLE:
            yield from fields_of(field.node, f"{path}.{name}")


@pytest.mark.parametrize("plural", FIELDS)
def test_every_field_of_the_api_is_in_the_table(plural):
    kind = registry().by_resource(_GROUPS.get(plural, "apps"), "v1", plural)
    parts = kind.node.fields
    assert set(FIELDS[plural]) == {*fields_of(parts["spec"].node, "spec"), *fields_of(parts["status"].node, "status")}


@functools.cache
def source(name):
    return (HERE / name).read_text()


@pytest.mark.parametrize(
    ("field", "test"),
    [pytest.param(f, t, id=f"{plural} {f}") for plural, fields in FIELDS.items() for f, t in fields.items()],
)
def test_the_test_of_each_field_is_there(field, test):
    name, function = test.split("::")
    assert f"def {function}(" in source(name)
