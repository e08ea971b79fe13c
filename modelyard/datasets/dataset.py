"""A dataset, whatever its kind: so many rows, columns, and any range of rows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence

from modelyard.datasets.columns import Array, Batch, Column
from modelyard.errors import InvalidInputError


class Dataset(ABC):
    """Rows under numbers from 0 on. Reading on where the last read ended costs least.

    Attributes:
        name: of the file or directory, for messages.
        rows: how many there are.
        columns: those that can be read, in the order of the file.
        unusable: why the others cannot, by name.
    """

    def __init__(self, name: str, rows: int, columns: Sequence[Column], unusable: Mapping[str, str]) -> None:
        self.name = name
        self.rows = rows
        self.columns = tuple(columns)
        self.unusable = dict(unusable)

    @property
    def main_column(self) -> str:
        """What a model of one input takes if nothing is said: the only column; empty: there is none, or are several."""
        return self.columns[0].name if len(self.columns) == 1 else ""

    def column(self, name: str) -> Column:
        """The column of a name.

        Raises:
            InvalidInputError: there is none, or it cannot be read.
        """
        for column in self.columns:
            if column.name == name:
                return column
        if name in self.unusable:
            raise InvalidInputError(f"{self.name}: column {name!r} cannot be used: {self.unusable[name]}")
        known = ", ".join(repr(column.name) for column in self.columns) or "no column"
        raise InvalidInputError(f"{self.name}: expected a column of {known:.1000}; got {name!r}")

    def read(self, begin: int, end: int, names: Sequence[str] | None = None) -> dict[str, Array]:
        """Return rows [begin, end) of some columns, or of all: each an array [end - begin, *shape].

        Raises:
            InvalidInputError: a row cannot be read (it is named), the file is corrupt, there is no such row or column.
            ModelyardError: the source's.
        """
        return self.batch(begin, end, names).whole()

    def batch(self, begin: int, end: int, names: Sequence[str] | None = None) -> Batch:
        """As `read`, but rows that cannot be read are told beside the others."""
        if not 0 <= begin <= end <= self.rows:
            raise InvalidInputError(f"{self.name}: expected rows within 0..{self.rows}, got {begin}..{end}")
        wanted = self.columns if names is None else [self.column(name) for name in dict.fromkeys(names)]
        try:
            return self._batch(begin, end, wanted)
        except InvalidInputError as error:
            raise InvalidInputError(f"{error.message} (read for rows {begin}..{end - 1})") from error

    def batches(self, begin: int, end: int, rows_at_a_time: int, names: Sequence[str] | None = None) -> Iterator[Batch]:
        """Yield rows [begin, end) in batches of so many."""
        for start in range(begin, end, rows_at_a_time):
            yield self.batch(start, min(start + rows_at_a_time, end), names)

    @abstractmethod
    def _batch(self, begin: int, end: int, columns: Sequence[Column]) -> Batch:
        """Read rows that are there."""
