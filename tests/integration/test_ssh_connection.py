"""The shell over ssh against real sshd, with everything that a real one does to its users."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from jupyter_aiinfra.errors import (
    AuthenticationFailed,
    ConnectionLost,
    ConnectionRefused,
    ConnectionTimedOut,
    HostKeyChanged,
    HostKeyUnknown,
    LoginNeeded,
    MissingProgram,
    NameNotResolved,
    NoRemoteShell,
    PoolError,
    Unreachable,
)
from jupyter_aiinfra.ssh.client import SshOptions
from jupyter_aiinfra.ssh.connection import SshShell
from jupyter_aiinfra.ssh.hosts import HostSpec
from tests.support.hosts import Hosts, open_hosts

NASTY = [
    "a b",
    "",
    "it's",
    '"q"',
    "$HOME",
    "`id`",
    "!x!!",
    "\\n\\1",
    "%s%d",
    "new\nline\n",
    "ü€",
    "*~#",
]


# csh is of those that `make system` installs; the others are tried where they are.
LOGIN_SHELLS = ["/bin/bash", "/bin/dash", "/bin/csh"]
LOGIN_SHELLS += [path for path in ("/usr/bin/fish", "/usr/bin/zsh") if Path(path).exists()]


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    # A short path: pytest's own are too long for a socket.
    folder = Path(f"/tmp/aissh{os.getpid()}")
    folder.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def hosts(tmp_path: Path, runtime: Path) -> Iterator[Hosts]:
    # Closed before the folder of its sockets goes.
    with open_hosts(tmp_path / "hosts") as opened:
        yield opened


def shell(hosts: Hosts, name: str = "gpu1", *, alive_seconds: int = 1) -> SshShell:
    options = SshOptions(config=hosts.config, alive_seconds=alive_seconds, connect_seconds=3)
    return SshShell(HostSpec(name=name), options=options)


async def output(of: SshShell, *argv: str) -> bytes:
    done = await of.run(argv)
    assert done.ok, done.stderr
    return done.stdout


@pytest.mark.parametrize("login", LOGIN_SHELLS)
async def test_an_argv_arrives_as_it_is_in_any_login_shell(hosts: Hosts, login: str) -> None:
    hosts["gpu1"].set_shell(login)
    code = "import sys; sys.stdout.write(repr(sys.argv[1:])); sys.stderr.write('err'); sys.exit(7)"
    done = await shell(hosts).run([sys.executable, "-c", code, *NASTY])
    assert done.stdout.decode() == repr(NASTY)
    assert (done.stderr, done.status) == (b"err", 7)
    assert done.argv[0] == sys.executable


async def test_bytes_go_both_ways_and_255_is_a_programs_own(hosts: Hosts) -> None:
    remote = shell(hosts)
    data = bytes(range(256)) * 4000
    assert (await remote.run(["cat"], stdin=data)).stdout == data
    assert b"".join([chunk async for chunk in remote.stream(["cat"], stdin=data)]) == data
    assert (await remote.run(["sh", "-c", "exit 255"])).status == 255
    pipe = await remote.open(["cat"])
    await pipe.write(b"hello")
    assert await pipe.read(2) == b"he"
    assert await pipe.read(100) == b"llo"
    await pipe.close()
    await pipe.close()
    assert hosts["gpu1"].handshakes == 1


async def test_what_start_up_files_and_banners_say_does_not_matter(
    hosts: Hosts, tmp_path: Path
) -> None:
    banner = hosts["gpu1"].folder / "etc/banner"
    banner.write_text("Permission denied (publickey).\nhost key verification failed\n")
    hosts["gpu1"].configure(f"Banner {banner}")
    (hosts["gpu1"].home / ".bashrc").write_text("echo welcome to gpu1; echo warning >&2\n")
    remote = shell(hosts)
    done = await remote.run(["printf", "%s", "mine"])
    assert (done.stdout, done.stderr) == (b"mine", b"")
    assert [chunk async for chunk in remote.stream(["printf", "mine"])] == [b"mine"]
    pipe = await remote.open(["printf", "mine"])
    assert await pipe.read(100) == b"mine"
    assert await pipe.read(100) == b""
    assert await pipe.wait() == 0
    await pipe.close()


async def test_an_account_without_a_shell(hosts: Hosts) -> None:
    hosts["gpu1"].set_shell("/usr/sbin/nologin")
    remote = shell(hosts)
    with pytest.raises(NoRemoteShell, match="not available"):
        await remote.run(["true"])
    pipe = await remote.open(["true"])
    with pytest.raises(NoRemoteShell, match="not available"):
        await pipe.read(10)
    await pipe.close()
    with pytest.raises(NoRemoteShell):
        [chunk async for chunk in remote.stream(["true"])]


async def test_one_handshake_for_all_processes(hosts: Hosts) -> None:
    code = (
        "import asyncio, sys; from pathlib import Path\n"
        "from jupyter_aiinfra.ssh.connection import SshShell\n"
        "from jupyter_aiinfra.ssh.client import SshOptions\n"
        "from jupyter_aiinfra.ssh.hosts import HostSpec\n"
        "async def main():\n"
        "    s = SshShell(HostSpec(name='gpu1'), options=SshOptions(config=Path(sys.argv[1])))\n"
        "    done = await asyncio.gather(*[s.run(['hostname']) for _ in range(4)])\n"
        "    assert all(d.stdout == b'gpu1\\n' for d in done), done\n"
        "asyncio.run(main())\n"
    )
    argv = [sys.executable, "-c", code, str(hosts.config)]
    others = [await asyncio.create_subprocess_exec(*argv) for _ in range(2)]
    remote = shell(hosts)
    assert await output(remote, "hostname") == b"gpu1\n"
    assert [await other.wait() for other in others] == [0, 0]
    await remote.close()
    await remote.close()
    assert await output(remote, "hostname") == b"gpu1\n"
    assert hosts["gpu1"].handshakes == 1
    assert hosts["gpu1"].log.count("Connection from") == 2  # the fixture's own look, and one


async def test_the_users_own_shared_connection_is_used(hosts: Hosts, runtime: Path) -> None:
    own = runtime / "own-%C"
    hosts.write_config(extra=f"ControlMaster auto\nControlPath {own}\nControlPersist 30\n")
    assert hosts.ssh("gpu1", "true").returncode == 0
    assert await output(shell(hosts), "hostname") == b"gpu1\n"
    assert hosts["gpu1"].handshakes == 1
    assert [path.name[:4] for path in runtime.iterdir() if path.is_socket()] == ["own-"]


async def test_hosts_that_do_not_answer(hosts: Hosts) -> None:
    options = SshOptions(config=hosts.config, connect_seconds=2)
    for name, kind in (("nosuchhost.invalid", NameNotResolved), ("gpu1", ConnectionRefused)):
        with pytest.raises(kind, match=name) as caught:
            await SshShell(HostSpec(name=name, port=23), options=options).run(["true"])
        assert caught.value.hint
        assert isinstance(caught.value, Unreachable)
    hosts["gpu2"].power_off()
    begun = time.monotonic()
    with pytest.raises(Unreachable, match="gpu2"):
        await SshShell(HostSpec(name="gpu2"), options=options).run(["true"])
    assert time.monotonic() - begun < 20
    with pytest.raises(MissingProgram, match="nossh"):
        await SshShell(HostSpec(name="gpu1"), options=SshOptions(program="nossh")).run(["true"])
    broken = hosts.root / "broken"
    broken.write_text("Host *\n  NoSuchOption yes\n")
    with pytest.raises(PoolError, match=r"line 2.*nosuchoption"):
        await SshShell(HostSpec(name="gpu1"), options=SshOptions(config=broken)).run(["true"])


async def test_nobody_is_let_in(hosts: Hosts) -> None:
    wrong = hosts.root / "wrong"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", wrong], check=True)
    hosts.write_config(per_host={"gpu1": f"  IdentityFile {wrong}\n  IdentitiesOnly yes\n"})
    right = hosts.key.with_name("moved")
    hosts.key.rename(right)
    with pytest.raises(AuthenticationFailed, match="publickey") as caught:
        await shell(hosts).run(["true"])
    assert str(wrong) in caught.value.hint
    right.rename(hosts.key)
    both = ("PasswordAuthentication yes", "AuthenticationMethods publickey,password")
    hosts["gpu2"].configure(*both)
    with pytest.raises(LoginNeeded, match="password") as needed:
        await shell(hosts, "gpu2").run(["true"])
    command = needed.value.hint.split("shared: ")[1]
    assert command.startswith("ssh -F ")
    # What the hint says to do, by somebody who can: as if the password had been given.
    hosts["gpu2"].configure()
    subprocess.run(command.split(), check=True, stdin=subprocess.DEVNULL)
    hosts["gpu2"].configure(*both)
    assert await output(shell(hosts, "gpu2"), "hostname") == b"gpu2\n"


@pytest.mark.parametrize("hashed", [False, True])
async def test_an_unknown_key_is_shown_and_trusted_once(hosts: Hosts, hashed: bool) -> None:
    hosts.known_hosts.unlink()
    hosts.known_hosts = hosts.root / "new" / "known_hosts"
    hosts.write_config(extra="HashKnownHosts yes\n" if hashed else "")
    remote = shell(hosts)
    with pytest.raises(HostKeyUnknown) as caught:
        await remote.run(["hostname"])
    key = caught.value
    real = subprocess.run(
        ["ssh-keygen", "-lf", hosts["gpu1"].folder / "etc/host_key.pub"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()
    assert (key.fingerprint, f"({key.key_type})") == (real[1], real[-1])
    assert not hosts.known_hosts.exists()
    assert hosts["gpu1"].handshakes == 0
    await asyncio.gather(remote.trust(key), shell(hosts).trust(key))
    assert await remote.trust(key) == hosts.known_hosts
    assert len(hosts.known_hosts.read_text().splitlines()) == 1
    assert hosts.known_hosts.read_text().startswith("|1|") is hashed
    assert hosts.known_hosts.stat().st_mode & 0o777 == 0o600
    assert hosts.known_hosts.parent.stat().st_mode & 0o777 == 0o700
    assert await output(remote, "hostname") == b"gpu1\n"
    assert hosts["gpu1"].handshakes == 1
    # The fixture's own look, one for the key, and the one that stays.
    assert hosts["gpu1"].log.count("Connection from") == 3


async def test_a_changed_key_is_refused_loudly(hosts: Hosts) -> None:
    hosts["gpu1"].renew_host_key()
    with pytest.raises(HostKeyChanged, match="HAS CHANGED") as caught:
        await shell(hosts).run(["true"])
    assert f"{hosts.known_hosts}, line 1" in caught.value.message
    assert "ssh-keygen -f" in caught.value.hint
    assert hosts["gpu1"].handshakes == 0
    # One that changed between the question and the answer is not written either.
    before = hosts.known_hosts.read_text()
    stale = HostKeyUnknown(
        "x",
        host="gpu1",
        fingerprint="x",
        key_type="ED25519",
        line=f"{hosts['gpu1'].address} {hosts['gpu1'].public_key}",
    )
    with pytest.raises(HostKeyChanged):
        await shell(hosts).trust(stale)
    assert hosts.known_hosts.read_text() == before


async def test_by_way_of_another_host(hosts: Hosts) -> None:
    one, two = hosts["gpu1"], hosts["gpu2"]
    hosts.write_config(per_host={"gpu2": "  ProxyJump gpu1\n"})
    two.cut()  # no direct way
    known = hosts.known_hosts.read_text().splitlines(keepends=True)
    hosts.known_hosts.write_text(known[0])
    remote = shell(hosts, "gpu2")
    with pytest.raises(HostKeyUnknown) as caught:
        await remote.run(["hostname"])
    assert two.public_key in caught.value.line
    await remote.trust(caught.value)
    assert await output(remote, "hostname") == b"gpu2\n"
    assert await output(remote, "hostname") == b"gpu2\n"
    assert two.handshakes == 1
    # What is wrong on the way is said as well.
    two.mend()
    one.configure("PubkeyAuthentication no")
    hosts.write_config(per_host={"gpu2": "  ProxyJump gpu1\n  HostKeyAlias other\n"})
    with pytest.raises(AuthenticationFailed, match="gpu2"):
        await shell(hosts, "gpu2").run(["hostname"])


async def master_of(hosts: Hosts, runtime: Path) -> int:
    [path] = [path for path in (runtime / "jupyter-aiinfra").iterdir() if path.is_socket()]
    argv = ["ssh", "-F", str(hosts.config), "-O", "check", "-o", f"ControlPath={path}", "gpu1"]
    said = subprocess.run(argv, check=True, capture_output=True, text=True)
    found = re.search(r"pid=(\d+)", said.stdout + said.stderr)
    assert found is not None
    return int(found[1])


async def test_a_connection_left_behind_is_made_anew(hosts: Hosts, runtime: Path) -> None:
    remote = shell(hosts)
    assert await output(remote, "hostname") == b"gpu1\n"
    os.kill(await master_of(hosts, runtime), signal.SIGKILL)  # its socket stays
    assert await output(remote, "hostname") == b"gpu1\n"
    assert hosts["gpu1"].handshakes == 2
    os.kill(await master_of(hosts, runtime), signal.SIGKILL)
    assert await output(shell(hosts), "hostname") == b"gpu1\n"
    assert hosts["gpu1"].handshakes == 3


async def test_a_connection_that_hangs_is_made_anew(hosts: Hosts, runtime: Path) -> None:
    remote = shell(hosts)
    assert await output(remote, "hostname") == b"gpu1\n"
    master = await master_of(hosts, runtime)
    os.kill(master, signal.SIGSTOP)
    try:
        with pytest.raises(ConnectionTimedOut, match="within 1 s"):
            await remote.run(["hostname"], timeout=1)
        assert await output(remote, "hostname") == b"gpu1\n"
    finally:
        os.kill(master, signal.SIGCONT)
    assert hosts["gpu1"].handshakes == 2


async def test_the_connection_dies_while_something_runs(hosts: Hosts, runtime: Path) -> None:
    remote = shell(hosts)
    running = asyncio.create_task(remote.run(["sleep", "1000"], timeout=60))
    pipe = await remote.open(["sh", "-c", "echo here; exec sleep 1000"])
    assert await pipe.read(100) == b"here\n"
    stream = remote.stream(["sh", "-c", "echo here; exec sleep 1000"])
    assert await anext(stream) == b"here\n"
    await asyncio.sleep(0.2)
    os.kill(await master_of(hosts, runtime), signal.SIGKILL)
    with pytest.raises(ConnectionLost, match="sleep"):
        await running
    assert await pipe.read(100) == b""
    assert await pipe.wait() == 255
    await pipe.close()
    with pytest.raises(ConnectionLost):
        await anext(stream)
    assert await output(remote, "hostname") == b"gpu1\n"


async def test_a_cut_link_is_noticed_in_bounded_time(hosts: Hosts) -> None:
    remote = shell(hosts)
    assert await output(remote, "hostname") == b"gpu1\n"
    running = asyncio.create_task(remote.run(["sleep", "1000"], timeout=60))
    await asyncio.sleep(0.5)
    hosts["gpu1"].cut()
    begun = time.monotonic()
    with pytest.raises(ConnectionLost):
        await running
    assert time.monotonic() - begun < 20
    begun = time.monotonic()
    with pytest.raises(Unreachable):
        await remote.run(["hostname"])
    assert time.monotonic() - begun < 20
    hosts["gpu1"].mend()
    assert await output(remote, "hostname") == b"gpu1\n"


async def test_a_run_that_gives_up_first_tries_once_anew(hosts: Hosts) -> None:
    remote = shell(hosts, alive_seconds=30)
    assert await output(remote, "hostname") == b"gpu1\n"
    hosts["gpu1"].cut()
    with pytest.raises(ConnectionTimedOut):
        await remote.run(["hostname"], timeout=1)
    hosts["gpu1"].power_off()  # the old connection will never be answered
    hosts["gpu1"].mend()
    hosts["gpu1"].power_on()
    assert await output(remote, "hostname") == b"gpu1\n"
    assert hosts["gpu1"].handshakes == 2
