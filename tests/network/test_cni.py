"""The pod network's configuration, and that taking an instance away leaves nothing."""

import hashlib
import ipaddress
import subprocess

import network_lab
import orjson
import pytest

from sampan.network import cni
from sampan.network.proxy.nftables.nft import NftCommand
from sampan.network.proxy.rules.values import Op, Table


@pytest.fixture
def cni_config(tmp_path):
    return cni.CniConfig(
        instance="t",
        bridge="br0",
        pod_cidr="10.244.0.0/24",
        conf_dir=tmp_path / "conf",
        data_dir=tmp_path / "data",
        results_dir=tmp_path / "results",
    )


def said(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.fixture
def own_lab(lab):
    made = network_lab.Lab("x")
    try:
        made.open()
        yield made
    finally:
        made.close()


def test_the_gateway_is_the_first_address_of_the_range(cni_config):
    assert cni_config.gateways == ("10.244.0.1",)
    plugin, _ = cni.render(cni_config)["plugins"]
    ((subnet,),) = plugin["ipam"]["ranges"]
    assert ipaddress.ip_address(cni_config.gateways[0]) in ipaddress.ip_network(subnet["subnet"])


def test_masquerading_is_left_to_the_proxy(cni_config):
    plugin, _ = cni.render(cni_config)["plugins"]
    assert (plugin["isGateway"], plugin["hairpinMode"], plugin["ipMasq"]) == (True, True, False)


def test_setup_writes_the_configuration_and_may_be_repeated(cni_config, lab):
    with lab.inside("pod3"):
        cni.setup(cni_config)
        cni.setup(cni_config)
    (written,) = cni_config.conf_dir.iterdir()
    assert orjson.loads(written.read_bytes()) == cni.render(cni_config)


@pytest.mark.timeout(120)
async def test_teardown_leaves_nothing(cni_config, own_lab):
    cni_config.data_dir.mkdir()
    cni_config.results_dir.mkdir()
    ours, theirs = f"sampan-t-{'a' * 64}-eth0", f"sampan-t-other-{'a' * 64}-eth0"
    for name in (ours, theirs):
        (cni_config.results_dir / name).touch()
    prefix = own_lab.command("node")
    # As the bandwidth plugin names them: of a pod of ours, and of somebody else's.
    digest = hashlib.sha512(b"sampan-t" + b"a" * 64).hexdigest()
    shaper = f"bwp{digest[:12]}"
    for name in (shaper, "bwpother"):
        said(*prefix, "ip", "link", "add", name, "type", "ifb")
    nft = NftCommand("sampan-t", prefix)
    await nft.apply([Op("add", Table())])
    await cni.teardown(cni_config, prefix)
    assert not await nft.exists()
    assert not cni_config.data_dir.exists()
    assert [path.name for path in cni_config.results_dir.iterdir()] == [theirs]
    left = said("ip", "-n", own_lab.namespace("node"), "-br", "link")
    assert {line.split("@")[0].split()[0] for line in left.splitlines()} == {"lo", "eth0", "bwpother"}
    namespaces = said("ip", "netns", "list")
    assert own_lab.namespace("pod1") not in namespaces
    assert own_lab.namespace("outside") in namespaces


@pytest.mark.timeout(120)
async def test_teardown_of_what_was_never_there_is_fine(cni_config, lab):
    await cni.teardown(cni_config, lab.command("pod3"))


def test_an_interface_that_goes_while_its_switch_is_read_is_passed_over(tmp_path, monkeypatch):
    for name in ("gone", "there"):
        (tmp_path / name).mkdir()
    (tmp_path / "gone" / "accept_ra").symlink_to(tmp_path / "nowhere")
    (tmp_path / "there" / "accept_ra").write_text("1\n")
    monkeypatch.setattr(cni, "_PROC_SYS", tmp_path)
    assert cni._routers_that_stay(tmp_path) == {"there/accept_ra": "2"}
