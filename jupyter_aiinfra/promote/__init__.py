"""From a notebook to runs of it: its parameters, what runs when, what is frozen, how it runs."""

from __future__ import annotations
