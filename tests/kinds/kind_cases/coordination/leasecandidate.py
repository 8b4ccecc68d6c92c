"""LeaseCandidate (coordination.k8s.io/v1beta1)."""

from __future__ import annotations

from kind_harness import GONE, Invalid, KindCases, Row, Update, invalid, not_supported, required

_SEMVER = "must be a valid semantic version"
_NEEDS = "must be specified when `strategy` is 'OldestEmulationVersion'"

CASES = KindCases(
    api_version="coordination.k8s.io/v1beta1",
    kind="LeaseCandidate",
    plural="leasecandidates",
    minimal={
        "metadata": {"name": "a"},
        "spec": {"leaseName": "l", "binaryVersion": "1.37.0", "strategy": "acme.io/first"},
    },
    minimal_stored={"spec": {"leaseName": "l", "binaryVersion": "1.37.0", "strategy": "acme.io/first"}},
    full={
        "metadata": {"name": "a_B.c"},
        "spec": {
            "leaseName": "l",
            "binaryVersion": "1.37.0",
            "emulationVersion": "1.36.0",
            "strategy": "OldestEmulationVersion",
            "pingTime": "2024-01-02T03:04:05.000000Z",
            "renewTime": "2024-01-02T03:04:05.000000Z",
        },
    },
    full_stored={
        "spec": {
            "leaseName": "l",
            "binaryVersion": "1.37.0",
            "emulationVersion": "1.36.0",
            "strategy": "OldestEmulationVersion",
            "pingTime": "2024-01-02T03:04:05.000000Z",
            "renewTime": "2024-01-02T03:04:05.000000Z",
        },
    },
    invalid=[
        Invalid("nothing", {"spec": {}},
                [required("spec.leaseName"), required("spec.binaryVersion"), required("spec.strategy")]),
        Invalid("no lease", {"spec.leaseName": GONE}, [required("spec.leaseName")]),
        Invalid("a version that is none", {"spec.binaryVersion": "v1.37"},
                [
                    invalid("spec.binaryVersion", '"v1.37"', _SEMVER),
                    invalid("spec.binaryVersion", '"v1.37"', "must be greater than or equal to `emulationVersion`"),
                ]),
        Invalid("an emulated version that is none", {"spec.emulationVersion": "1.036.0"},
                [invalid("spec.emulationVersion", '"1.036.0"', _SEMVER), required("spec.emulationVersion", _NEEDS)]),
        Invalid("an unknown strategy", {"spec.strategy": "Youngest"},
                [not_supported("spec.strategy.strategy", '"Youngest"', "OldestEmulationVersion")]),
        Invalid("newer than it is", {"spec.emulationVersion": "1.38.0"},
                [invalid("spec.binaryVersion", '"1.37.0"', "must be greater than or equal to `emulationVersion`")],
                together=True),
        Invalid("its own release not yet", {"spec.binaryVersion": "1.37.0-rc.1", "spec.emulationVersion": "1.37.0"},
                [invalid("spec.binaryVersion", '"1.37.0-rc.1"', "must be greater than or equal to `emulationVersion`")],
                together=True),
        Invalid("a candidate with a zero before its number", {"spec.binaryVersion": "1.37.0-rc.01"},
                [
                    invalid("spec.binaryVersion", '"1.37.0-rc.01"', _SEMVER),
                    invalid("spec.binaryVersion", '"1.37.0-rc.01"',
                            "must be greater than or equal to `emulationVersion`"),
                ]),
        Invalid("the oldest, and no age", {"spec.emulationVersion": GONE},
                [required("spec.emulationVersion", _NEEDS)], together=True),
        Invalid("a strategy, and no version", {"spec.strategy": "acme.io/first", "spec.binaryVersion": GONE},
                [required("spec.binaryVersion")], together=True),
    ],
    updates=[
        Update("renewed", {"spec.renewTime": "2024-01-02T03:04:06.000000Z"}, allowed=True),
        Update("for another lease", {"spec.leaseName": "m"}, [invalid("spec.leaseName", '"m"', "field is immutable")]),
    ],
    rows=[
        Row("as it is", {}, ["a", "l", "1.37.0", "", "60m"]),
        Row("as an older one", {}, ["a_B.c", "l", "1.37.0", "1.36.0", "60m"], on="full"),
    ],
)  # fmt: skip
