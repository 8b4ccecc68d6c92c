"""KubeSchedulerConfiguration and the old Policy: what they make of a profile, and what they are told in whose words."""

import pytest

from sampan.client.client import Client
from sampan.scheduler.config import DEFAULT_PLUGINS, ProfileConfig, build_profile
from sampan.scheduler.configuration import policy
from sampan.scheduler.configuration.fields import BadConfiguration
from sampan.scheduler.configuration.reading import parse
from sampan.scheduler.framework import BindPlugin, FilterPlugin, PostFilterPlugin, ScorePlugin
from sampan.scheduler.pluginsets import PluginSet, PluginSets, Use, WrongPlugins, expand, merge

HEAD = "apiVersion: kubescheduler.config.k8s.io/v1\nkind: KubeSchedulerConfiguration\n"


def read(text):
    return parse((HEAD + text).encode())


def profile(text, which=0):
    return build_profile(read(text).scheduler.profiles[which], Client(None))


def names(found, point):
    return [plugin.name for plugin in found.having(point)]


def test_an_empty_configuration_is_the_default_one():
    found, default = profile("profiles: []"), build_profile(ProfileConfig(), Client(None))
    assert found.scheduler_name == "default-scheduler"
    for point in (FilterPlugin, ScorePlugin, BindPlugin, PostFilterPlugin):
        assert names(found, point) == names(default, point)
    assert [(p.name, w) for p, w in found.scorers] == [(p.name, w) for p, w in default.scorers]
    assert {p.name: w for p, w in found.scorers} == {
        "TaintToleration": 3, "NodeAffinity": 2, "NodeResourcesFit": 1, "PodTopologySpread": 2, "InterPodAffinity": 2,
        "NodeResourcesBalancedAllocation": 1, "ImageLocality": 1,
    }  # fmt: skip


def test_plugins_are_disabled_and_weighed_a_point_at_a_time():
    found = profile("""
profiles:
- plugins:
    score:
      disabled: [{name: ImageLocality}]
      enabled: [{name: NodeResourcesFit, weight: 7}]
    filter:
      disabled: [{name: NodePorts}]
""")
    weights = {plugin.name: weight for plugin, weight in found.scorers}
    assert "ImageLocality" not in weights and weights["NodeResourcesFit"] == 7
    assert found.scorers[0][0].name == "NodeResourcesFit"  # what a point names itself comes before
    assert "NodePorts" not in names(found, FilterPlugin)


def test_a_star_takes_all_away_and_what_is_enabled_stays():
    found = profile("""
profiles:
- plugins:
    score: {disabled: [{name: "*"}]}
    filter: {disabled: [{name: "*"}], enabled: [{name: NodeName}]}
""")
    assert found.scorers == [] and names(found, FilterPlugin) == ["NodeName"]


def test_multi_point_disables_a_plugin_everywhere_and_gives_weights():
    found = profile("""
profiles:
- plugins:
    multiPoint:
      disabled: [{name: NodeAffinity}]
      enabled: [{name: TaintToleration, weight: 9}]
""")
    assert "NodeAffinity" not in names(found, FilterPlugin) + names(found, ScorePlugin)
    assert {p.name: w for p, w in found.scorers}["TaintToleration"] == 9


def test_several_profiles_have_their_own_plugins():
    text = """
profiles:
- schedulerName: default-scheduler
- schedulerName: no-scoring
  plugins:
    score: {disabled: [{name: "*"}]}
"""
    assert profile(text, 0).scorers and not profile(text, 1).scorers


def test_a_profile_without_a_queue_sort_or_a_bind_plugin_is_none():
    for point, message in (("queueSort", "only one queue sort plugin required"), ("bind", "at least one bind plugin")):
        config = read(f'profiles: [{{plugins: {{{point}: {{disabled: [{{name: "*"}}]}}}}}}]').scheduler.profiles[0]
        with pytest.raises(WrongPlugins, match=message):
            build_profile(config, Client(None))


def test_a_plugin_that_nobody_brings_is_named():
    config = read("profiles: [{plugins: {filter: {enabled: [{name: Nobody}]}}}]").scheduler.profiles[0]
    with pytest.raises(WrongPlugins, match='plugin "Nobody" is not known'):
        build_profile(config, Client(None))


