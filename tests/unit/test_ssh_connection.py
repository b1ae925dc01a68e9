from __future__ import annotations

import stat
from pathlib import Path

import pytest

from jupyter_aiinfra.errors import (
    AuthenticationFailed,
    ConnectionLost,
    ConnectionRefused,
    ConnectionTimedOut,
    HostKeyChanged,
    LoginNeeded,
    MissingProgram,
    NameNotResolved,
    NoRoute,
    PoolError,
    Unreachable,
)
from jupyter_aiinfra.settings import Settings
from jupyter_aiinfra.ssh import client, hostkeys
from jupyter_aiinfra.ssh.client import SshOptions, runtime_folder
from jupyter_aiinfra.ssh.connection import SshShell, remote_command
from jupyter_aiinfra.ssh.diagnosis import Attempt, diagnose
from jupyter_aiinfra.ssh.hosts import HostSpec
from jupyter_aiinfra.testing import FakeShell, Reply

CHANGED = """\
@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@
@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @
@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@
IT IS POSSIBLE THAT SOMEONE IS DOING SOMETHING NASTY!
The fingerprint for the ED25519 key sent by the remote host is
SHA256:gLn3mybNwehQ5hXFDY9cg1E7LZLcNxE/X9j0yUMpVk0.
Add correct host key in /home/me/.ssh/known_hosts to get rid of this message.
Offending ED25519 key in /home/me/.ssh/known_hosts:12
  remove with:
  ssh-keygen -f "/home/me/.ssh/known_hosts" -R "10.0.0.1"
Host key for 10.0.0.1 has changed and you have requested strict checking.
Host key verification failed.
"""


# What OpenSSH 9.2 (and, where it differs, macOS) says, and what it means.
@pytest.mark.parametrize(
    ("said", "kind", "words"),
    [
        (
            "ssh: Could not resolve hostname gpu1.lab: Name or service not known\r\n",
            NameNotResolved,
            "gpu1.lab",
        ),
        (
            "ssh: Could not resolve hostname gpu1: nodename nor servname provided, or not known",
            NameNotResolved,
            "gpu1",
        ),
        ("ssh: connect to host 10.0.0.1 port 22: Connection refused", ConnectionRefused, "port 22"),
        ("ssh: connect to host ::1 port 2222: Connection refused", ConnectionRefused, "port 2222"),
        ("ssh: connect to host 10.0.0.1 port 22: Connection timed out", ConnectionTimedOut, ""),
        ("ssh: connect to host 10.0.0.1 port 22: Operation timed out", ConnectionTimedOut, ""),
        ("Connection timed out during banner exchange\n", ConnectionTimedOut, "gpu1"),
        ("ssh: connect to host 10.0.0.1 port 22: No route to host", NoRoute, "no route to host"),
        ("ssh: connect to host 10.0.0.1 port 22: Network is unreachable", NoRoute, "unreachable"),
        ("root@10.0.0.1: Permission denied (publickey).", AuthenticationFailed, "root@10.0.0.1"),
        ("me@10.0.0.1: Permission denied (publickey,password).", AuthenticationFailed, "password"),
        ("me@10.0.0.1: Permission denied (keyboard-interactive).", LoginNeeded, "keyboard"),
        ("me@10.0.0.1: Permission denied (password).", LoginNeeded, "password"),
        ("me@10.0.0.1: Permission denied ().", AuthenticationFailed, "accepts nothing"),
        (
            (
                "Received disconnect from 10.0.0.1 port 22:2: Too many authentication failures\n"
                "Disconnected from 10.0.0.1 port 22\n"
            ),
            AuthenticationFailed,
            "too many keys",
        ),
        (CHANGED, HostKeyChanged, "known_hosts, line 12. It shows SHA256:gLn3mybN"),
        ("WARNING: REVOKED HOST KEY DETECTED!", HostKeyChanged, "revoked"),
        ("Host key verification failed.\r\n", PoolError, "on the way to gpu1"),
        (
            (
                "Unable to negotiate with 10.0.0.1 port 22: no matching host key type found. Their"
                " offer: ssh-rsa"
            ),
            PoolError,
            "ssh-rsa",
        ),
        (
            "kex_exchange_identification: banner line contains invalid characters",
            PoolError,
            "not an ssh server",
        ),
        (
            (
                "kex_exchange_identification: Connection closed by remote host\n"
                "Connection closed by 10.0.0.1 port 22\n"
            ),
            Unreachable,
            "before anybody was let in",
        ),
        ("Connection reset by 10.0.0.1 port 22", Unreachable, "reset"),
        ("Timeout, server 10.0.0.1 not responding.", ConnectionLost, "not responding"),
        ("client_loop: send disconnect: Broken pipe", ConnectionLost, "broke"),
        ("unix_listener: cannot bind to path /run/x: No space left", PoolError, "shared"),
        ("something new\n", PoolError, "something new"),
        ("  \n", ConnectionLost, "did not say why"),
    ],
)
def test_what_ssh_says_is_a_kind_of_error(said: str, kind: type[PoolError], words: str) -> None:
    login = "ssh -M -N -f -- gpu1"
    error = diagnose(Attempt(host="gpu1", said=said, login=login, keys=["~/.ssh/id_ed25519"]))
    assert type(error) is kind
    assert "gpu1" in error.message
    assert words in error.message
    assert error.hint
    if kind is LoginNeeded or "password" in said:
        assert login in error.hint
    if "publickey" in said:
        assert "~/.ssh/id_ed25519" in error.hint


