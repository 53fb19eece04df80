"""The sites whose answers a ledger holds: which site id belongs to which site, and its address.

Several sites share a ledger, and several installations may. A site is known by its id. One that is
not known, where a site of the same name is, has probably changed its address.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from caliper_dagster.core.site_identity import SITE_ID, SiteIdentity, SiteRecord


def sites_table(tables: sa.MetaData) -> sa.Table:
    """The table: one row for each site."""
    return sa.Table(
        "caliper_site",
        tables,
        sa.Column("site", sa.Text, primary_key=True, comment="site id, as in the other tables"),
        sa.Column("address", sa.Text, nullable=False, comment="address in the last run"),
        sa.Column("name", sa.Text, nullable=False, comment="in the file of sites; else empty"),
    )


def check_site(
    connection: sa.Connection, sites: sa.Table, batches: sa.Table, identity: SiteIdentity
) -> None:
    """Make sure that a ledger is not that of the same site at another address.

    A site id that is set counts as chosen. A site without a record, of which there are answers, was
    there before there were records.

    Raises:
        ConfigurationError: it is, as far as can be told.
        SQLAlchemyError: the database failed.
    """
    if identity.chosen:
        return
    known = {row.site: row for row in connection.execute(sa.select(sites))}
    if identity.site_id in known or _has_answers(connection, batches, identity.site_id):
        return
    others = [
        SiteRecord(row.site, row.address)
        for row in known.values()
        if row.name == (identity.name or "")
    ]
    if not others and identity.name is None:
        # Without a file of sites there is one site, so answers to others are those of its past.
        query = sa.select(batches.c.site).distinct().order_by(batches.c.site)
        unrecorded = [site for site in connection.execute(query).scalars() if site not in known]
        others = [SiteRecord(site, site) for site in unrecorded]
    if others:
        raise identity.mismatch("the ledger", others[-1], ("set ", SITE_ID, f"={identity.site_id}"))


def claim_site(connection: sa.Connection, sites: sa.Table, identity: SiteIdentity) -> None:
    """Record a site, its address and its name."""
    row = {"site": identity.site_id, "address": identity.address, "name": identity.name or ""}
    condition = sites.c.site == identity.site_id
    held = connection.execute(sa.select(sites).where(condition)).mappings().one_or_none()
    if held is not None and dict(held) == row:
        return
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    changes = {name: row[name] for name in ("address", "name")}
    connection.execute(
        insert(sites).values(row).on_conflict_do_update(index_elements=["site"], set_=changes)
    )


def _has_answers(connection: sa.Connection, batches: sa.Table, site: str) -> bool:
    query = sa.select(batches.c.id).where(batches.c.site == site).limit(1)
    return connection.execute(query).first() is not None
