"""What of the user's own files stays where it is: ``.gitignore`` and ``.aiinfraignore``.

Both are read as git reads them, in every folder from the project's root down; what is nearer to a
file counts more, and in one folder ``.aiinfraignore`` counts more than ``.gitignore``. Modules that
git ignores travel all the same, for they are imported as much as any other (``_version.py`` is the
usual one): only ``.aiinfraignore`` keeps Python files here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from pathspec import GitIgnoreSpec

from jupyter_aiinfra.errors import UsageError

__all__ = ["OURS", "IgnoreRules", "project_root"]

OURS = ".aiinfraignore"
_GIT = ".gitignore"


def project_root(folder: Path) -> Path:
    """Return the root of the repository that `folder` is in, or the folder above it."""
    for place in (folder, *folder.parents):
        if (place / ".git").exists():
            return place
    return folder.parent


@dataclass
class IgnoreRules:
    """The rules in force in one folder and below; `within` goes down one more."""

    specs: list[tuple[Path, str, GitIgnoreSpec]] = field(default_factory=list)

    @classmethod
    def above(cls, folder: Path, *, root: Path) -> IgnoreRules:
        """Return the rules that hold for `folder`, by the files from `root` down to it.

        Where they keep out `folder` itself they say nothing of what is in it: that was asked for.
        """
        rules = cls()
        for place in reversed((folder.parent, *folder.parent.parents)):
            if place.is_relative_to(root):
                rules = rules.within(place)
        kept = [each for each in rules.specs if not cls([each]).ignores(folder, folder=True)]
        return cls(kept)

    def within(self, folder: Path) -> IgnoreRules:
        """Return these rules and those of the files in `folder`.

        Raises
        ------
        UsageError
            A file that cannot be read as rules.
        """
        found = []
        for name in (_GIT, OURS):
            path = folder / name
            if path.is_file():
                try:
                    lines = path.read_text(encoding="utf-8").splitlines()
                    found.append((folder, name, GitIgnoreSpec.from_lines(lines)))
                except (OSError, ValueError) as error:
                    raise UsageError(
                        f"{path} cannot be read as ignore rules: {error}",
                        hint="it is written like a .gitignore",
                    ) from error
        return IgnoreRules([*self.specs, *found]) if found else self

    def ignores(self, path: Path, *, folder: bool = False) -> bool:
        """Whether what is at `path` stays here."""
        return self._matches(path, folder=folder, git=folder or path.suffix != ".py")

    def prunes(self, path: Path) -> bool:
        """Whether nothing below the folder `path` travels, not even modules."""
        return self._matches(path, folder=True, git=False)

    def _matches(self, path: Path, *, folder: bool, git: bool) -> bool:
        for base, name, spec in reversed(self.specs):
            if name == _GIT and not git:
                continue
            inner = path.relative_to(base).as_posix()
            found = spec.check_file(f"{inner}/" if folder else inner).include
            if found is not None:
                return bool(found)
        return False
