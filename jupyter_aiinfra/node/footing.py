"""Whether a node can hold jobs: room to write, and processes that outlive the login.

One file, standard library only, Python 3.8 or newer.
"""

from __future__ import annotations

import contextlib
import glob
import os
import pwd
import re
import tempfile
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING or __package__:
    from jupyter_aiinfra.node import transfer
    from jupyter_aiinfra.node.channel import Call
else:  # its neighbours in the payload
    import transfer
    from channel import Call

__all__ = ["footing", "kills_user_processes"]

_PROBE_BYTES = 4096
_SETTING = re.compile(r"^\s*KillUserProcesses\s*=\s*(\S+)", re.MULTILINE | re.IGNORECASE)


def footing(call: Call) -> dict[str, Any]:
    """Try to write below ``folder``, and read how the node treats who has logged out.

    ``unwritable`` says why nothing can be written there; ``kills`` whether processes end with the
    login that started them (``null``: nothing here does that), ``lingers`` whether this user is
    excepted.
    """
    folder = transfer.place_of(call.argument("folder", str))
    kills = kills_user_processes()
    return {
        "folder": folder,
        "unwritable": _unwritable(folder),
        "kills": kills,
        "lingers": None if kills is None else _lingers(),
    }


def _unwritable(folder: str) -> str | None:
    while not os.path.exists(folder):
        folder = os.path.dirname(folder)
    try:
        with tempfile.NamedTemporaryFile(prefix=".aiinfra-check-", dir=folder) as file:
            file.write(b"\0" * _PROBE_BYTES)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return f"{folder}: {error.strerror}"
    return None


def kills_user_processes(root: str = "/") -> bool | None:
    """Return whether systemd-logind ends what a login has left; ``None`` where there is none."""
    if not os.path.isdir(os.path.join(root, "run/systemd/seats")):
        return None
    files = [os.path.join(root, "etc/systemd/logind.conf")]
    parts: dict[str, str] = {}
    # A name in /etc takes the place of the same name in /run, and that one of /usr/lib.
    for place in ("usr/lib/systemd", "run/systemd", "etc/systemd"):
        for path in glob.glob(os.path.join(root, place, "logind.conf.d", "*.conf")):
            parts[os.path.basename(path)] = path
    found = False
    for path in files + [parts[name] for name in sorted(parts)]:
        with contextlib.suppress(OSError), open(path, encoding="utf-8", errors="replace") as file:
            for word in _SETTING.findall(file.read()):
                found = word.lower() in {"yes", "true", "on", "1"}
    return found


def _lingers() -> bool:
    user = pwd.getpwuid(os.getuid()).pw_name
    return os.path.exists(os.path.join("/var/lib/systemd/linger", user))
