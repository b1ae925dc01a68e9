"""The hosts that other tests stand on are what they claim to be, and leave nothing behind."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.hosts import Hosts, open_hosts
from tests.support.network import command


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[Hosts]:
    with open_hosts(tmp_path / "hosts") as opened:
        yield opened


def ping(hosts: Hosts, name: str, address: str) -> bool:
    """Ask from a host whether it gets a TCP answer from an address."""
    code = f"import socket; socket.create_connection(({address!r}, 22), 1).recv(4)"
    return hosts[name].run([sys.executable, "-c", code]).returncode == 0


def ours() -> list[str]:
    """Return namespaces and links that this process has made."""
    listing = command("ip", "netns", "list") + command("ip", "-brief", "link")
    return [line for line in listing.splitlines() if str(os.getpid()) in line]


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_hosts_are_machines_of_their_own(hosts: Hosts) -> None:
    script = "hostname; pwd; echo $HOME; cat /proc/sys/kernel/random/boot_id; touch /tmp/mine"
    seen = {name: hosts.ssh(name, script) for name in hosts}
    for name, done in seen.items():
        assert done.returncode == 0, done.stderr
        home = str(hosts[name].home)
        assert done.stdout.decode().split()[:3] == [name, home, home]
        assert (hosts[name].tmp / "mine").exists()
        assert hosts[name].handshakes == 1
    assert seen["gpu1"].stdout.split()[3] != seen["gpu2"].stdout.split()[3]
    assert not Path("/tmp/mine").exists()
    assert hosts.ssh("gpu1", f"ls {hosts.root}").stdout.split() == [b"gpu1"]
    assert hosts.ssh("gpu1", f"{sys.executable} -c 'import torch'").returncode == 0
    assert hosts["gpu1"].run(["hostname"]).stdout == b"gpu1\n"


def test_links_are_cut_one_by_one(hosts: Hosts) -> None:
    one, two = hosts["gpu1"], hosts["gpu2"]
    one.cut_from(two)
    assert not ping(hosts, "gpu1", two.address)
    assert not ping(hosts, "gpu2", one.address)
    assert hosts.ssh("gpu1", "true").returncode == 0
    assert hosts.ssh("gpu2", "true").returncode == 0
    one.mend_from(two)
    wait_for(lambda: ping(hosts, "gpu1", two.address))
    one.cut()
    assert hosts.ssh("gpu1", "-o", "ConnectTimeout=1", "true").returncode == 255
    assert hosts.ssh("gpu2", "true").returncode == 0
    assert ping(hosts, "gpu2", one.address)
    one.mend()
    assert hosts.ssh("gpu1", "true").returncode == 0
    one.isolate()
    assert not ping(hosts, "gpu2", one.address)
    one.mend()
    wait_for(lambda: ping(hosts, "gpu2", one.address))


def test_a_link_is_slowed(hosts: Hosts) -> None:
    hosts["gpu1"].slow(delay_ms=100, loss=0.02)
    begun = time.monotonic()
    size = 3_000_000
    done = hosts.ssh("gpu1", f"head -c {size} /dev/zero")
    assert len(done.stdout) == size
    assert time.monotonic() - begun > 1.0  # a handshake has at least five round trips
    hosts["gpu1"].fast()
    assert hosts.ssh("gpu1", "true").returncode == 0


def test_power_goes_and_comes(hosts: Hosts) -> None:
    host = hosts["gpu1"]
    (host.home / "kept").write_text("yes")
    env = {**os.environ, "NAME": "value"}
    argv = ["ssh", "-F", str(hosts.config), "-o", "ServerAliveInterval=1", "gpu1"]
    argv += ["AIINFRA_JOB=abc exec sleep 1000"]
    with subprocess.Popen(argv, env=env, stdin=subprocess.DEVNULL) as client:
        wait_for(lambda: bool(host.tagged("abc")))
        assert host.tagged() == host.tagged("abc")
        assert host.tagged("abcd") == []
        boot = host.run(["cat", "/proc/sys/kernel/random/boot_id"]).stdout
        host.power_off()
        assert host.pids() == []
        assert client.wait(60) == 255
    assert hosts.ssh("gpu1", "-o", "ConnectTimeout=1", "true").returncode == 255
    host.power_on()
    assert host.run(["cat", "/proc/sys/kernel/random/boot_id"]).stdout != boot
    assert hosts.ssh("gpu1", "cat kept").stdout == b"yes"


def test_a_host_changes(hosts: Hosts) -> None:
    host = hosts["gpu1"]
    host.set_shell("/bin/dash")
    assert hosts.ssh("gpu1", "echo $0").stdout == b"dash\n"
    host.renew_host_key()
    assert b"IDENTIFICATION HAS CHANGED" in hosts.ssh("gpu1", "true").stderr
    hosts.learn_keys()
    assert hosts.ssh("gpu1", "true").returncode == 0
    host.configure("PubkeyAuthentication no")
    assert b"Permission denied" in hosts.ssh("gpu1", "true").stderr


def test_nothing_remains_even_after_a_failure(tmp_path: Path) -> None:
    before = ours()
    clients: list[subprocess.Popen[bytes]] = []
    processes: list[int] = []

    def failing() -> None:
        with open_hosts(tmp_path / "hosts") as hosts:
            argv = ["ssh", "-F", str(hosts.config), "gpu1", "exec sleep 1000"]
            clients.append(subprocess.Popen(argv, stdin=subprocess.DEVNULL))
            wait_for(lambda: hosts["gpu1"].handshakes == 1)
            hosts["gpu1"].isolate()
            hosts["gpu2"].slow(delay_ms=1)
            processes.extend(pid for host in hosts.values() for pid in host.pids())
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        failing()
    assert clients[0].wait(30) != 0
    assert processes
    assert ours() == before
    assert not [pid for pid in processes if Path(f"/proc/{pid}").exists()]


def test_two_networks_coexist(tmp_path: Path, hosts: Hosts) -> None:
    with open_hosts(tmp_path / "others", names=("gpu1",)) as others:
        assert others["gpu1"].address != hosts["gpu1"].address
        for each in (others, hosts):
            assert each.ssh("gpu1", "hostname").stdout == b"gpu1\n"
    assert hosts.ssh("gpu1", "true").returncode == 0
