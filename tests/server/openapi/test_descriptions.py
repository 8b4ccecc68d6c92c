"""Descriptions come out of lightkube's docstrings as one line a paragraph."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from sampan.server.openapi import descriptions

MODULE = '''
@dataclass
class NetworkPolicyIngressRule(DictMixin):
    r"""NetworkPolicyIngressRule describes a particular set of traffic that is allowed
      to the pods matched.

      **parameters**

      * **from_** ``List[Peer]`` - from is a list of sources which are able to access the pods that were selected
        for this rule.
      * **ports** ``List[int]`` - Short.
        On a line of its own.
      * **empty** ``str`` -
    """
    from_: 'Optional[List[NetworkPolicyPeer]]' = None
'''


def test_broken_lines_are_joined_and_short_lines_stay_apart() -> None:
    found = descriptions.parse(MODULE)["NetworkPolicyIngressRule"]
    assert found.text == (
        "NetworkPolicyIngressRule describes a particular set of traffic that is allowed to the pods matched."
    )
    assert found.fields["ports"] == "Short.\nOn a line of its own."
    assert found.fields["empty"] == ""


def test_a_field_named_as_a_word_of_python_has_its_own_name() -> None:
    fields = descriptions.parse(MODULE)["NetworkPolicyIngressRule"].fields
    assert fields["from"] == (
        "from is a list of sources which are able to access the pods that were selected for this rule."
    )


@pytest.mark.parametrize(
    ("definition", "module"),
    [
        ("io.k8s.api.core.v1.Container", "core_v1"),
        ("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta", "meta_v1"),
        ("io.k8s.kube-aggregator.pkg.apis.apiregistration.v1.APIService", "apiregistration_v1"),
        ("io.k8s.apimachinery.pkg.version.Info", "version"),
    ],
)
def test_definitions_are_found_in_the_module_of_their_group_version(definition: str, module: str) -> None:
    folder = descriptions.models_folder()
    assert descriptions.module_of(definition) == module
    assert folder is not None
    assert (folder / f"{module}.py").exists()


def test_an_unknown_module_has_no_descriptions(tmp_path: Path) -> None:
    assert descriptions.read(tmp_path, ["io.k8s.api.core.v1.Container"]) == {}


def test_finding_the_models_imports_nothing() -> None:
    """Where a whole client library lies beside them, it would be in the server's memory for good."""
    script = (
        "import sys; from sampan.server.openapi.descriptions import models_folder; "
        "print(models_folder() is not None, [name for name in sys.modules if name.startswith('lightkube')])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "True []\n"
