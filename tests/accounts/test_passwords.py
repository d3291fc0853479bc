import threading
import time
import unicodedata
from concurrent.futures import ThreadPoolExecutor

import pytest
from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher
from pydantic import SecretStr

from pixmo.accounts import passwords


def test_only_the_right_password_matches() -> None:
    stored = passwords.hash_password(SecretStr("correct horse battery"))
    assert "horse" not in stored
    assert passwords.verify(SecretStr("correct horse battery"), stored) == (True, None)
    assert passwords.verify(SecretStr("correct horse batterY"), stored) == (False, None)


def test_the_default_hash_is_argon2id_at_the_recommended_strength(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "hasher", PasswordHash.recommended())
    assert passwords.hash_password(SecretStr("correct horse battery")).startswith("$argon2id$v=19$m=65536,t=3,p=4$")


def test_a_weaker_hash_is_renewed() -> None:
    weaker = PasswordHash((Argon2Hasher(time_cost=1, memory_cost=8, parallelism=1, hash_len=8),))
    matches, renewed = passwords.verify(SecretStr("correct horse battery"), weaker.hash("correct horse battery"))
    assert matches
    assert renewed is not None
    assert passwords.verify(SecretStr("correct horse battery"), renewed) == (True, None)


def test_keyboards_that_compose_differently_type_the_same_password() -> None:
    stored = passwords.hash_password(SecretStr(unicodedata.normalize("NFC", "grüne Äpfel")))
    assert passwords.verify(SecretStr(unicodedata.normalize("NFD", "grüne Äpfel")), stored)[0]


@pytest.mark.parametrize("odd", ["\x00" * 12, "\ud800" * 12, "x" * 256])
def test_any_text_can_be_a_password(odd: str) -> None:
    assert passwords.verify(SecretStr(odd), passwords.hash_password(SecretStr(odd)))[0]


def test_without_an_account_the_same_work_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    work: list[str] = []

    class Counting(Argon2Hasher):
        def verify(self, password: str | bytes, hash: str | bytes) -> bool:  # noqa: A002
            work.append("verify")
            return super().verify(password, hash)

    monkeypatch.setattr(passwords, "hasher", PasswordHash((Counting(1, 8, 1),)))
    stored = passwords.hash_password(SecretStr("correct horse battery"))
    assert passwords.verify(SecretStr("wrong password"), stored) == (False, None)
    assert work == ["verify"]
    assert passwords.verify(SecretStr("wrong password"), None) == (False, None)
    assert work == ["verify", "verify"]


def test_hashes_at_once_are_few(monkeypatch: pytest.MonkeyPatch) -> None:
    """64 MiB each: forty of them at once would take all the memory of a small server."""
    running, most, lock = 0, 0, threading.Lock()

    class Counting(Argon2Hasher):
        def hash(self, password: str | bytes, *, salt: bytes | None = None) -> str:
            nonlocal running, most
            with lock:
                running += 1
                most = max(most, running)
            time.sleep(0.005)
            with lock:
                running -= 1
            return super().hash(password, salt=salt)

    monkeypatch.setattr(passwords, "hasher", PasswordHash((Counting(1, 8, 1),)))
    monkeypatch.setattr(passwords, "_slots", threading.BoundedSemaphore(2))
    with ThreadPoolExecutor(12) as pool:
        list(pool.map(passwords.hash_password, [SecretStr("correct horse battery")] * 12))
    assert most == 2
