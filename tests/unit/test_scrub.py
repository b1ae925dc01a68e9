"""Tokens and keys are found by their shape, and nothing else is."""

from __future__ import annotations

import hashlib
import json

import pytest

from jupyter_aiinfra.node.scrub import HIDDEN, Scrubber, open_end

# Made up, in two parts each: no scanner of repositories is to take them for real.
SECRETS = {
    "GitHub token": "ghp_" + "a1B2" * 9,
    "GitLab token": "glpat-" + "x9" * 10,
    "Hugging Face token": "hf_" + "Abc4" * 8,
    "Anthropic key": "sk-ant-" + "api03-" + "q7" * 20,
    "OpenAI key": "sk-proj-" + "Zz12" * 10,
    "Stripe key": "sk_live_" + "51Ab" * 6,
    "Slack token": "xoxb-" + "123456789012-abcdefABCDEF",
    "AWS access key": "AKIA" + "IOSFODNN7EXAMPLE",
    "Google key": "AIza" + "SyA1" * 9,
    "npm token": "npm_" + "a1B2" * 9,
    "PyPI token": "pypi-" + "AgEI" * 9,
    "Docker token": "dckr_pat_" + "abcDEF123456",
    "Databricks token": "dapi" + "0123456789abcdef" * 2,
    "NVIDIA key": "nvapi-" + "a1B2" * 8,
    "endpoint key": "aii_d92aef2f9ea4_" + "a1B2" * 11,
    "JSON web token": "eyJ" + "hbGciOiJIUzI1NiJ9." + "eyJ" + "zdWIiOiIxMjM0In0.c2lnbmF0dXJl",
}


@pytest.mark.parametrize(("kind", "secret"), SECRETS.items())
def test_shapes_are_hidden_and_counted(kind: str, secret: str) -> None:
    text, found = Scrubber().text(f"first {secret}, then ({secret})\n")
    assert text == f"first {HIDDEN}, then ({HIDDEN})\n"
    assert found == {kind: 2}


@pytest.mark.parametrize(
    ("text", "clean", "kind"),
    [
        (
            "postgresql://me:hunter22@host/db",
            f"postgresql://me:{HIDDEN}@host/db",
            "password in a URL",
        ),
        ("Authorization: Bearer abcdefgh12345678", f"Authorization: Bearer {HIDDEN}", None),
        (
            "aws_secret_access_key = '" + "wJal" * 10 + "'",
            f"aws_secret_access_key = '{HIDDEN}'",
            "AWS secret key",
        ),
        (
            "-----BEGIN RSA PRIVATE KEY-----\nMIIE\nabc=\n-----END RSA PRIVATE KEY-----\nrest",
            f"{HIDDEN}\nrest",
            "private key",
        ),
        ("AccountKey=" + "abCD" * 8 + "==;x", f"AccountKey={HIDDEN};x", "Azure storage key"),
    ],
)
def test_what_stands_beside_a_secret_is_kept(text: str, clean: str, kind: str | None) -> None:
    got, found = Scrubber().text(text)
    assert got == clean
    assert sum(found.values()) == 1
    assert kind is None or list(found) == [kind]


@pytest.mark.parametrize(
    "text",
    [
        hashlib.sha256(b"x").hexdigest(),
        "commit 9fceb02d0ae598e95dc970b74767f19372d6b7ac",
        "3f1c9a4e-8f6e-4f57-9a3a-2b5d0f7e6c11",
        "https://example.org/path?x=1#part and me@example.org",
        "the bearer of this letter, sk-learn, hf_hub, task_live_view",
        "loss 0.25 at step 1000: accuracy 0.97",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert Scrubber().text(text) == (text, {})


def test_hiding_twice_is_hiding_once() -> None:
    scrubber = Scrubber(["swordfish"])
    once, _ = scrubber.text("swordfish, https://me:abc123@host, Bearer " + "a1" * 10)
    assert scrubber.text(once) == (once, {})


def test_known_values_are_hidden_line_by_line_and_short_ones_are_not() -> None:
    scrubber = Scrubber(["swordfish\nsecond line", "abc"])
    text, found = scrubber.text("swordfish second line abc")
    assert text == f"{HIDDEN} {HIDDEN} abc"
    assert found == {"secret of the job": 2}


def test_outputs_are_looked_at_where_they_are_text() -> None:
    token = SECRETS["GitHub token"]
    scrubber = Scrubber()
    output = {
        "output_type": "display_data",
        "metadata": {},
        "data": {
            "text/html": ["<b>", token, "</b>"],
            "application/json": {"deep": [token]},
            "image/png": token,
        },
    }
    clean, found = scrubber.output(output)
    assert "".join(clean["data"]["text/html"]) == f"<b>{HIDDEN}</b>"
    assert clean["data"]["application/json"] == {"deep": [HIDDEN]}
    assert clean["data"]["image/png"] == token, "a picture is left alone"
    assert found == {"GitHub token": 2}
    assert token in json.dumps(output), "what was given is as it was"


def test_a_key_over_several_lines_of_a_list_is_found() -> None:
    key = "-----BEGIN PRIVATE KEY-----\nMIIEvQ\n-----END PRIVATE KEY-----\n"
    output = {"output_type": "stream", "name": "stdout", "text": key.splitlines(keepends=True)}
    clean, found = Scrubber().output(output)
    assert "".join(clean["text"]) == f"{HIDDEN}\n"
    assert found == {"private key": 1}


@pytest.mark.parametrize(
    ("text", "held"),
    [("a line\n", ""), ("see ghp_abc", "ghp_abc"), ("10 %|███", ""), ("a b c", "")],
)
def test_only_a_word_that_may_go_on_is_held(text: str, held: str) -> None:
    assert text[open_end(text) :] == held
