from __future__ import annotations

import pytest

from jupyter_aiinfra.errors import PoolError
from jupyter_aiinfra.pools.base import RankStacks
from jupyter_aiinfra.pools.stacks import stacks_from_answer
from jupyter_aiinfra.shell import Completed


def test_each_line_is_a_rank() -> None:
    text = (
        b'{"rank": 0, "how": "py-spy", "problem": null}\n'
        b'{"rank": 1, "how": null, "problem": "no py-spy"}\n'
    )
    assert stacks_from_answer(Completed(argv=(), status=0, stdout=text, stderr=b"")) == (
        RankStacks(rank=0, how="py-spy"),
        RankStacks(rank=1, problem="no py-spy"),
    )


@pytest.mark.parametrize(
    ("stderr", "said"), [(b"Traceback\nOSError: gone\n", "OSError: gone"), (b"", "no answer")]
)
def test_a_failure_says_why(stderr: bytes, said: str) -> None:
    with pytest.raises(PoolError, match=said):
        stacks_from_answer(Completed(argv=(), status=1, stdout=b"", stderr=stderr))