def test_a_plugin_without_the_point_is_refused():
    config = read("profiles: [{plugins: {score: {enabled: [{name: NodeName}]}}}]").scheduler.profiles[0]
    with pytest.raises(WrongPlugins, match="does not extend score"):
        build_profile(config, Client(None))


def test_arguments_reach_their_plugins():
    config = read("""
percentageOfNodesToScore: 50
podInitialBackoffSeconds: 2
podMaxBackoffSeconds: 30
profiles:
- pluginConfig:
  - name: NodeResourcesFit
    args:
      ignoredResources: [example.com/foo]
      ignoredResourceGroups: [example.org]
      scoringStrategy:
        type: RequestedToCapacityRatio
        resources: [{name: cpu, weight: 3}]
        requestedToCapacityRatio: {shape: [{utilization: 0, score: 10}, {utilization: 100, score: 0}]}
  - name: InterPodAffinity
    args: {hardPodAffinityWeight: 5, ignorePreferredTermsOfExistingPods: true}
  - name: NodeResourcesBalancedAllocation
    args: {resources: [{name: cpu}, {name: example.com/gpu, weight: 1}]}
  - name: PodTopologySpread
    args:
      defaultingType: List
      defaultConstraints: [{maxSkew: 1, topologyKey: zone, whenUnsatisfiable: DoNotSchedule}]
  - name: VolumeBinding
    args: {bindTimeoutSeconds: 60}
  - name: DefaultPreemption
    args: {minCandidateNodesPercentage: 20, minCandidateNodesAbsolute: 7}
  - name: FromElsewhere
    args: {any: thing}
""")
    made = config.scheduler.profiles[0]
    assert (config.scheduler.initial_backoff_seconds, config.scheduler.max_backoff_seconds) == (2.0, 30.0)
    assert config.warnings == ("percentageOfNodesToScore has no effect: all nodes are looked at, at once",)
    assert (made.ignored_resources, made.ignored_groups) == (("example.com/foo",), ("example.org",))
    assert made.fit_strategy.shape == ((0, 10), (100, 0)) and made.fit_strategy.resources == (("cpu", 3),)
    assert (made.hard_affinity_weight, made.ignore_preferred_of_others) == (5, True)
    assert made.balanced_resources == ("cpu", "example.com/gpu")
    assert not made.default_spreading and made.default_constraints[0]["topologyKey"] == "zone"
    assert made.volume_bind_seconds == 60.0
    assert (made.min_candidate_percent, made.min_candidates) == (20, 7)
    assert made.arguments == {"FromElsewhere": {"any": "thing"}}


