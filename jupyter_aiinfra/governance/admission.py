"""Which jobs budgets let begin; and the verbs on budgets."""

from __future__ import annotations

import contextlib
import getpass
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import Final

from jupyter_aiinfra.cost.ledger import Ledger
from jupyter_aiinfra.cost.money import Unit, parse_money
from jupyter_aiinfra.errors import BudgetSpent, Conflict, StorageFull, UsageError
from jupyter_aiinfra.governance.budget import (
    Spend,
    covers,
    judge,
    name_of,
    scope_of,
    window_of,
)
from jupyter_aiinfra.model import Budget, Decision, Finding, JobSpec, Severity
from jupyter_aiinfra.store import Store

__all__ = ["BUDGET_CHECK", "Admission"]

_SETTLED_SECONDS: Final = 60.0
BUDGET_CHECK: Final = "budget"
"""What findings of budgets are known by."""


class Admission:
    """What a launch has to pass, and the verbs on budgets."""

    def __init__(
        self, store: Store, ledger: Ledger, *, wall: Callable[[], float] = time.time
    ) -> None:
        self._store = store
        self._ledger = ledger
        self._wall = wall

    # --- launches ------------------------------------------------------------------------------

    def findings(self, spec: JobSpec, *, pool: str) -> tuple[Finding, ...]:
        """Return what budgets have to say of a launch, before it is one."""
        now = self._wall()
        found = []
        price = self._ledger.price(pool)
        for budget in self._covering(spec, pool):
            if price is None or price.rate is None:
                found.append(
                    _warning(
                        f"nobody has said what pool {pool} costs: the budget of {name_of(budget)} "
                        "cannot count this job, and does not stop it",
                        f"%pool price {pool} --price 2.49/gpu-h says it; "
                        "--max-duration 2h stops it anyway",
                    )
                )
            elif price.rate.unit is Unit.GPU and not spec.gpus:
                found.append(
                    _warning(
                        f"the price of pool {pool} is one of GPUs, and this job uses none: the "
                        f"budget of {name_of(budget)} cannot count it, and does not stop it",
                        f"%pool price {pool} --price 0.50/node-h is a price for whole nodes",
                    )
                )
            elif price.rate.money.currency != budget.currency:
                found.append(_warning(*_currencies(budget, pool, price.rate.money.currency)))
            if budget.scope != "job":
                found += self._finding(budget, now)
        return tuple(found)

    def _finding(self, budget: Budget, now: float) -> Sequence[Finding]:
        verdict = judge(budget, self.spend_of(budget, now), now=now)
        if verdict.reach not in ("warned", "spent") or verdict.spent is None:
            return []
        text = f"{verdict.spent.text} of the budget of {name_of(budget)} are spent"
        hint = f"%budget snooze {budget.id} --for 1h"
        if verdict.snoozed or verdict.reach == "warned" or budget.action == "warn":
            return [_warning(text, "")]
        if budget.action == "ask":
            return [_warning(f"{text}: you are asked whether this job may begin", hint)]
        refused = Finding(check=BUDGET_CHECK, severity=Severity.ERROR, message=text, hint=hint)
        return [refused]

    def admit(self, spec: JobSpec, *, pool: str, job_id: str, over_budget: bool = False) -> None:
        """Let a launch pass, or refuse it and write that down.

        Parameters
        ----------
        over_budget
            Somebody was asked, and has said that it may begin.

        Raises
        ------
        BudgetSpent
            A budget that counts it is spent.
        UsageError
            Its own budget is in another currency than the price of its pool.
        """
        now = self._wall()
        for budget in self._covering(spec, pool):
            if budget.scope == "job":
                price = self._ledger.price(pool)
                code = price.rate.money.currency if price and price.rate else budget.currency
                if code != budget.currency:
                    message, hint = _currencies(budget, pool, code)
                    raise UsageError(message, hint=hint, option="--budget")
                continue
            if budget.action == "warn":
                continue
            verdict = judge(budget, self.spend_of(budget, now), now=now)
            if verdict.reach != "spent" or verdict.snoozed or verdict.spent is None:
                continue
            asks = budget.action == "ask"
            text = f"{verdict.spent.text} of the budget of {name_of(budget)} are spent"
            if asks and over_budget:
                self._note(budget, job_id, f"{text}; {_me()} let {spec.name} begin", now)
                continue
            self._note(budget, job_id, f"{text}; {spec.name} was not let begin", now)
            raise BudgetSpent(
                f"{text}: no more jobs may begin that it counts",
                hint=f"%budget snooze {budget.id} --for 1h lets them; %budget show {budget.id}",
                asks=asks,
            )

    def _note(self, budget: Budget, job_id: str, text: str, now: float) -> None:
        begin = f"{budget.id}/{budget.revision}/{window_of(budget, now).name}"
        self._store.decide(
            Decision(
                key=f"{begin}/launch/{job_id}",
                by=budget.id,
                kind="refusal",
                text=text,
                at=now,
                job=job_id,
            )
        )

    def _covering(self, spec: JobSpec, pool: str) -> list[Budget]:
        found = [each for each in self._store.budgets() if covers(each, spec, pool=pool)]
        if spec.budget is not None:
            own = parse_money(spec.budget)
            found.append(
                Budget(
                    id="",
                    scope="job",
                    subject="",
                    period="total",
                    amount=own.wire_exact,
                    currency=own.currency,
                )
            )
        return found

    def spend_of(self, budget: Budget, now: float, *, unpriced: Collection[str] = ()) -> Spend:
        """Return what was spent of a budget in its period, up to now."""
        window, scope = window_of(budget, now), scope_of(budget)
        # What turned out to have been otherwise is told by the ledger once it is settled anew.
        with contextlib.suppress(StorageFull):
            self._ledger.settle(older_than=_SETTLED_SECONDS)
        amounts = self._ledger.spend(scope, start=window.start)
        seconds = 0.0
        if not unpriced:
            end = max(now, window.start + 1)
            done = self._ledger.bill(start=window.start, end=end, scope=scope, unallocated=False)
            seconds = done.total.unpriced_seconds
        return Spend(amounts=amounts, unpriced=tuple(sorted(unpriced)), unpriced_seconds=seconds)

    # --- verbs ---------------------------------------------------------------------------------

    def set_budget(self, budget: Budget) -> Budget:
        """Set a budget; one of the same scope and period is changed by it, and keeps its id.

        Raises
        ------
        JobNotFound, PoolNotFound
            Its subject is not there.
        UsageError
            It is in another currency than the price of its pool: nothing here converts money.
        """
        pool = None
        if budget.scope == "job":
            job = self._store.get_job(budget.subject)
            budget, pool = replace(budget, subject=job.id), job.pool
        elif budget.scope == "pool":
            pool = self._store.get_pool(budget.subject).name
        price = self._ledger.price(pool) if pool is not None else None
        if price is not None and price.rate is not None and pool is not None:
            code = price.rate.money.currency
            if code != budget.currency:
                message, hint = _currencies(budget, pool, code)
                raise UsageError(message, hint=hint, option="amount")
        return self._store.set_budget(budget)

    def snooze(self, name: str, *, seconds: float | None, by: str | None = None) -> Budget:
        """Have a budget do nothing for so long; ``None`` wakes it up.

        Jobs that it is stopping are stopped all the same.
        """
        budget = self._store.get_budget(name)
        if seconds is not None and not 0 < seconds <= 366 * 86400:
            raise UsageError(
                f"{seconds!r}: a budget is snoozed for some seconds, up to a year",
                option="seconds",
            )
        until = None if seconds is None else self._wall() + seconds
        self._store.snooze_budget(budget.id, until=until, by=by or _me())
        return self._store.get_budget(budget.id)

    def remove(self, name: str) -> Budget:
        """Forget a budget; return what it was."""
        budget = self._store.get_budget(name)
        if not self._store.remove_budget(budget.id):
            raise Conflict(f"budget {budget.id} was removed by another process just now")
        return budget


def _me() -> str:
    return getpass.getuser()


def _warning(message: str, hint: str) -> Finding:
    return Finding(check=BUDGET_CHECK, severity=Severity.WARNING, message=message, hint=hint)


def _currencies(budget: Budget, pool: str, code: str) -> tuple[str, str]:
    return (
        (
            f"the budget of {name_of(budget)} is in {budget.currency}, and pool {pool} costs "
            f"{code}: nothing here converts money"
        ),
        f"give it in {code.lower()}",
    )
