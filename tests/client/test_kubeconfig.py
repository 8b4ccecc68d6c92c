"""Kubeconfigs: what is read, what is written, what is refused."""

import stat

import pytest
import yaml

from sampan.client.kubeconfig import Connection, KubeConfig, KubeConfigError, in_cluster


def test_written_file_reads_back_and_is_private(tmp_path):
    made = Connection("https://h:6443", ca_pem=b"CA", client_certificate_pem=b"CERT", client_key_pem=b"KEY")
    path = tmp_path / "sub" / "config"
    KubeConfig.build("sampan", "admin", made).write(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert KubeConfig.load(path).connection() == made


def test_first_file_wins_and_later_ones_add(tmp_path):
    for name, server in (("a", "https://a"), ("b", "https://b")):
        config = KubeConfig.build("c", "u", Connection(server))
        config.set("users", f"only-{name}", {"token": name})
        config.write(tmp_path / name)
    merged = KubeConfig.load(environ={"KUBECONFIG": f"{tmp_path}/a:{tmp_path}/missing:{tmp_path}/b"})
    assert merged.connection().server == "https://a"
    assert {user["name"] for user in merged.content["users"]} == {"u", "only-a", "only-b"}


def test_relative_paths_count_from_the_file(tmp_path):
    (tmp_path / "ca.pem").write_bytes(b"CA")
    content = {
        "clusters": [{"name": "c", "cluster": {"server": "https://h", "certificate-authority": "ca.pem"}}],
        "users": [{"name": "u", "user": {"tokenFile": "token"}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u", "namespace": "n"}}],
        "current-context": "x",
    }
    (tmp_path / "config").write_text(yaml.safe_dump(content))
    connection = KubeConfig.load(tmp_path / "config").connection()
    assert connection.ca_pem == b"CA"
    assert connection.token_file == tmp_path / "token"
    assert connection.namespace == "n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, "no context"),
        ({"current-context": "x"}, "context 'x' does not exist"),
        (
            {
                "current-context": "x",
                "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
                "clusters": [{"name": "c", "cluster": {"server": "https://h"}}],
                "users": [{"name": "u", "user": {"exec": {"command": "aws"}}}],
            },
            "credential plugin 'exec'",
        ),
    ],
)
def test_unusable_configuration_says_which_part(content, message):
    with pytest.raises(KubeConfigError, match=message):
        KubeConfig(content).connection()


def test_pod_uses_its_service_account(tmp_path):
    (tmp_path / "ca.crt").write_text("CA")
    (tmp_path / "namespace").write_text("team\n")
    environ = {"KUBERNETES_SERVICE_HOST": "10.96.0.1", "KUBERNETES_SERVICE_PORT": "443"}
    connection = in_cluster(environ, tmp_path)
    assert connection.server == "https://10.96.0.1:443"
    assert connection.namespace == "team"
    with pytest.raises(KubeConfigError):
        in_cluster({}, tmp_path)