def test_a_key_that_others_can_read_is_said() -> None:
    said = 'Load key "/home/me/.ssh/id": bad permissions\nme@gpu1: Permission denied (publickey).'
    error = diagnose(Attempt(host="gpu1", said=said, login="ssh gpu1"))
    assert "chmod 600" in error.hint


def test_a_command_is_quoted_once_and_for_all_shells() -> None:
    assert remote_command(["ls", "-l", "/tmp"], mark="M:") == (
        'exec /bin/sh -c \'eval "$(printf "printf %%s M:; printf %%s M: >&2; exec ls -l /tmp")"\''
    )
    line = remote_command(["echo", "it's $HOME!\n", "ü"], mark="M:")
    assert line.endswith(
        r"exec echo \047it\047\042\047\042\047s \044HOME\041\012\047 \047\303\274\047" + '")"\''
    )
    assert line.count("'") == 2


CONFIGURATION = (
    b"hostname 10.0.0.1\nport 22\nuser me\nidentityfile ~/.ssh/id\ncontrolmaster false\n"
    b"knownhostscommand /bin/known\n"  # which may know any host
)
WATCHING = [
    *("-o", "ConnectTimeout=10", "-o", "ServerAliveInterval=5", "-o", "ServerAliveCountMax=3"),
    *("-o", "ClearAllForwardings=yes", "-o", "RemoteCommand=none", "-o", "PermitLocalCommand=no"),
    *("-o", "StrictHostKeyChecking=yes"),
]


@pytest.fixture(autouse=True)
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(client, "runtime_folder", lambda: tmp_path)
    return tmp_path


async def test_the_argv_of_a_first_run(runtime: Path) -> None:
    host = HostSpec(name="gpu1", user="me", port=2222)
    begin = ["ssh", "-F", "/etc/my config", "-l", "me", "-p", "2222"]
    quiet = [*begin, "-o", "BatchMode=yes"]
    probe = SshShell(
        host,
        options=SshOptions(config=Path("/etc/my config")),
        shell=FakeShell([Reply(argv=(*quiet, "-G", "--", "gpu1"), stdout=CONFIGURATION)]),
    )
    path = await probe._client.control_path()
    assert (path.parent, len(path.name)) == (runtime, 16)
    share = ["-o", "ControlMaster=auto", "-o", f"ControlPath={path}", "-o", "ControlPersist=600"]
    run = [*begin, "-T", "-o", "BatchMode=yes", *share, *WATCHING, "-o", "LogLevel=ERROR"]
    connect = (*quiet, "-T", "-N", "-f", *share, *WATCHING, "-o", "LogLevel=INFO")
    line = remote_command(["hostname"], mark="M:")
    shell = FakeShell(
        [
            Reply(argv=(*quiet, "-G", "--", "gpu1"), stdout=CONFIGURATION),
            Reply(argv=(*quiet, "-Ocheck", *share, "--", "gpu1"), status=255),
            Reply(argv=(*connect, "--", "gpu1")),
            Reply(argv=(*run, "--", "gpu1", line), stdout=b"noise\nM:gpu1\n", stderr=b"warnM:err"),
            Reply(argv=(*run, "--", "gpu1", line), stdout=b"M:gpu1\n"),
        ]
    )
    remote = SshShell(host, options=probe._client.options, shell=shell, mark="M:")
    done = await remote.run(["hostname"])
    assert (done.argv, done.stdout, done.stderr) == (("hostname",), b"gpu1\n", b"err")
    assert (await remote.run(["hostname"])).stdout == b"gpu1\n"
    shell.finish()


