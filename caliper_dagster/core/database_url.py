"""What can be wrong with the URL of a database, told without a part of its password."""

from __future__ import annotations

from caliper_dagster.core.errors import ConfigurationError, Sentence, SettingName


def require_encoded_account(setting: str, url: str) -> None:
    """Refuse a URL whose user or password holds an ``@`` as it is.

    A reader of the URL would take what follows that ``@`` for the host, and errors about the host
    would show it.

    Args:
        setting: the variable that holds the URL.
        url: an SQLAlchemy URL; a name of a file is never refused.

    Raises:
        ConfigurationError: it holds more than one ``@``.
    """
    scheme, _, rest = url.partition("://")
    if not scheme.startswith("sqlite") and rest.count("@") > 1:
        raise ConfigurationError(
            Sentence(
                SettingName(setting),
                " holds more than one @: write special characters of the user and the password "
                "in their percent form (@ is %40, / is %2F, : is %3A).",
            )
        )
