"""Batches of what queued, bounded, and nobody pays for another's mistake."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import numpy as np
import pytest

from jupyter_aiinfra.serving.batcher import Batcher, Limits, joined, shares
from jupyter_aiinfra.serving.faults import Busy, ModelFault, TooLarge, TooLate
from jupyter_aiinfra.serving.schema import Batch


def x(*values: float) -> Batch:
    return {"x": np.array(values, np.float32)}


class Model:
    """Doubles, remembers the sizes of its batches, and may be held."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.go = threading.Event()
        self.go.set()
        self.begun = threading.Event()

    def __call__(self, batch: Any) -> Batch:
        self.sizes.append(len(batch["x"]))
        self.begun.set()
        assert self.go.wait(10)
        if (batch["x"] < 0).any():
            raise ValueError("negative")
        return {"y": batch["x"] * 2}


async def begun(model: Model) -> None:
    await asyncio.get_running_loop().run_in_executor(None, model.begun.wait, 10)


def value(answer: Any) -> list[float]:
    return list(answer["y"])


class TestInline:
    async def test_what_is_asked_in_one_turn_is_one_batch(self) -> None:
        model = Model()
        batcher = Batcher(model, limits=Limits(), single_seconds=0)
        answers = await asyncio.gather(*(batcher.submit(x(n)) for n in range(5)))
        assert [value(answer) for answer in answers] == [[0], [2], [4], [6], [8]]
        assert model.sizes == [5]
        assert batcher.idle
        batcher.close()

    async def test_no_batch_is_larger_than_allowed_but_a_single_request_may_be(self) -> None:
        model = Model()
        batcher = Batcher(model, limits=Limits(batch=3), single_seconds=0)
        await asyncio.gather(*(batcher.submit(x(*range(rows))) for rows in (1, 2, 2, 5)))
        assert model.sizes == [3, 2, 5]
        batcher.close()

    async def test_different_keys_do_not_share(self) -> None:
        model = Model()
        batcher = Batcher(model, limits=Limits(), single_seconds=0)
        await asyncio.gather(*(batcher.submit(x(1), key=key) for key in "aab"))
        assert model.sizes == [2, 1]
        batcher.close()

    async def test_calls_that_turn_out_long_move_to_the_thread(self) -> None:
        model = Model()
        batcher = Batcher(model, limits=Limits(), single_seconds=0)
        for stays in (True, True, False):
            model.go.clear()
            timer = threading.Timer(0.02, model.go.set)
            timer.start()
            await batcher.submit(x(1))
            timer.join()
            assert batcher.inline == stays
        # The first of them that is not held up by something else on this machine brings it back.
        for _ in range(1000):
            await batcher.submit(x(1))
            if batcher.inline:
                break
        assert batcher.inline
        batcher.close()


class TestInTheThread:
    async def test_a_batch_is_what_came_while_the_last_one_ran(self) -> None:
        model = Model()
        model.go.clear()
        batcher = Batcher(model, limits=Limits(), single_seconds=1)
        first = batcher.submit(x(1))
        await begun(model)
        others = [batcher.submit(x(n)) for n in range(7)]
        model.go.set()
        await asyncio.gather(first, *others)
        assert model.sizes == [1, 7]
        batcher.close()

    async def test_a_client_that_went_is_not_computed(self) -> None:
        model = Model()
        model.go.clear()
        batcher = Batcher(model, limits=Limits(), single_seconds=1)
        first = batcher.submit(x(1))
        await begun(model)
        gone, stays = batcher.submit(x(2)), batcher.submit(x(3))
        gone.cancel()
        model.go.set()
        await asyncio.gather(first, stays)
        assert model.sizes == [1, 1]
        assert batcher.queued_rows == 0
        batcher.close()

    async def test_a_full_queue_refuses_and_says_when(self) -> None:
        model = Model()
        model.go.clear()
        batcher = Batcher(model, limits=Limits(queue=2), single_seconds=1)
        first = batcher.submit(x(1))
        await begun(model)
        waiting = batcher.submit(x(1, 2))
        with pytest.raises(Busy) as refused:
            batcher.submit(x(1))
        assert refused.value.retry_after_seconds == 2
        with pytest.raises(TooLarge, match="3 examples; at most 2"):
            batcher.submit(x(1, 2, 3))
        model.go.set()
        await asyncio.gather(first, waiting)
        batcher.close()

    async def test_time_runs_out_for_what_runs_and_what_waits(self) -> None:
        model = Model()
        model.go.clear()
        batcher = Batcher(model, limits=Limits(seconds=0.05), single_seconds=1)
        first = batcher.submit(x(1))
        await begun(model)
        second = batcher.submit(x(1))
        for late in (first, second):
            with pytest.raises(TooLate, match=r"within 0\.05 s"):
                await late
        model.go.set()
        await batcher.drained()
        assert model.sizes == [1], "nobody waits for the second any more"
        batcher.close()

    async def test_draining_waits_for_all(self) -> None:
        model = Model()
        model.go.clear()
        batcher = Batcher(model, limits=Limits(), single_seconds=1)
        answers = [batcher.submit(x(n)) for n in range(3)]
        drained = asyncio.ensure_future(batcher.drained())
        await begun(model)
        assert not drained.done()
        model.go.set()
        await drained
        assert all(answer.done() for answer in answers)
        batcher.close()
        batcher.close()


class TestFaults:
    @pytest.mark.parametrize("single_seconds", [0, 1])
    async def test_one_bad_request_fails_alone(self, single_seconds: float) -> None:
        model = Model()
        batcher = Batcher(model, limits=Limits(), single_seconds=single_seconds)
        asked = [batcher.submit(x(n)) for n in (1, -1, 2)]
        good, bad, other = await asyncio.gather(*asked, return_exceptions=True)
        assert (value(good), value(other)) == ([2], [4])
        assert isinstance(bad, ModelFault)
        assert str(bad) == "the model failed: ValueError"
        batcher.close()

    @pytest.mark.parametrize("answer", [{"y": np.zeros(3)}, [1, 2, 3]])
    async def test_a_model_that_returns_too_much_is_told_of(self, answer: Batch) -> None:
        batcher = Batcher(lambda batch: answer, limits=Limits(), single_seconds=0)
        with pytest.raises(ModelFault, match=r"3\}? examples"):
            await batcher.submit(x(1))
        batcher.close()


def test_batches_are_joined_and_cut_again() -> None:
    whole = joined([[1, 2], [3]])
    assert whole == [1, 2, 3]
    assert shares(whole, [2, 1]) == [[1, 2], [3]]
    parts = shares(joined([x(1), x(2, 3)]), [1, 2])
    assert [list(part["x"]) for part in parts] == [[1], [2, 3]]  # type: ignore[call-overload]
