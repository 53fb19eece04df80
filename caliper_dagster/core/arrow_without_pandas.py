"""Arrow without pandas, until pandas is imported."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType

_PANDAS = "pandas"


def keep_pandas_out() -> None:
    """Do without pandas in this process, until somebody imports it.

    Where pandas is installed, Arrow imports it before it makes its first array, to recognize its
    frames and series: a tenth of the processor time of a start, and 40 MB. Arrow looks for pandas
    once, so it is hidden for that moment. Whoever imports pandas later gets it, and so does Arrow:
    from then on, arrays are made of series as ever, and before then there are no series.
    """
    if _PANDAS in sys.modules:
        return
    import pyarrow as pa  # not above: `caliper-dagster --help` needs no Arrow

    finder = _PandasFinder()
    sys.meta_path.insert(0, finder)
    pa.array([0])
    finder.is_hidden = False


class _PandasFinder(MetaPathFinder):
    """Hides pandas, then finds it where it is, and makes Arrow look again once it is imported."""

    def __init__(self) -> None:
        self.is_hidden = True
        self._is_searching = False

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The spec of pandas; None for every other module.

        Raises:
            ModuleNotFoundError: pandas is hidden.
        """
        if fullname != _PANDAS or self._is_searching:
            return None
        if self.is_hidden:
            raise ModuleNotFoundError(f"No module named {_PANDAS!r}", name=_PANDAS)
        self._is_searching = True
        try:
            spec = find_spec(fullname)
        finally:
            self._is_searching = False
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def exec_module(module: ModuleType) -> None:
                import pyarrow as pa

                execute(module)
                sys.meta_path.remove(self)
                pa.lib._pandas_api.pd  # noqa: B018, SLF001 - Arrow imports pandas to return it

            spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec
