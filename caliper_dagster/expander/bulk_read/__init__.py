"""Many rows of the database as Arrow columns, without a Python object for each value.

A database driver makes a Python object of every value: 21 per log row. This package takes the
answer as the bytes that the server sends and decodes it column by column. What it does not support
(another character set, values that are not integers, texts of many megabytes) it leaves to the
driver: then it raises :class:`UnsupportedResult`, and the caller gets the same table from the rows
of the driver by :func:`from_rows`.

``mysql`` decodes the packets of MariaDB and MySQL, ``postgres`` the text of ``COPY``, ``arrow``
holds what both need.
"""

from caliper_dagster.expander.bulk_read.arrow import (
    REPLACEMENT,
    UnsupportedResult,
    decoded,
    from_rows,
    plain_values,
    records_of,
)
from caliper_dagster.expander.bulk_read.mysql import read_mysql, read_mysql_rows
from caliper_dagster.expander.bulk_read.postgres import read_postgres

__all__ = [
    "REPLACEMENT",
    "UnsupportedResult",
    "decoded",
    "from_rows",
    "plain_values",
    "read_mysql",
    "read_mysql_rows",
    "read_postgres",
    "records_of",
]
