"""``sampan api report`` as somebody before an upgrade uses it: files in, findings and exit codes out, and new files."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

INGRESS = """\
# The front door.
apiVersion: extensions/v1beta1
kind: Ingress
metadata:
  name: front  # not back
spec:
  rules:
  - http:
      paths:
      - path: /
        backend: {serviceName: web, servicePort: 80}
"""
CRON_JOB = """\
# Every night.
apiVersion: batch/v1beta1  # as it was
kind: CronJob
metadata: {name: night}
spec:
  schedule: "0 3 * * *"
  jobTemplate:
    spec:
      template:
        spec:
          restartPolicy: Never
          containers: [{name: c, image: a}]
"""
CONFIG = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {a: '1'}\n"


def report(*arguments: str, stdin: str = "") -> tuple[int, str, str]:
    words = [sys.executable, "-c", "from sampan.cli.entry import main; main()", "api", "report", *arguments]
    done = subprocess.run(words, input=stdin, capture_output=True, text=True, timeout=50, check=False)
    return done.returncode, done.stdout, done.stderr


def found(*arguments: str, stdin: str = "") -> tuple[int, Any]:
    code, out, err = report(*arguments, "-o", "json", stdin=stdin)
    assert out, err
    return code, json.loads(out)


def test_what_is_removed_is_told_with_what_to_use_instead_and_fails() -> None:
    code, out, _ = report("--from", "1.20", "--to", "1.37", "-f", "-", stdin="---\n".join((INGRESS, CONFIG, CRON_JOB)))
    assert code == 1
    head, ingress, cron_job, last = out.splitlines()
    assert head.split() == ["SOURCE", "KIND", "NAME", "VERSION", "CHANGE", "SINCE", "USE"]
    assert ingress.split() == [
        "-", "Ingress", "front", "extensions/v1beta1", "removed", "v1.22", "networking.k8s.io/v1", "Ingress",
    ]  # fmt: skip
    assert cron_job.split()[:6] == ["-:3", "CronJob", "night", "batch/v1beta1", "removed", "v1.25"]
    assert last == "3 objects, from v1.20 to v1.37: 2 use what is removed, 0 what is deprecated"


@pytest.mark.parametrize(
    ("to", "change", "code"), [("1.20", None, 0), ("1.21", "deprecated", 0), ("1.25", "removed", 1)]
)
def test_a_version_is_fine_then_deprecated_then_removed(to: str, change: str | None, code: int) -> None:
    exit_code, told = found("--to", to, "-f", "-", stdin=CRON_JOB)
    assert ([each["change"] for each in told["findings"]], exit_code) == ([change] if change else [], code)


def test_lists_json_and_folders_are_looked_into_and_charts_are_not(tmp_path: Path) -> None:
    budget = {"apiVersion": "policy/v1beta1", "kind": "PodDisruptionBudget", "metadata": {"name": "b"}, "spec": {}}
    (tmp_path / "list.json").write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": [budget, budget]}))
    templates = tmp_path / "chart" / "templates"
    templates.mkdir(parents=True)
    (tmp_path / "chart" / "Chart.yaml").write_text("apiVersion: v2\nname: c\nversion: 1.0.0\n")
    (templates / "i.yaml").write_text("apiVersion: {{ .Values.version }}\nkind: Ingress\n")
    (tmp_path / "plain.yaml").write_text(CONFIG)
    code, told = found("-f", str(tmp_path))
    assert code == 1
    assert [each["name"] for each in told["findings"]] == ["b", "b"]
    assert told["skipped"] == [f"{templates / 'i.yaml'}: a template of a Helm chart"]


def test_what_has_no_replacement_is_told_too() -> None:
    policy = "apiVersion: policy/v1beta1\nkind: PodSecurityPolicy\nmetadata: {name: p}\nspec: {}\n"
    code, told = found("-f", "-", stdin=policy)
    assert (code, told["findings"][0]["removedIn"]) == (1, "1.25")
    assert told["findings"][0]["replacement"].startswith("Pod Security admission")


def test_a_file_that_cannot_be_read_fails_as_such() -> None:
    code, told = found("-f", "-", stdin="a: [\n---\n" + CONFIG)
    assert code == 2
    assert told["unreadable"][0].startswith("-: ")
    assert told["objects"] == 1


def test_deprecated_fields_are_hints_and_no_failure() -> None:
    containers = [{"name": "c", "image": "i", "colour": "red"}]
    spec = {"serviceAccount": "a", "nodeSelector": {"beta.kubernetes.io/os": "linux"}, "containers": containers}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": spec}
    code, told = found("-f", "-", stdin=json.dumps(pod))
    assert code == 0
    hints = [each["message"] for each in told["findings"]]
    assert 'unknown field "spec.containers[0].colour"' in hints
    assert 'spec.serviceAccount: deprecated; use "serviceAccountName" instead' in hints
    assert any("beta.kubernetes.io/os" in hint for hint in hints)


def test_files_are_rewritten_into_a_folder_and_comments_stay_where_only_the_name_changes(tmp_path: Path) -> None:
    (tmp_path / "in" / "below").mkdir(parents=True)
    before = "\n---\n".join((CRON_JOB, CONFIG, INGRESS))
    (tmp_path / "in" / "below" / "all.yaml").write_text(before)
    (tmp_path / "in" / "new.yaml").write_text(CONFIG)
    code, _, err = report("-f", str(tmp_path / "in"), "--rewrite", str(tmp_path / "out"))
    assert code == 1
    assert err == f"Wrote {tmp_path / 'out' / 'below' / 'all.yaml'}: 2 objects\n"
    assert not (tmp_path / "out" / "new.yaml").exists()
    after = (tmp_path / "out" / "below" / "all.yaml").read_text()
    cron_job, config, ingress = after.split("---\n")
    assert cron_job.rstrip() == CRON_JOB.replace("batch/v1beta1", "batch/v1").rstrip()
    assert config.rstrip() == CONFIG.rstrip()
    assert yaml.safe_load(ingress) == {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {"name": "front"},
        "spec": {
            "rules": [
                {
                    "http": {
                        "paths": [
                            {
                                "path": "/",
                                "backend": {"service": {"name": "web", "port": {"number": 80}}},
                                "pathType": "ImplementationSpecific",
                            }
                        ]
                    }
                }
            ]
        },
    }
    assert report("-f", str(tmp_path / "out"))[0] == 0


def test_a_file_is_rewritten_in_place_and_then_there_is_nothing_to_do(tmp_path: Path) -> None:
    path = tmp_path / "d.yaml"
    spec = {"template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}
    old = {"apiVersion": "extensions/v1beta1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": spec}
    path.write_text(yaml.safe_dump(old))
    assert report("-f", str(path), "--write")[0] == 1
    new = yaml.safe_load(path.read_text())
    assert new["apiVersion"] == "apps/v1"
    assert new["spec"]["selector"] == {"matchLabels": {"a": "b"}}
    assert new["spec"]["revisionHistoryLimit"] == 2147483647
    assert "status" not in new
    assert report("-f", str(path), "--write") == (
        0, "1 objects, from v1.20 to v1.37: 0 use what is removed, 0 what is deprecated\n", "",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--to", "2.0", "-f", "-"), "'2.0' is no release of Kubernetes"),
        (("--from", "1.30", "--to", "1.20", "-f", "-"), "--to 1.20 is before --from 1.30"),
        (("-f", "/nowhere"), "/nowhere does not exist"),
        (("-f", "-", "--write"), "there are no files to write anew"),
    ],
)
def test_wrong_words_are_told_without_a_traceback(arguments: tuple[str, ...], said: str) -> None:
    code, _, err = report(*arguments)
    assert code == 2, "1 would say that something removed is in use"
    assert err.startswith(f"sampan: {said}")
    assert "Traceback" not in err


def test_help_says_what_exit_codes_mean() -> None:
    code, out, _ = report("--help")
    assert code == 0
    assert "Exit codes: 0 nothing that is removed is in use, 1 something is" in out
