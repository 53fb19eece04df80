"""Arrow imports pandas only where somebody else does, and then knows its series and frames."""

import subprocess
import sys

START = "import sys; import pyarrow as pa; from caliper_dagster.core import arrow_without_pandas; "


CATEGORY = "pa.types.is_dictionary(pa.array(pd.Series(['a', None], dtype='category')).type)"


def python(code: str) -> str:
    command = [sys.executable, "-c", START + code]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_arrow_makes_arrays_without_pandas() -> None:
    told = python(
        "arrow_without_pandas.keep_pandas_out();"
        "pa.table({'a': pa.array([1, None])}); print('pandas' in sys.modules)"
    )
    assert told == "False"


def test_once_pandas_is_imported_arrow_knows_its_series_and_frames() -> None:
    told = python(
        "arrow_without_pandas.keep_pandas_out(); import pandas as pd;"
        "frame = pd.DataFrame({'x': ['a', None]});"
        f"print({CATEGORY}, pa.Table.from_pandas(frame)['x'].null_count)"
    )
    assert told == "True 1"


def test_a_table_becomes_a_frame() -> None:
    told = python(
        "arrow_without_pandas.keep_pandas_out();"
        "print(pa.table({'a': [1, 2]}).to_pandas()['a'].sum()); pd = sys.modules['pandas'];"
        f"print({CATEGORY})"
    )
    assert told.split() == ["3", "True"]


def test_pandas_that_is_there_already_stays() -> None:
    told = python(
        "import pandas as pd; arrow_without_pandas.keep_pandas_out();"
        f"print({CATEGORY}, pd is sys.modules['pandas'])"
    )
    assert told == "True True"
