"""Secrets are recognised by name and by shape; ordinary variables are not taken for them."""

from __future__ import annotations

import os
from collections import namedtuple
from types import SimpleNamespace
from typing import Any

import pytest

from jupyter_aiinfra.capture.credentials import find_credential

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9P"
PEM = "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA\n-----END RSA PRIVATE KEY-----\n"
Login = namedtuple("Login", "user password")  # noqa: PYI024 - the untyped kind on purpose


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("password", "hunter2"),
        ("db_password", "hunter2"),
        ("dbPassword", "hunter2"),
        ("PASSWD", "hunter2"),
        ("api_key", "abc123"),
        ("API_KEY", "abc123"),
        ("apiKey", "abc123"),
        ("OPENAI_API_KEY", "abc123"),
        ("aws_secret_access_key", "abc123"),
        ("client_secret", "abc123"),
        ("secret", "abc123"),
        ("credentials", "user:pass"),
        ("hf_token", "abcdefgh1"),
        ("GITHUB_TOKEN", "abcdefgh1"),
        ("access_token_value", "abcdefgh1"),
        ("token", "a1b2c3d4e5f6g7h8"),
        ("password", b"hunter2"),
        ("x", "hf_" + "aB3" * 12),
        ("x", "sk-" + "aB3" * 12),
        ("x", "sk-proj-" + "aB3_-" * 8),
        ("x", "ghp_" + "a1" * 18),
        ("x", "github_pat_" + "a1" * 20),
        ("x", "AKIAIOSFODNN7EXAMPLE"),
        ("x", "xoxb-123456789012-abcdef"),
        ("x", "glpat-" + "a1" * 10),
        ("x", JWT),
        ("x", PEM),
        ("x", "postgresql://user:pa55@host/db"),
        ("x", "Bearer hf_" + "aB3" * 12),
        ("headers", {"Authorization": "Bearer abcdefgh"}),
        ("cfg", {"model": {"api_key": "abc123"}}),
        ("rows", [{"password": "x1"}]),
        ("conf", SimpleNamespace(db=SimpleNamespace(password="x1"))),
        ("login", Login("me", "x1")),
    ],
)
def test_secrets_are_recognised(name: str, value: Any) -> None:
    assert find_credential(name, value) is not None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("tokenizer", "bert-base-uncased"),
        ("max_tokens", 512),
        ("max_tokens", "512"),
        ("token_ids", [1, 2, 3]),
        ("token", "the"),
        ("token", "hello"),
        ("tokens", ["a", "b"]),
        ("pad_token", "[PAD]"),
        ("eos_token", "<|endoftext|>"),
        ("next_token", "something"),
        ("secret_santa", 3),
        ("secret_santa", "Bob"),
        ("password", ""),
        ("password", None),
        ("password", 3),
        ("password_column", "pwd"),
        ("api_key_env", "OPENAI_API_KEY"),
        ("credentials", "/home/me/creds.json"),
        ("credentials", "~/.aws"),
        ("private_key", "keys/id.pem"),
        ("password", "please enter your password"),
        ("key", "abc123"),
        ("keys", ["a"]),
        ("public_key", "abc123"),
        ("sort_key", "name"),
        ("author", "me"),
        ("x", "sk-learn-pipeline-model-version"),
        ("x", "hf_model"),
        ("x", "https://example.org/a:b@c"),
        ("x", "https://user@example.org"),
        ("x", "a" * 10_000),
        ("passwords_tried", 3),
        ("cfg", {"pad_token": "[PAD]", "vocab": {"token": "the"}}),
        ("cfg", {1: "hunter2"}),
        ("Secret", type("Secret", (), {"password": "x"})),
        ("environ", os.environ),
    ],
)
def test_ordinary_values_are_not(name: str, value: Any) -> None:
    assert find_credential(name, value) is None


def test_the_place_is_told_and_never_the_value() -> None:
    found = find_credential("cfg", {"db": [{"password": "hunter2"}]})
    assert found == ("cfg['db'][0]['password']", "its name says that it is a secret")
    found = find_credential("x", "AKIAIOSFODNN7EXAMPLE")
    assert found == ("x", "its value looks like an AWS access key")


def test_the_search_ends() -> None:
    round_: dict[str, Any] = {}
    round_["self"] = round_
    assert find_credential("round_", round_) is None
    wide = [{str(n): [str(n)] * 50 for n in range(500)}] * 500
    assert find_credential("wide", wide) is None
