"""``--feature-gates``: which gates there are, what is on, and how a wrong setting is refused."""

from __future__ import annotations

import pytest

from sampan.api.features import Features, gates


def refusal(text: str) -> str:
    with pytest.raises(ValueError, match=r".") as caught:
        Features.parse(text)
    return str(caught.value)


def test_a_gate_has_its_default_until_somebody_sets_it() -> None:
    assert not Features.parse("").enabled("ContainerStopSignals")
    assert Features.parse("").enabled("HPAScaleToZero")
    given = Features.parse("ContainerStopSignals=true,, HPAScaleToZero = F ,ContainerStopSignals=t")
    assert given.enabled("ContainerStopSignals")
    assert not given.enabled("HPAScaleToZero")
    assert given.turned_on() == {"ContainerStopSignals"}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("Nonsense=true", "unrecognized feature gate: Nonsense"),
        ("SidecarContainers=true", "unrecognized feature gate: SidecarContainers"),  # removed in v1.37
        ("HostnameOverride=false", "cannot set feature gate HostnameOverride to false, feature is locked to true"),
        (
            "DeclarativeValidationTakeover=true",
            "cannot set feature gate DeclarativeValidationTakeover to true, feature is locked to false",
        ),
        ("ContainerStopSignals", "missing bool value for ContainerStopSignals"),
        (
            "ContainerStopSignals=yes",
            'invalid value of ContainerStopSignals=yes, err: strconv.ParseBool: parsing "yes": invalid syntax',
        ),
        (
            "WorkloadWithJob=true",
            "WorkloadWithJob is enabled, but depends on features that are disabled: [GenericWorkload]",
        ),
        (
            "CompositePodGroup=true",
            "CompositePodGroup is enabled, but depends on features that are disabled: "
            "[GenericWorkload TopologyAwareWorkloadScheduling]",
        ),
    ],
)
def test_a_wrong_setting_is_refused_in_upstreams_words(text: str, why: str) -> None:
    assert refusal(text) == why


def test_several_faults_are_told_together() -> None:
    why = refusal("HostnameOverride=false,NodeSwap=false")
    assert why.startswith("[cannot set feature gate HostnameOverride")
    assert why.endswith("cannot set feature gate NodeSwap to false, feature is locked to true]")


def test_a_locked_gate_may_be_set_to_what_it_is() -> None:
    assert Features.parse("HostnameOverride=true").enabled("HostnameOverride")


def test_all_alpha_and_all_beta_turn_on_what_nobody_set() -> None:
    everything = Features.parse("AllAlpha=true,AllBeta=true,ContainerStopSignals=false")
    assert everything.enabled("WorkloadWithJob")
    assert everything.enabled("GenericWorkload")
    assert not everything.enabled("ContainerStopSignals")
    assert not Features.parse("AllBeta=false,HPAScaleToZero=true").enabled("MaxUnavailableStatefulSet")
    assert Features.parse("AllBeta=false,HPAScaleToZero=true").enabled("HPAScaleToZero")


def test_every_gate_is_told_with_its_stage_and_state() -> None:
    states = Features.parse("ContainerStopSignals=true").states()
    assert len(states) == len(gates())
    assert states["ContainerStopSignals", "ALPHA"] == 1
    assert states["HPAScaleToZero", "BETA"] == 1
    assert states["HostnameOverride", ""] == 1
    assert states["DeclarativeValidationTakeover", "DEPRECATED"] == 0
    assert states["AllAlpha", "ALPHA"] == 0


def test_what_was_changed_and_changes_nothing_is_told() -> None:
    given = Features.parse("CBORServingAndStorage=true,ContainerStopSignals=true,HPAScaleToZero=true,AllAlpha=false")
    assert given.without_effect({"ContainerStopSignals"}) == ["CBORServingAndStorage"]
