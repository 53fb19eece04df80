"""How many examples hypothesis makes for a test.

The profiles are in the root ``conftest.py``: ``full`` makes 100 examples, ``quick`` a quarter.
"""

import hypothesis

_FULL = 100


def examples(number: int) -> int:
    """The number of examples under the chosen profile, of a test that needs its own number.

    Args:
        number: how many it makes under the profile ``full``.
    """
    profile = hypothesis.settings()
    return max(1, number * profile.max_examples // _FULL)
