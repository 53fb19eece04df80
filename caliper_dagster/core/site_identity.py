"""Which site events belong to: the name that their ids are made of, and the address of now.

The ids of events are made of the *site id*, and IRIs of the site's address. Both are the same until
the address changes and ``CALIPER_SITE_ID`` keeps the id. Storage and ledger record for which site
they were made, so that a changed address is an error with a choice and not a second delivery of all
of history under new ids.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

from caliper_dagster.core.errors import ConfigurationError, Sentence, SettingName
from caliper_dagster.core.revisions import MAPPING_REVISION, REVISIONS_OF_ADDRESS

ADDRESS = SettingName("MOODLE_WWWROOT")
SITE_ID = SettingName("CALIPER_SITE_ID")
_SITES = SettingName("CALIPER_SITES")

_ADDRESSES = 2_000_000


@dataclass(frozen=True, slots=True)
class SiteIdentity:
    """A site as the settings describe it.

    Attributes:
        site_id: what ids of events are made of, and what the ledger calls the site.
        address: base of all IRIs.
        name: its name in the file of sites; None for the only site.
        chosen: whether ``CALIPER_SITE_ID`` is set.
    """

    site_id: str
    address: str
    name: str | None = None
    chosen: bool = False

    @property
    def mapping_revision(self) -> int:
        """The mapping revision of the events that are made now.

        At the address that is also the site id it is `MAPPING_REVISION`. At another address the
        contents of all events differ, so each address has revisions of its own: `MAPPING_REVISION`
        and a thousand times a number from 1 to 2,000,000 that is made of the address.
        """
        if self.address == self.site_id:
            return MAPPING_REVISION
        digest = blake2b(self.address.encode(), digest_size=8).digest()
        number = int.from_bytes(digest, "big") % _ADDRESSES + 1
        return number * REVISIONS_OF_ADDRESS + MAPPING_REVISION

    def mismatch(
        self, place: str, made_for: SiteRecord, otherwise: Sequence[str]
    ) -> ConfigurationError:
        """The error about a place that was made for another site id.

        Args:
            place: what it is, as a part of a sentence.
            made_for: the site that it was made for.
            otherwise: what to do if this is another site, as parts of a sentence.
        """
        setting, value = (SITE_ID, self.site_id) if self.chosen else (ADDRESS, self.address)
        where = (f" for the site {self.name} in the file of ", _SITES) if self.name else ()
        separator = ": " if self.name else "="
        return ConfigurationError(
            Sentence(
                setting,
                f" is {value}, but {place} was made for {made_for}: the events would get other ids "
                "and be sent again. If it is the same site, set ",
                SITE_ID,
                f"{separator}{made_for.site_id}",
                *where,
                ", which keeps the ids and what was sent. If it is another site, ",
                *otherwise,
                ".",
            )
        )


@dataclass(frozen=True, slots=True)
class SiteRecord:
    """The site that a storage or a ledger was made for, and its address then."""

    site_id: str
    address: str

    def __str__(self) -> str:
        if self.site_id == self.address:
            return self.address
        return f"{self.site_id} (at {self.address})"
