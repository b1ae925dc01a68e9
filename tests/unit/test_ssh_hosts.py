from __future__ import annotations

from pathlib import Path

import pytest

from jupyter_aiinfra.errors import UsageError
from jupyter_aiinfra.ssh.hosts import HostSpec, hosts_from, parse_hosts


def test_a_list_of_hosts() -> None:
    text = "gpu1,me@gpu2.lab, user@gpu3:2222,[fd00::3],root@[fe80::1%eth0]:22,10.0.0.7:22"
    hosts = parse_hosts(text)
    assert hosts == (
        HostSpec(name="gpu1"),
        HostSpec(name="gpu2.lab", user="me"),
        HostSpec(name="gpu3", user="user", port=2222),
        HostSpec(name="fd00::3"),
        HostSpec(name="fe80::1%eth0", user="root", port=22),
        HostSpec(name="10.0.0.7", port=22),
    )
    assert parse_hosts(",".join(map(str, hosts))) == hosts


def test_a_user_of_a_domain() -> None:
    assert parse_hosts("LAB\\me@gpu1,me@lab.org@gpu2") == (
        HostSpec(name="gpu1", user="LAB\\me"),
        HostSpec(name="gpu2", user="me@lab.org"),
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "  ",
        ",",
        "gpu1,",
        "gpu1,gpu1",
        "gpu1:22,me@gpu1:22",
        "-oProxyCommand=evil",
        "me@-oProxyCommand=evil",
        "-l@gpu1",
        "@gpu1",
        "gpu 1",
        "gpu1\n",
        "gpu1\tx",
        "gpu1\x00",
        "gpu1\x1b[2J",
        "gpu$(id)",
        "gpu`id`",
        "gpu;id",
        "gpu|id",
        "'gpu1'",
        "gpu*",
        "a b@gpu1",
        "gpu1:",
        "gpu1:0",
        "gpu1:65536",
        "gpu1:ssh",
        "gpu1:-1",
        "gpu1:٢٢",
        "::1",
        "fd00::3:22",
        "[gpu1]",
        "[fd00::3",
        "[]",
        "[fd00::3]22",
    ],
)
def test_what_is_no_host_is_named(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_hosts(text)
    named = [part.strip(" ") for part in text.split(",") if part.strip(" ")]
    assert not named or any(repr(part)[1:-1] in caught.value.message for part in named)


def test_hosts_of_a_configuration_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    folder = tmp_path / ".ssh"
    (folder / "more").mkdir(parents=True)
    (folder / "more/a.conf").write_text("Host gpu7 gpu7.lab\n  User me\n")
    (folder / "more/b.conf").write_text("host=cpu1\nHost gpu1\n")
    (folder / "only").write_text("Host gpu99\n")
    (folder / "config").write_text(
        "# Host gpu0\n"
        "Include more/*.conf\n"
        "Include missing\n"
        'Host gpu1 "gpu2" *.lab !gpu3 # gpu4\n'
        "  HostName 10.0.0.1\n"
        "  Include only\n"
        "\tHOST\tgpu?x gpu5\n"
        "Match host gpu6\n"
        "Host *\n"
        "  Include ~/.ssh/last\n"
    )
    (folder / "last").write_text("Host gpu8\n")

    def names(text: str) -> list[str]:
        return [host.name for host in hosts_from(text)]

    everything = ["gpu7", "gpu7.lab", "cpu1", "gpu1", "gpu2", "gpu5", "gpu8"]
    assert names("~/.ssh/config") == everything
    assert names("~/.ssh/config:") == everything
    assert names("~/.ssh/config:gpu?") == ["gpu7", "gpu1", "gpu2", "gpu5", "gpu8"]
    assert names("~/.ssh/config:gpu*,!*.lab,!gpu1") == ["gpu7", "gpu2", "gpu5", "gpu8"]
    assert names(f"{folder}/config:cpu1") == ["cpu1"]
    with pytest.raises(UsageError, match="tpu") as caught:
        hosts_from("~/.ssh/config:tpu*")
    assert "gpu7" in caught.value.hint


def test_files_that_cannot_serve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    path = tmp_path / "config"
    for text in (f"{path}:gpu*", f"{tmp_path}", ":gpu*", ""):
        with pytest.raises(UsageError, match="not a file"):
            hosts_from(text)
    path.write_text("Host *\n")
    with pytest.raises(UsageError, match="fits") as caught:
        hosts_from(str(path))
    assert caught.value.hint == "it names no hosts"
    path.write_text("Host 'gpu1\n")
    with pytest.raises(UsageError, match="line 1"):
        hosts_from(str(path))
    path.write_text("Host -oProxyCommand=x gpu1\n")
    with pytest.raises(UsageError, match="-oProxyCommand"):
        hosts_from(str(path))
    path.write_text(f"Include {path}\n")
    with pytest.raises(UsageError, match="more than"):
        hosts_from(str(path))
