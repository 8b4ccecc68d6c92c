"""PodTemplate (v1): the rules of a template, which every kind that makes pods shares."""

from __future__ import annotations

from kind_harness import (
    Cause,
    Invalid,
    KindCases,
    Row,
    Update,
    Warned,
    duplicate,
    forbidden,
    invalid,
    not_found,
    not_supported,
    required,
)
from pod_manifests import FULL_SPEC, FULL_TEMPLATE_STORED, MINIMAL_SPEC, MINIMAL_TEMPLATE_STORED

_C = "template.spec.containers[0]"
_LABELS = {"app": "web"}


def _fault(what: str, change: dict[str, object], *causes: Cause, together: bool = False) -> Invalid:
    return Invalid(what, change, causes, together=together, on="minimal")


CASES = KindCases(
    api_version="v1",
    kind="PodTemplate",
    plural="podtemplates",
    generation=True,
    minimal={"metadata": {"name": "a"}, "template": {"spec": MINIMAL_SPEC}},
    minimal_stored={"template": {"metadata": {}, "spec": MINIMAL_TEMPLATE_STORED}},
    full={
        "metadata": {"name": "a"},
        "template": {"metadata": {"labels": _LABELS, "annotations": {"a.io/b": "c"}}, "spec": FULL_SPEC},
    },
    full_stored={
        "template": {"metadata": {"labels": _LABELS, "annotations": {"a.io/b": "c"}}, "spec": FULL_TEMPLATE_STORED}
    },
    invalid=[
        _fault("no template", {"template": {}}, required("template.spec.containers")),
        _fault(
            "a label that is none",
            {"template.metadata.labels": {"a": "b c"}},
            invalid(
                "template.labels",
                '"b c"',
                "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and "
                "must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', "
                "regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')",
            ),
        ),
        _fault(
            "an ephemeral container",
            {"template.spec.ephemeralContainers": [{"name": "e", "image": "i"}]},
            forbidden("template.spec.ephemeralContainers", "ephemeral containers not allowed in pod template"),
        ),
        _fault("no image", {"template.spec.containers.0.image": ""}, required(f"{_C}.image")),
        _fault(
            "a policy that does not exist",
            {"template.spec.restartPolicy": "Often"},
            not_supported("template.spec.restartPolicy", '"Often"', "Always", "OnFailure", "Never"),
        ),
        _fault(
            "a mount of nothing",
            {"template.spec.containers.0.volumeMounts": [{"name": "v", "mountPath": "/v"}]},
            not_found(f"{_C}.volumeMounts[0].name", '"v"'),
            together=True,
        ),
        _fault(
            "more requested than allowed",
            {"template.spec.containers.0.resources": {"limits": {"cpu": "1"}, "requests": {"cpu": "2"}}},
            invalid(f"{_C}.resources.requests", '"2"', "must be less than or equal to cpu limit of 1"),
            together=True,
        ),
        _fault(
            "an annotation and a field that differ",
            {
                "template.metadata.annotations": {"seccomp.security.alpha.kubernetes.io/pod": "unconfined"},
                "template.spec.securityContext.seccompProfile": {"type": "RuntimeDefault"},
            },
            forbidden(
                "template.spec.securityContext.seccompProfile.type", "seccomp type in annotation and field must match"
            ),
            together=True,
        ),
        _fault(
            "a name twice",
            {"template.spec.initContainers": [{"name": "c", "image": "i"}]},
            duplicate("template.spec.initContainers[0].name", '"c"'),
            together=True,
        ),
        _fault(
            "a port of the host's network that is another",
            {
                "template.spec.hostNetwork": True,
                "template.spec.containers.0.ports": [{"containerPort": 1}, {"containerPort": 2, "hostPort": 3}],
            },
            invalid(f"{_C}.ports[1].hostPort", "3", "must match `containerPort` when `hostNetwork` is true"),
            together=True,
        ),
    ],
    updates=[
        Update("everything", {"template.spec": MINIMAL_SPEC}, allowed=True),
        Update("an image of spaces, which templates may have", {"template.spec.containers.0.image": " "}, allowed=True),
        Update("nothing", {"template.spec.containers": []}, [required("template.spec.containers")], on="minimal"),
    ],
    rows=[
        Row("the least", {}, ["a", "c", "nginx", "<none>"]),
        Row(
            "several containers and labels",
            {
                "template.metadata.labels": {"b": "2", "a": "1"},
                "template.spec.containers.+": {"name": "d", "image": "e:1"},
            },
            ["a", "c,d", "nginx,e:1", "a=1,b=2"],
        ),
    ],
    warned=[
        Warned("nothing", {}, [], on="minimal"),
        Warned(
            "an old volume, and a pull secret twice",
            {
                "template.spec.volumes": [{"name": "v", "gitRepo": {"repository": "r"}}],
                "template.spec.imagePullSecrets": [{"name": "a"}, {"name": "a"}],
            },
            [
                "template.spec.volumes[0].gitRepo: deprecated in v1.11, and disabled by default in v1.33+",
                'template.spec.imagePullSecrets[1].name: duplicate name "a"',
            ],
            on="minimal",
        ),
    ],
)
