"""Which back end makes Services real: refused by name where a machine cannot, and cleared away for another."""

import pytest

from sampan.network.proxy import modes
from sampan.network.proxy.backend import BackendError
from sampan.network.proxy.iptables.backend import IptablesBackend
from sampan.network.proxy.nftables.backend import NftBackend
from sampan.network.proxy.userspace.backend import UserspaceBackend


def test_each_mode_is_a_back_end(config, monkeypatch):
    monkeypatch.setattr(modes.shutil, "which", lambda program: f"/usr/sbin/{program}")
    made = {mode: type(modes.make(mode, config)) for mode in ("nftables", "iptables", "userspace")}
    assert made == {"nftables": NftBackend, "iptables": IptablesBackend, "userspace": UserspaceBackend}


def test_a_kernel_without_ipvs_is_told_and_what_to_do(tmp_path):
    lacking = modes.missing("ipvs", tmp_path / "ip_vs", tmp_path / "modules")
    assert lacking is not None
    assert lacking.what == "--proxy-mode ipvs: the kernel of this machine has no IPVS (ip_vs)"
    assert "nftables" in lacking.fix


def test_a_module_that_is_not_loaded_and_a_program_that_is_not_there_are_told_apart(tmp_path, monkeypatch):
    module = tmp_path / "modules/6.1/kernel/net/netfilter/ipvs/ip_vs.ko.xz"
    module.parent.mkdir(parents=True)
    module.touch()
    assert modes.missing("ipvs", tmp_path / "ip_vs", tmp_path / "modules").fix == "modprobe ip_vs dummy"
    (tmp_path / "ip_vs").touch()
    monkeypatch.setattr(modes.shutil, "which", lambda _: None)
    assert modes.missing("ipvs", tmp_path / "ip_vs").fix == "apt-get install -y ipvsadm"
    assert modes.missing("iptables").fix == "apt-get install -y iptables"
    monkeypatch.setattr(modes.shutil, "which", lambda program: program)
    assert modes.missing("ipvs", tmp_path / "ip_vs") is None
    assert modes.missing("nftables") is None


def test_a_mode_that_cannot_be_had_is_refused_before_it_begins(config, monkeypatch):
    monkeypatch.setattr(modes.shutil, "which", lambda _: None)
    with pytest.raises(BackendError, match="apt-get install -y iptables"):
        modes.make("iptables", config)


async def test_the_rules_of_a_former_mode_go_once(tmp_path, monkeypatch):
    removed = []

    async def remove(mode, instance):
        removed.append((mode, instance))

    monkeypatch.setattr(modes, "remove", remove)
    file = tmp_path / "proxy-mode"
    await modes.clear_other("nftables", "test", file)
    assert not file.exists()  # the default leaves no trace
    for mode in ("iptables", "iptables", "nftables", "nftables", "userspace"):
        await modes.clear_other(mode, "test", file)
    assert removed == [("nftables", "test"), ("iptables", "test"), ("nftables", "test")]
    assert file.read_text() == "userspace\n"


async def test_a_mode_that_could_not_be_cleared_is_tried_again(tmp_path, monkeypatch):
    async def refuse(*_):
        raise BackendError("no")

    monkeypatch.setattr(modes, "remove", refuse)
    with pytest.raises(BackendError):
        await modes.clear_other("iptables", "test", tmp_path / "proxy-mode")
    assert not (tmp_path / "proxy-mode").exists()
