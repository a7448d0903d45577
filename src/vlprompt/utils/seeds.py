"""Seeds derived from what they are for, so that no two uses share random numbers."""

import hashlib


def derived_seed(*parts: int | str) -> int:
    """A seed (63 bits) that depends on all parts, the same in every process and on every machine."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:8], "big") >> 1