ARGS = "profiles: [{pluginConfig: [{name: %s, args: %s}]}]"
# ruff: noqa: E501 - messages and what they are about stand side by side
WRONG = [
    ("parallelism: 0", "parallelism: Invalid value: 0: should be an integer value greater than zero"),
    ("percentageOfNodesToScore: 101", "percentageOfNodesToScore: Invalid value: 101: not in valid range [0-100]"),
    ("podInitialBackoffSeconds: 0", "podInitialBackoffSeconds: Invalid value: 0: must be greater than 0"),
    ("podInitialBackoffSeconds: 5\npodMaxBackoffSeconds: 2",
     "podMaxBackoffSeconds: Invalid value: 2: must be greater than or equal to PodInitialBackoffSeconds"),
    ("profiles: [{schedulerName: a}, {schedulerName: a}]",
     'profiles[1].schedulerName: Duplicate value: "profiles[0].schedulerName"'),
    ("profiles: [{schedulerName: a}, {}]", "profiles[1].schedulerName: Required value"),
    ("profiles: [{plugins: {score: {enabled: [{name: EBSLimits}]}}}]",
     'profiles[0].plugins.score.enabled[0]: Invalid value: "EBSLimits": was invalid in version "v1" '
     '(KubeSchedulerConfiguration is version "kubescheduler.config.k8s.io/v1")'),
    ("nonsense: 1", 'strict decoding error: unknown field "nonsense"'),
    ("profiles: [{plugins: {scores: {}}}]", 'strict decoding error: unknown field "profiles[0].plugins.scores"'),
    ("profiles: 3", "profiles must be a list"),
    ("leaderElection: {resourceLock: endpoints}",
     'leaderElection.resourceLock: Invalid value: "endpoints": resourceLock value must be "leases"'),
    ("extenders: [{urlPrefix: 'http://x', prioritizeVerb: p}]",
     "extenders[0].weight: Invalid value: 0: must have a positive weight applied to it"),
    ("extenders: [{urlPrefix: 'http://x', bindVerb: b}, {urlPrefix: 'http://y', bindVerb: b}]",
     'extenders: Invalid value: "found 2 extenders implementing bind": only one extender can implement bind'),
    ("extenders: [{urlPrefix: 'http://x', managedResources: [{name: cpu}]}]",
     'extenders[0].managedResources[0].name: Invalid value: "cpu": is an invalid extended resource name'),
    (ARGS % ("InterPodAffinity", "{hardPodAffinityWeight: 101}"),
     "profiles[0].pluginConfig[0].args.hardPodAffinityWeight: Invalid value: 101: not in valid range [0, 100]"),
    (ARGS % ("DefaultPreemption", "{minCandidateNodesPercentage: 0, minCandidateNodesAbsolute: 0}"),
     "[profiles[0].pluginConfig[0].args.minCandidateNodesPercentage: Invalid value: 0: cannot be zero at the same time "
     "as minCandidateNodesAbsolute, profiles[0].pluginConfig[0].args.minCandidateNodesAbsolute: Invalid value: 0: "
     "cannot be zero at the same time as minCandidateNodesPercentage]"),
    (ARGS % ("NodeResourcesFit", "{scoringStrategy: {type: Best}}"),
     'profiles[0].pluginConfig[0].args.scoringStrategy.type: Unsupported value: "Best": supported values: '
     '"LeastAllocated", "MostAllocated", "RequestedToCapacityRatio"'),
    (ARGS % ("NodeResourcesFit", "{scoringStrategy: {type: RequestedToCapacityRatio}}"),
     "profiles[0].pluginConfig[0].args.scoringStrategy.requestedToCapacityRatio: Required value: must be specified when "
     "type is RequestedToCapacityRatio"),
    (ARGS % ("NodeResourcesFit", "{scoringStrategy: {type: MostAllocated, resources: [{name: cpu, weight: 101}]}}"),
     "profiles[0].pluginConfig[0].args.scoringStrategy.resources[0].weight: Invalid value: 101: resource weight of cpu "
     "not in valid range (0, 100]"),
    (ARGS % ("NodeResourcesFit", "{ignoredResourceGroups: [a/b]}"),
     'profiles[0].pluginConfig[0].args.ignoredResourceGroups[0]: Invalid value: "a/b": resource group name can\'t '
     "contain '/'"),
    (ARGS % ("NodeResourcesBalancedAllocation", "{resources: [{name: cpu, weight: 2}]}"),
     "profiles[0].pluginConfig[0].args.resources[0].weight: Invalid value: 2: must be 1"),
    (ARGS % ("PodTopologySpread", "{defaultConstraints: [{maxSkew: 1, topologyKey: z, whenUnsatisfiable: DoNotSchedule}]}"),
     'profiles[0].pluginConfig[0].args.defaultingType: Invalid value: "System": when .defaultConstraints are not empty'),
    (ARGS % ("PodTopologySpread", "{defaultingType: List, defaultConstraints: [{topologyKey: z, whenUnsatisfiable: ScheduleAnyway}]}"),
     "profiles[0].pluginConfig[0].args.defaultConstraints[0].maxSkew: Invalid value: 0: not in valid range (0, inf)"),
    (ARGS % ("VolumeBinding", "{bindTimeoutSeconds: -1}"),
     "profiles[0].pluginConfig[0].args.bindTimeoutSeconds: Invalid value: -1: invalid BindTimeoutSeconds, should not be "
     "a negative value"),
    (ARGS % ("NodeAffinity", "{kind: FitArgs}"),
     'profiles[0].pluginConfig[0].args: the arguments of NodeAffinity are of kind "NodeAffinityArgs", not "FitArgs"'),
]  # fmt: skip


@pytest.mark.parametrize(("text", "message"), WRONG, ids=[str(i) for i in range(len(WRONG))])
def test_what_is_wrong_is_told_in_upstreams_words(text, message):
    with pytest.raises(BadConfiguration) as refused:
        read(text)
    assert str(refused.value) == message


