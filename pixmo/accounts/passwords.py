"""Passwords: hashed with Argon2id, compared in the same time whether or not there is an account."""

import os
import threading
import unicodedata
from functools import cache

from pwdlib import PasswordHash
from pydantic import SecretStr

MINIMUM_LENGTH = 10
MAXIMUM_LENGTH = 256

hasher = PasswordHash.recommended()

# One hash takes 64 MiB: a crowd at the login page must not take all the memory.
_slots = threading.BoundedSemaphore(os.cpu_count() or 1)


def _bytes(password: SecretStr) -> bytes:
    """The password in NFKC (NIST SP 800-63B), because keyboards differ in how they compose an umlaut."""
    return unicodedata.normalize("NFKC", password.get_secret_value()).encode("utf-8", "surrogatepass")


@cache
def _decoy(by: PasswordHash) -> str:
    return by.hash(os.urandom(16))


def hash_password(password: SecretStr) -> str:
    """A salted hash to store."""
    with _slots:
        return hasher.hash(_bytes(password))


def verify(password: SecretStr, stored: str | None) -> tuple[bool, str | None]:
    """Whether `password` belongs to the hash `stored`, and a new hash if that one is weaker than today's.

    Without a stored hash the answer is no, after the same work: nobody knows the password of the decoy.
    """
    with _slots:
        decoy = _decoy(hasher)
        return hasher.verify_and_update(_bytes(password), stored or decoy)
