"""Plug-ins of files and of installed packages: found, told their arguments, read again when they change, contained."""

import shutil
import sys
from importlib import metadata
from pathlib import Path

import pytest

from sampan.client.client import Client
from sampan.scheduler import loading, reloading
from sampan.scheduler.config import SchedulerConfig, build_profile
from sampan.scheduler.configuration.reading import load
from sampan.scheduler.framework import FilterPlugin, ScorePlugin
from sampan.scheduler.loading import BadPlugin

pytestmark = pytest.mark.timeout(120)
EXAMPLES = Path(__file__).parents[2] / "examples" / "scheduler-plugins"


def built(config, which=0):
    return build_profile(config.profiles[which], Client(None))


def test_the_examples_run_with_their_configuration(world, pod):
    files = sorted(EXAMPLES.glob("*.py"))
    config = loading.with_files(load(EXAMPLES / "config.yaml").scheduler, loading.load_files(files))
    world.profile = built(config)
    weights = {plugin.name: weight for plugin, weight in world.profile.scorers}
    assert (weights["QuietNodes"], weights["QuietNodesAtOnce"]) == (5, 1)
    world.node("loud", labels={"example.com/team": "blue"})
    world.node("quiet", labels={"example.com/team": "blue", "example.com/quiet": "true"})
    world.node("theirs", labels={"example.com/team": "red", "example.com/quiet": "true"})
    assert world.decide(labels={"example.com/team": "blue"}).node == "quiet"
    assert world.feasible(labels={"example.com/team": "red"}) == {"theirs"}
    assert world.why(labels={"example.com/team": "green"}) == (
        "0/3 nodes are available: 3 node(s) belonged to another example.com/team."
    )
    packing = built(config, 1)
    assert "SameTeam" not in [plugin.name for plugin in packing.having(FilterPlugin)]


def test_the_two_ways_to_write_a_score_agree(world):
    for name in ("quiet_nodes.py", "array_score.py"):
        config = loading.with_files(SchedulerConfig(), loading.load_file(EXAMPLES / name))
        world.profile = built(config)
        world.cluster.put_node({"metadata": {"name": "a", "labels": {"example.com/quiet": "true"}}, "status": {
            "allocatable": {"cpu": "4", "memory": "8Gi", "pods": "110"}}})  # fmt: skip
        world.node("b")
        assert world.decide().node == "a"


def test_pods_of_one_shape_that_differ_in_labels_are_not_taken_for_one(world):
    config = loading.with_files(SchedulerConfig(), loading.load_file(EXAMPLES / "same_team.py"))
    world.profile = built(config)
    world.node("a", labels={"team": "blue"})
    assert world.feasible(labels={"team": "blue"}) == {"a"}
    assert world.feasible(labels={"team": "red"}) == set()
    assert world.feasible() == {"a"}


WRONG = {
    "no Python": "class",
    "an import that is not there": "import nothing_like_this",
    "a script that ends itself": "raise SystemExit(1)",
    "nothing in it": "x = 1",
    "no extension point": "class P:\n    name = 'P'\n",
    "two of one name": "class P:\n name = 'P'\n def pre_enqueue(self, pod): ...\nclass Q(P): ...\n",
}


@pytest.mark.parametrize("wrong", WRONG, ids=str)
def test_a_file_that_gives_no_plugin_says_so(tmp_path, wrong):
    (tmp_path / "plugin.py").write_text(WRONG[wrong])
    with pytest.raises(BadPlugin, match=r"plugin\.py: "):
        loading.load_file(tmp_path / "plugin.py")


def test_a_file_that_is_not_there_or_is_none_is_told_in_a_sentence(tmp_path):
    with pytest.raises(loading.BadPlugin) as missing:
        loading.load_file(tmp_path / "nope.py")
    assert str(missing.value) == f"the plug-in file {tmp_path}/nope.py does not exist"
    with pytest.raises(loading.BadPlugin) as folder:
        loading.load_file(tmp_path)
    assert str(folder.value) == f"the plug-in file {tmp_path} cannot be read: Is a directory"


