"""What acts on cost and waste: budgets, and what is done about GPUs that nobody uses."""

from __future__ import annotations

from jupyter_aiinfra.governance.admission import BUDGET_CHECK
from jupyter_aiinfra.governance.budget import ACTIONS, PERIODS, SCOPES, Reach, Verdict, make_budget
from jupyter_aiinfra.governance.governor import Governor
from jupyter_aiinfra.governance.views import BudgetView, IdleJob, IdleKernel, IdleReport

__all__ = [
    "ACTIONS",
    "BUDGET_CHECK",
    "PERIODS",
    "SCOPES",
    "BudgetView",
    "Governor",
    "IdleJob",
    "IdleKernel",
    "IdleReport",
    "Reach",
    "Verdict",
    "make_budget",
]
