"""Real machines as far as ssh can tell: a namespace each, with its own sshd, home and network.

    with open_hosts(tmp_path, names=("gpu1", "gpu2")) as hosts:
        hosts.config                        # an ssh configuration file, for `ssh -F`
        hosts["gpu1"].cut()                 # the notebook no longer reaches it
        hosts["gpu1"].cut_from(hosts["gpu2"])
        hosts["gpu2"].power_off()

A host has a hostname, processes, /tmp, /run, /dev/shm, a boot id and a home folder of its own, and
otherwise the machine's files. What lies below the machine's /tmp is not seen there, except the home
folder (by the same path as outside) and the Python that runs the tests.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tests.support.network import HERE, Network, command, open_network, program

__all__ = ["Host", "Hosts", "open_hosts"]

_PORT = 22
_READY_SECONDS = 60.0
_REPOSITORY = Path(__file__).resolve().parents[2]
# MaxStartups and MaxSessions: the defaults make a burst of connections fail by chance.
_SSHD_CONFIG = """\
Port {port}
ListenAddress {address}
HostKey {folder}/etc/host_key
AuthorizedKeysFile {folder}/etc/authorized_keys
PidFile none
LogLevel VERBOSE
PermitRootLogin yes
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitUserEnvironment yes
StrictModes no
UsePAM no
UseDNS no
MaxStartups 100:30:200
MaxSessions 64
Subsystem sftp internal-sftp
"""


class Host:
    """One machine; made by :func:`open_hosts`."""

    def __init__(self, name: str, number: int, folder: Path, network: Network) -> None:
        self.name = name
        self.port = _PORT
        self.folder = folder
        self._number = number
        self._network = network
        self._namespace = network.add(name, number)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """Its address, from the notebook and from the other hosts alike."""
        return self._network.address(self._number)

    @property
    def home(self) -> Path:
        """Its user's home folder, by the path that holds both outside and on the host."""
        return self.folder / "home"

    @property
    def tmp(self) -> Path:
        """What the host calls /tmp, as seen from outside."""
        return self.folder / "tmp"

    @property
    def log(self) -> str:
        """What its sshd has logged, at level VERBOSE, over all its boots."""
        path = self.folder / "sshd.log"
        return path.read_text() if path.exists() else ""

    @property
    def handshakes(self) -> int:
        """How many connections were opened and authenticated, over all its boots."""
        return self.log.count("Accepted publickey for")

    @property
    def public_key(self) -> str:
        """Its host key as ``type base64``."""
        return " ".join((self.folder / "etc/host_key.pub").read_text().split()[:2])

    # --- links -------------------------------------------------------------------------------

    def cut(self) -> None:
        """Cut it off from the notebook, silently; hosts still see each other."""
        self._network.cut(HERE, self._number)

    def isolate(self) -> None:
        """Pull its cable: it is cut off from everything, and sees that its link is down."""
        self._network.unplug(self._number)

    def mend(self) -> None:
        """Undo :meth:`cut` and :meth:`isolate`."""
        self._network.mend(HERE, self._number)
        self._network.plug(self._number)

    def cut_from(self, other: Host) -> None:
        """Cut it off from another host, silently; the notebook still reaches both."""
        self._network.cut(self._number, other._number)

    def mend_from(self, other: Host) -> None:
        """Undo :meth:`cut_from`."""
        self._network.mend(self._number, other._number)

    def slow(self, *, delay_ms: float, loss: float = 0.0) -> None:
        """Delay all that comes and goes, and lose that share of the packets (0 to 1)."""
        self._network.slow(self._number, delay_seconds=delay_ms / 1000, loss=loss)

    def fast(self) -> None:
        """Undo :meth:`slow`."""
        self._network.fast(self._number)

    # --- power -------------------------------------------------------------------------------

    def power_on(self) -> None:
        """Boot it, with the files it had but an empty /tmp, and wait for its sshd."""
        assert self._process is None, f"{self.name} is on"
        self._network.plug(self._number)
        (self.folder / "etc/boot_id").write_text(f"{uuid.uuid4()}\n")
        argv = [program("ip"), "netns", "exec", self._namespace]
        argv += [program("unshare"), "--uts", "--mount", "--pid", "--ipc"]
        argv += ["--fork", "--kill-child", "--mount-proc", "/bin/sh", "-ec", self._boot_script()]
        with (self.folder / "console.log").open("ab") as console:
            self._process = subprocess.Popen(
                argv,
                cwd="/",
                env={"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                start_new_session=True,
            )
        self._wait_until_up()

    def power_off(self) -> None:
        """Pull its plug: everything on it dies at once, and nobody is told."""
        if self._process is None:
            return
        self._network.unplug(self._number)
        self.end()
        assert not self.pids(), f"{self.name} is off, but {self.pids()} live"

    def end(self) -> None:
        """Kill everything on it, links as they are; for the end of a test."""
        process, self._process = self._process, None
        if process is None:
            return
        # The death of process 1 is that of all others on it. Its parent waits for it, and ends.
        with contextlib.suppress(RuntimeError, ProcessLookupError):
            os.kill(self._first(), signal.SIGKILL)
        try:
            process.wait(_READY_SECONDS)
        finally:
            process.kill()
            process.wait()

    def _boot_script(self) -> str:
        folder = self.folder
        empty = {folder / "tmp": Path("/tmp"), folder / "run": Path("/run")}
        temporary = Path(tempfile.gettempdir())
        if not temporary.is_relative_to("/tmp"):
            empty[folder / "tmp"] = temporary
        lines = [f"hostname {shlex.quote(self.name)}", *_mounts_of_files(folder)]
        for inside, outside in empty.items():
            _clear(inside)
            for kept in _kept(folder):
                if kept.is_relative_to(outside):
                    place = inside / kept.relative_to(outside)
                    place.mkdir(parents=True, exist_ok=True)
                    lines.append(_bind(kept, place))
        (folder / "run/sshd").mkdir(mode=0o755)
        (folder / "tmp").chmod(0o1777)
        lines.append("mount -t tmpfs none /dev/shm")
        lines += [
            f"mount --rbind {shlex.quote(str(a))} {shlex.quote(str(b))}" for a, b in empty.items()
        ]
        sshd = [
            program("sshd"),
            "-D",
            "-f",
            f"{folder}/etc/sshd_config",
            "-E",
            f"{folder}/sshd.log",
        ]
        return "\n".join([*lines, f"cd /; exec {shlex.join(sshd)}"])

    def _wait_until_up(self) -> None:
        deadline = time.monotonic() + _READY_SECONDS
        while not self._greets():
            alive = self._process is not None and self._process.poll() is None
            if not alive or time.monotonic() > deadline:
                console = (self.folder / "console.log").read_text()
                raise RuntimeError(f"{self.name} did not come up:\n{console}\n{self.log}")
            time.sleep(0.01)

    def _greets(self) -> bool:
        try:
            with socket.create_connection((self.address, self.port), timeout=1.0) as connection:
                return connection.recv(4) == b"SSH-"
        except OSError:
            return False

    # --- what is on it -----------------------------------------------------------------------

    def pids(self) -> list[int]:
        """Return its processes, numbered as outside: for `os.kill`."""
        return self._network.pids(self._number)

    def tagged(self, value: str | None = None, *, name: str = "AIINFRA_JOB") -> list[int]:
        """Return its processes (as in :meth:`pids`) that have this environment variable."""
        found = []
        for pid in self.pids():
            with contextlib.suppress(OSError):
                environ = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
                tags = [entry for entry in environ if entry.startswith(f"{name}=".encode())]
                if tags and value in {None, tags[0].decode().partition("=")[2]}:
                    found.append(pid)
        return found

    def run(self, argv: Sequence[str], *, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """Run a program on it without ssh, in its home folder; for checks."""
        enter = [program("nsenter"), "--target", str(self._first()), f"--wd={self.home}"]
        enter += ["--mount", "--uts", "--ipc", "--net", "--pid", "--"]
        env = {"PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "HOME": str(self.home)}
        return subprocess.run(
            [*enter, *argv], input=stdin, env=env, capture_output=True, check=False
        )

    def _first(self) -> int:
        """Return the number that its process 1 has outside."""
        for pid in self.pids():
            with contextlib.suppress(OSError):
                for line in Path(f"/proc/{pid}/status").read_text().splitlines():
                    if line.startswith("NSpid:") and line.split()[-1] == "1":
                        return pid
        raise RuntimeError(f"{self.name} is off")

    # --- its set-up --------------------------------------------------------------------------

    def configure(self, *lines: str) -> None:
        """Put lines before sshd's configuration (the first of two wins), for what connects now.

        They replace those of an earlier call.
        """
        self._write_sshd_config(lines)
        self._reload()

    def _write_sshd_config(self, lines: Sequence[str] = ()) -> None:
        text = _SSHD_CONFIG.format(port=self.port, address=self.address, folder=self.folder)
        path = self.folder / "etc/sshd_config"
        path.write_text("".join(f"{line}\n" for line in lines) + text)

    def set_shell(self, shell: str) -> None:
        """Change the login shell of its user."""
        _write_passwd(self.folder, home=self.home, shell=shell)

    def renew_host_key(self) -> None:
        """Give it another host key, as an impostor or a new installation has."""
        _make_key(self.folder / "etc/host_key")
        self._reload()

    def _reload(self) -> None:
        before = self.log.count("Server listening on")
        os.kill(self._first(), signal.SIGHUP)
        deadline = time.monotonic() + _READY_SECONDS
        while self.log.count("Server listening on") == before:
            assert time.monotonic() < deadline, f"sshd of {self.name} did not reload:\n{self.log}"
            time.sleep(0.01)

    def prepare(self, *, authorized: str, hosts_file: str, shell: str) -> None:
        """Write the files it boots with."""
        for name in ("home", "etc", "tmp", "run"):
            (self.folder / name).mkdir(mode=0o700, parents=True)
        etc = self.folder / "etc"
        _make_key(etc / "host_key")
        (etc / "authorized_keys").write_text(authorized)
        (etc / "hosts").write_text(hosts_file)
        (etc / "resolv.conf").write_text("")
        _write_passwd(self.folder, home=self.home, shell=shell)
        (self.home / ".bashrc").write_text("")
        self._write_sshd_config()


class Hosts(Mapping[str, Host]):
    """The hosts of one network, and what a client needs to reach them."""

    def __init__(self, root: Path, network: Network, names: Sequence[str]) -> None:
        self.root = root
        self.network = network
        #: The file with all host keys; what a test sets here, the next `write_config` names.
        self.known_hosts = root / "known_hosts"
        self._hosts = {
            name: Host(name, number, root / name, network)
            for number, name in enumerate(names, start=1)
        }

    def __getitem__(self, name: str) -> Host:
        return self._hosts[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._hosts)

    def __len__(self) -> int:
        return len(self._hosts)

    @property
    def config(self) -> Path:
        """The ssh configuration that knows all hosts by name: for ``ssh -F``."""
        return self.root / "ssh_config"

    @property
    def key(self) -> Path:
        """The private key that every host lets in."""
        return self.root / "id"

    @property
    def address(self) -> str:
        """The address of the side that the tests run on."""
        return self.network.address(HERE)

    def ssh(self, name: str, *argv: str) -> subprocess.CompletedProcess[bytes]:
        """Run a command line on a host with ssh itself; for checks."""
        program_argv = [program("ssh"), "-F", str(self.config), "-o", "BatchMode=yes", name, *argv]
        return subprocess.run(
            program_argv, stdin=subprocess.DEVNULL, capture_output=True, check=False
        )

    def learn_keys(self) -> None:
        """Write `known_hosts` as somebody has it who knows all hosts as they are now."""
        lines = [f"{host.address} {host.public_key}\n" for host in self.values()]
        self.known_hosts.write_text("".join(lines))

    def write_config(self, *, extra: str = "", per_host: Mapping[str, str] | None = None) -> None:
        """Write `config`; `extra` goes first, for all hosts, `per_host` first in a host's own."""
        text = extra
        for host in self.values():
            own = (per_host or {}).get(host.name, "")
            text += f"Host {host.name}\n{own}"
            text += f"  HostName {host.address}\n  Port {host.port}\n  User root\n"
        text += f"Host *\n  IdentityFile {self.key}\n  IdentitiesOnly yes\n  IdentityAgent none\n"
        text += f"  UserKnownHostsFile {self.known_hosts}\n  GlobalKnownHostsFile /dev/null\n"
        self.config.write_text(text)
        self.config.chmod(0o600)

    def boot(self, *, shell: str) -> None:
        """Write all files and power all hosts on."""
        _make_key(self.key)
        public = self.key.with_suffix(".pub").read_text()
        lines = ["127.0.0.1 localhost\n", f"{self.address} notebook\n"]
        lines += [f"{host.address} {host.name}\n" for host in self.values()]
        for host in self.values():
            host.prepare(authorized=public, hosts_file="".join(lines), shell=shell)
        self.learn_keys()
        self.write_config()
        for host in self.values():
            host.power_on()


@contextlib.contextmanager
def open_hosts(
    root: Path, names: Sequence[str] = ("gpu1", "gpu2"), *, shell: str = "/bin/bash"
) -> Iterator[Hosts]:
    """Run hosts for the length of the block; their files stay below `root`, nothing else does.

    Needs root, and the programs that ``make system`` installs. At the end every process of the
    hosts is killed, and every process here that still holds a connection to one.
    """
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    with open_network() as network:
        hosts = Hosts(root.resolve(), network, names)
        try:
            hosts.boot(shell=shell)
            yield hosts
        finally:
            # With the links standing, so that whoever is connected is told.
            network.heal()
            for host in hosts.values():
                host.end()


def _kept(folder: Path) -> list[Path]:
    """Return what a host sees of the machine's own temporary folder."""
    places = [folder, _REPOSITORY, Path(sys.prefix), Path(sys.base_prefix)]
    return [place.resolve() for place in places]


def _mounts_of_files(folder: Path) -> list[str]:
    places = [f"/etc/{name}" for name in ("hosts", "resolv.conf", "passwd")]
    binds = [(folder / "etc" / Path(place).name, Path(place)) for place in places]
    binds.append((folder / "etc/boot_id", Path("/proc/sys/kernel/random/boot_id")))
    return [_bind(source, place) for source, place in binds if place.exists()]


def _bind(source: Path, place: Path) -> str:
    return f"mount --bind {shlex.quote(str(source))} {shlex.quote(str(place))}"


def _clear(folder: Path) -> None:
    # A host's own mounts ended with it: these are plain files.
    command("rm", "-rf", str(folder))
    folder.mkdir(mode=0o755)


def _make_key(path: Path) -> None:
    path.unlink(missing_ok=True)
    command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", path.name, "-f", str(path))


def _write_passwd(folder: Path, *, home: Path, shell: str) -> None:
    lines = []
    for line in Path("/etc/passwd").read_text().splitlines():
        fields = line.split(":")
        if fields[2:3] == ["0"]:
            fields[5:7] = [str(home), shell]
        lines.append(":".join(fields))
    # In place: the file is mounted on the host, and a renamed one would not be.
    (folder / "etc/passwd").write_text("\n".join(lines) + "\n")