async def test_the_users_own_connection_keeps_its_options() -> None:
    own = b"controlpath /run/me/%C\ncontrolpersist 60\n"
    quiet = ("ssh", "-o", "BatchMode=yes")
    shell = FakeShell(
        [
            Reply(argv=(*quiet, "-G", "--", "gpu1"), stdout=CONFIGURATION + own),
            Reply(argv=(*quiet, "-Ocheck", "-o", "ControlMaster=auto", "--", "gpu1")),
        ]
    )
    await SshShell(HostSpec(name="gpu1"), shell=shell).ensure_master()
    shell.finish()


async def test_no_ssh_on_this_machine() -> None:
    missing = Unreachable("cannot start ssh: No such file or directory")
    missing.__cause__ = FileNotFoundError()
    argv = ("ssh", "-o", "BatchMode=yes", "-G", "--", "gpu1")
    shell = FakeShell([Reply(argv=argv, error=missing)])
    with pytest.raises(MissingProgram, match="no ssh client 'ssh'") as caught:
        await SshShell(HostSpec(name="gpu1"), shell=shell).run(["true"])
    assert "JUPYTER_AIINFRA_SSH_PROGRAM" in caught.value.hint


def test_options_are_the_users_settings(tmp_path: Path) -> None:
    settings = Settings(
        home=tmp_path, ssh_program="/opt/ssh", ssh_config=tmp_path, ssh_persist_seconds=5
    )
    assert SshOptions.of(settings) == SshOptions(
        program="/opt/ssh", config=tmp_path, persist_seconds=5
    )


def test_connections_lie_in_a_private_folder(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "_FOLDER_CHARACTERS", 400)  # pytest's own folders are deep
    base = tmp_path_factory.mktemp("run")
    folder = runtime_folder({"XDG_RUNTIME_DIR": str(base)})
    assert folder == base / "jupyter-aiinfra"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert runtime_folder({"XDG_RUNTIME_DIR": str(base)}) == folder
    folder.chmod(0o750)
    with pytest.raises(PoolError, match="yours alone"):
        runtime_folder({"XDG_RUNTIME_DIR": str(base)})
    folder.rmdir()
    folder.symlink_to(tmp_path_factory.mktemp("other"))
    with pytest.raises(PoolError, match="yours alone"):
        runtime_folder({"XDG_RUNTIME_DIR": str(base)})


async def test_only_a_host_in_no_file_is_surely_unknown(tmp_path: Path) -> None:
    files = [tmp_path / "user", tmp_path / "system"]
    meant = f"hostname Gpu1.lab\nuserknownhostsfile {files[0]}\n"
    meant += f"globalknownhostsfile {files[1]} /no\n"
    argv = ("ssh", "-o", "BatchMode=yes", "-G", "--", "gpu1")

    async def unknown(more: str = "") -> bool:
        shell = FakeShell([Reply(argv=argv, stdout=(more + meant).encode())])
        ssh = client.SshClient(HostSpec(name="gpu1"), options=SshOptions(), shell=shell)
        return await hostkeys.surely_unknown(ssh)

    assert await unknown()
    assert not await unknown("knownhostscommand /bin/known\n")
    assert not await unknown("verifyhostkeydns true\n")
    for line in ("gpu1.lab", hostkeys._hashed("gpu1.lab"), "@cert-authority *.lab", "a,gpu1.lab"):
        files[1].write_text(f"# mine\nother ssh-ed25519 AAAA\n{line} ssh-ed25519 AAAA\n")
        assert not await unknown("port 22\n")
    files[1].write_text("gpu1.lab ssh-ed25519 AAAA\n[other]:2222 ssh-ed25519 AAAA\n")
    assert await unknown("port 2222\n")
    assert await unknown("hostkeyalias gpu\n")
    files[0].write_text("[gpu1.lab]:2222 ssh-ed25519 AAAA\ngpu ssh-ed25519 AAAA\n")
    assert not await unknown("port 2222\n")
    assert not await unknown("hostkeyalias gpu\n")


def test_a_hashed_entry_is_recognised() -> None:
    name = hostkeys._hashed("[gpu1]:2222")
    assert hostkeys._is_for(name, "[gpu1]:2222")
    assert not hostkeys._is_for(name, "gpu1")
    assert not hostkeys._is_for("|1|not base64|x", "gpu1")
    assert hostkeys._is_for("gpu1,10.0.0.1", "10.0.0.1")
