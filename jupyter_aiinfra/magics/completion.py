"""Tab completion of our magics: verbs, options, pool names, job ids, variables."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from jupyter_aiinfra.errors import AiInfraError

if TYPE_CHECKING:
    import click
    from IPython.core.completer import CompletionContext

    from jupyter_aiinfra.magics.core import AiInfraMagics

__all__ = ["Completion"]

_OURS = re.compile(
    r"^\s*(%%accelerate|%accelerate|%pool|%jobs|%gpus|%cost|%budget|%idle|%schedule|%promote|%endpoint)"
    r"\s+(.*)$",
    re.DOTALL,
)


class Completion:
    """Completes the line the cursor stands on, if it is one of ours."""

    def __init__(self, magics: AiInfraMagics) -> None:
        from IPython.core.completer import context_matcher  # noqa: PLC0415

        self._magics = magics

        def match(context: CompletionContext) -> dict[str, Any]:
            return self._match(context)

        # A method cannot carry the decorator's marks; a function around it can.
        self.matches = context_matcher()(match)

    def _match(self, context: CompletionContext) -> dict[str, Any]:
        from IPython.core.completer import SimpleCompletion  # noqa: PLC0415

        line = context.line_with_cursor
        found = _OURS.match(line)
        if found is None:
            return {"completions": [], "suppress": False}
        magic, rest = found.group(1).lstrip("%"), found.group(2)
        words = rest.split()
        current = "" if rest[-1:].isspace() or not rest else words.pop()
        prefix, last = _after_comma(current)
        names = sorted({word for word in self._words(magic, words) if word.startswith(last)})
        # IPython replaces its own idea of a token, which ends at a dash or a comma.
        token = context.token
        drop = len(current) - len(token) if current.endswith(token) else 0
        texts = [(prefix + name)[drop:] for name in names]
        return {
            "completions": [SimpleCompletion(text=text, type="magic") for text in texts if text],
            "suppress": bool(names),
        }

    def _words(self, magic: str, words: list[str]) -> Iterable[str]:
        try:
            if magic == "accelerate":
                return self._launch_words(words)
            if magic == "gpus":
                named = [] if words else [*self._pools(), *self._jobs()]
                return [*named, "--watch", "--help"]
            return self._verb_words(magic, words)
        except AiInfraError:
            # A store that cannot be opened is told by the command, not by the tab key.
            return ()

    def _launch_words(self, words: list[str]) -> Iterable[str]:
        from jupyter_aiinfra.accelerate import option_table  # noqa: PLC0415
        from jupyter_aiinfra.commands.launch_line import OPTIONS  # noqa: PLC0415

        before = words[-1] if words else ""
        for option in OPTIONS:
            if option.name == before and option.takes == "one":
                return self._variables() if option.values == "variables" else ()
        info = option_table().get(before.replace("_", "-"))
        if info is not None and info.takes != "nothing":
            return info.choices
        options = [option.name for option in OPTIONS] + list(option_table())
        pools = [] if any(not word.startswith("-") for word in words[:1]) else self._pools()
        return [*pools, *options, "--help"]

    def _verb_words(self, magic: str, words: list[str]) -> Iterable[str]:
        from jupyter_aiinfra.commands import tree  # noqa: PLC0415
        from jupyter_aiinfra.commands.budgetverbs import budget, idle  # noqa: PLC0415
        from jupyter_aiinfra.commands.costverbs import cost  # noqa: PLC0415
        from jupyter_aiinfra.commands.endpointverbs import endpoint  # noqa: PLC0415
        from jupyter_aiinfra.commands.periods import PERIODS  # noqa: PLC0415
        from jupyter_aiinfra.commands.scheduleverbs import promote, schedule  # noqa: PLC0415

        own = {
            "pool": tree.pool,
            "cost": cost,
            "budget": budget,
            "idle": idle,
            "schedule": schedule,
            "endpoint": endpoint,
            "promote": promote,
        }
        group = own.get(magic, tree.jobs)
        if not words:
            return [*group.commands, *(PERIODS if magic == "cost" else ())]
        command = group.commands.get(words[0])
        if magic == "cost" and command is None:
            command = cost.commands["show"]  # a time in place of a verb
        if command is None:
            return ()
        if magic in ("schedule", "promote"):
            return self._schedule_words(words, command)
        if magic == "endpoint":
            return self._endpoint_words(words, command)
        if words[-1] == "--kind":
            from jupyter_aiinfra.pools import kinds  # noqa: PLC0415

            return list(kinds())
        import click  # noqa: PLC0415

        options = [flag for p in command.get_params(click.Context(command)) for flag in p.opts]
        flags = [flag for flag in options if flag.startswith("--")]
        named = self._pools() if magic == "pool" else self._jobs()
        if magic in ("budget", "idle"):
            named = self._budgets() if magic == "budget" else [*self._pools(), *named]
        takes_name = words[0] not in ("list", "attach", "kinds") or magic == "jobs"
        if magic in ("budget", "idle"):
            takes_name = words[0] not in ("list", "rules")
        if magic == "cost":
            takes_name = words[0] in ("whatif", "tag")
        return [*(named if takes_name and len(words) == 1 else ()), *flags]

    def _schedule_words(self, words: list[str], command: click.Command) -> Iterable[str]:
        import click  # noqa: PLC0415

        if words[-1] == "--pool":
            return self._pools()
        if words[-1] == "--after":
            return self._schedules()
        takes_name = len(words) == 1 and any(p.name == "name" for p in _arguments(command))
        options = [flag for p in command.get_params(click.Context(command)) for flag in p.opts]
        flags = [flag for flag in options if flag.startswith("-")]
        return [*(self._schedules() if takes_name else ()), *flags]

    def _endpoint_words(self, words: list[str], command: click.Command) -> Iterable[str]:
        import click  # noqa: PLC0415

        if words[-1] == "--pool":
            return self._pools()
        if isinstance(command, click.Group):
            if len(words) == 1:
                return [*command.commands]
            words, command = words[1:], command.commands.get(words[1], command)
        named = len(words) == 1 and any(p.name == "name" for p in _arguments(command))
        options = [flag for p in command.get_params(click.Context(command)) for flag in p.opts]
        store = self._magics.session.engine.store
        endpoints = [each.name for each in store.endpoints()] if named else []
        return [*endpoints, *(flag for flag in options if flag.startswith("-"))]

    def _schedules(self) -> list[str]:
        return [each.name for each in self._magics.session.engine.store.schedules()]

    def _pools(self) -> list[str]:
        return [record.name for record in self._magics.session.engine.store.list_pools()]

    def _budgets(self) -> list[str]:
        return [each.id for each in self._magics.session.engine.store.budgets()]

    def _jobs(self) -> list[str]:
        return [job.id for job in self._magics.session.engine.store.list_jobs(limit=50)]

    def _variables(self) -> list[str]:
        hidden = self._magics.shell.user_ns_hidden
        space = self._magics.shell.user_ns
        return [name for name in space if not name.startswith("_") and name not in hidden]


def _after_comma(word: str) -> tuple[str, str]:
    head, comma, tail = word.rpartition(",")
    return head + comma, tail


def _arguments(command: click.Command) -> list[click.Parameter]:
    return [each for each in command.params if each.param_type_name == "argument"]