def test_a_file_that_everybody_may_write_is_not_run(tmp_path):
    file = tmp_path / "plugin.py"
    shutil.copy(EXAMPLES / "same_team.py", file)
    file.chmod(0o666)
    with pytest.raises(BadPlugin, match="everybody may write it"):
        loading.load_file(file)
    file.chmod(0o664)
    assert loading.load_file(file).keys() == {"SameTeam"}


def test_a_file_that_fails_leaves_the_module_in_force_where_it_was(tmp_path):
    file = tmp_path / "kept.py"
    shutil.copy(EXAMPLES / "same_team.py", file)
    loading.load_file(file)
    before = sys.modules["sampan_scheduler_plugin_kept"]
    file.write_text("import nothing_like_this")
    with pytest.raises(BadPlugin):
        loading.load_file(file)
    assert sys.modules["sampan_scheduler_plugin_kept"] is before


async def test_a_changed_file_is_in_force_and_one_that_is_broken_is_not(running, tmp_path):
    file = tmp_path / "plugin.py"
    shutil.copy(EXAMPLES / "same_team.py", file)
    config = loading.with_files(SchedulerConfig(), loading.load_file(file))
    async with running(profiles=config.profiles) as cluster:
        await cluster.add_node("a")
        await cluster.client.raw("POST", "/api/v1/namespaces/default/pods", {
            "metadata": {"name": "p", "labels": {"team": "red"}},
            "spec": {"containers": [{"name": "c", "image": "i"}]}})  # fmt: skip
        assert "belonged to another team" in (await cluster.unschedulable("p"))["message"]
        before = loading.versions([file])
        file.write_text("class")
        assert loading.versions([file]) != before
        assert not await reloading.take_in(cluster.scheduler, SchedulerConfig(), [file])
        assert cluster.condition("p")["status"] == "False"
        file.write_text(
            "from sampan.scheduler.plugins.base import NodeFilter\n"
            "class SameTeam(NodeFilter):\n    name = 'SameTeam'\n    def refuse(self, pod, node): return ''\n"
        )
        assert await reloading.take_in(cluster.scheduler, SchedulerConfig(), [file])
        await cluster.scheduled("p")


def installed(tmp_path, monkeypatch, target):
    """A package with an entry point, as pip would install it."""
    (tmp_path / "their_plugins.py").write_text((EXAMPLES / "quiet_nodes.py").read_text())
    info = tmp_path / "their_plugins-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: their-plugins\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{loading.GROUP}]\nQuietNodes = {target}\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert metadata.entry_points(group=loading.GROUP)


def enabling(tmp_path):
    file = tmp_path / "config.yaml"
    file.write_text(
        "apiVersion: kubescheduler.config.k8s.io/v1\nkind: KubeSchedulerConfiguration\n"
        "profiles: [{plugins: {multiPoint: {enabled: [{name: QuietNodes, weight: 3}]}}}]\n"
    )
    return load(file).scheduler


def test_an_installed_plugin_runs_where_a_configuration_names_it(tmp_path, monkeypatch):
    installed(tmp_path, monkeypatch, "their_plugins:QuietNodes")
    profile = built(loading.with_entry_points(enabling(tmp_path)))
    assert {plugin.name: weight for plugin, weight in profile.scorers}["QuietNodes"] == 3
    assert "QuietNodes" not in [p.name for p in built(SchedulerConfig()).having(ScorePlugin)]


def test_an_installed_plugin_that_cannot_be_loaded_is_named(tmp_path, monkeypatch):
    installed(tmp_path, monkeypatch, "their_plugins:Nothing")
    with pytest.raises(BadPlugin, match="plugin QuietNodes of their_plugins:Nothing"):
        loading.with_entry_points(enabling(tmp_path))
