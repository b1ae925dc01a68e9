"""Machines reached through the user's own OpenSSH: their names, connections and keys."""