def test_a_version_that_is_gone_is_named_with_todays():
    with pytest.raises(BadConfiguration, match="was removed; write apiVersion"):
        parse(b"apiVersion: kubescheduler.config.k8s.io/v1beta3\nkind: KubeSchedulerConfiguration\n")
    with pytest.raises(BadConfiguration, match='no kind "Pod" is registered'):
        parse(b"apiVersion: v1\nkind: Pod\n")


@pytest.mark.parametrize("content", [b"- a", b"{", b"a: b: c", b"\xff", b"x" * 2_000_000, b"a: 1\na: 2\n"])
def test_no_content_ends_in_a_traceback(content):
    with pytest.raises(BadConfiguration):
        parse(content)


# Sets

A, B, C = Use("A"), Use("B"), Use("C")


def test_a_default_that_is_named_again_keeps_its_place():
    assert merge(PluginSet((A, B)), PluginSet((Use("A", 4), C))).enabled == (Use("A", 4), B, C)
    assert merge(PluginSet((A, B)), PluginSet((C,), frozenset(("*",)))).enabled == (C,)


def test_a_points_own_come_first_where_multi_point_has_them_too_and_last_where_not():
    sets = PluginSets(PluginSet((A, B)), {"score": PluginSet((C, B))})
    assert expand(sets, "score", lambda name: True) == ["B", "A", "C"]


# Policy


def read_policy(text):
    return parse(("apiVersion: v1\nkind: Policy\n" + text).encode()).scheduler


@pytest.mark.parametrize("name", sorted(policy.PREDICATES))
def test_the_old_names_of_predicates_are_filters(name):
    """SC3"""
    made = build_profile(read_policy(f"predicates: [{{name: {name}}}]").profiles[0], Client(None))
    always = {"NodeUnschedulable", "TaintToleration", "DynamicResources"}
    assert set(names(made, FilterPlugin)) == always | set(policy.PREDICATES[name])


@pytest.mark.parametrize("name", sorted(policy.PRIORITIES))
def test_the_old_names_of_priorities_are_scores_with_their_weight(name):
    """SC5"""
    made = build_profile(read_policy(f"priorities: [{{name: {name}, weight: 4}}]").profiles[0], Client(None))
    wanted = policy.PRIORITIES[name]
    assert [(p.name, w) for p, w in made.scorers] == ([(wanted, 4)] if wanted else [])


def test_a_policy_without_lists_is_the_default_and_most_requested_packs():
    made = build_profile(read_policy("").profiles[0], Client(None))
    assert len(made.filters) == len(build_profile(ProfileConfig(), Client(None)).filters)
    config = read_policy("priorities: [{name: MostRequestedPriority, weight: 1}]\nhardPodAffinitySymmetricWeight: 7")
    assert config.profiles[0].fit_strategy.type == "MostAllocated"
    assert config.profiles[0].hard_affinity_weight == 7


@pytest.mark.parametrize("text", [
    "predicates: [{name: CheckServiceAffinity}]", "priorities: [{name: NodePreferAvoidPodsPriority, weight: 1}]",
    "priorities: [{name: LeastRequestedPriority, weight: 0}]", "predicates: [{nam: x}]",
    "priorities: [{name: LeastRequestedPriority, weight: 1}, {name: MostRequestedPriority, weight: 1}]",
])  # fmt: skip
def test_what_no_plugin_does_any_more_is_refused_by_name(text):
    with pytest.raises(BadConfiguration):
        read_policy(text)


def test_every_default_plugin_is_known_by_its_name():
    for name, factory in DEFAULT_PLUGINS.items():
        assert factory(Client(None), ProfileConfig()).name == name


def test_an_extender_whose_certificate_nobody_checks_is_warned_of():
    extender = "{urlPrefix: 'https://x', filterVerb: f, enableHTTPS: true, tlsConfig: {%s}}"
    told = {tls: read(f"extenders: [{extender % tls}]").warnings for tls in ("", "insecure: true", "caFile: /ca.crt")}
    assert [len(warnings) for warnings in told.values()] == [1, 0, 0]
    assert "its certificate is not checked" in told[""][0]
