"""What an hour of a machine costs: a list beside the store, never asked of the network (pure but for its reader)."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import Field

from store.definition import Definition, DefinitionError, read_definition

PRICES = "prices.toml"  # in the store's folder


class PriceError(DefinitionError):
    """A list of prices that cannot be used."""


class Price(Definition):
    """What an hour of a whole machine costs, by whom and when it was said."""

    machine: str = Field(min_length=1)  # the machine as pages name it, or a part of that name
    per_hour: float = Field(gt=0)
    currency: str = Field(min_length=1)
    source: str = Field(min_length=1)
    date: datetime.date

    @property
    def words(self) -> str:
        """The price with where it comes from."""
        return f"{self.per_hour:g} {self.currency} per hour ({self.source}, {self.date.isoformat()})"


class PriceList(Definition):
    """The file: one table `[[price]]` per machine and day."""

    price: list[Price]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """The prices that are known, and the machine of each environment in words."""

    machines: Mapping[str, str] = field(default_factory=dict)
    prices: Sequence[Price] = ()

    def machine(self, environment_id: str) -> str:
        """Return the machine of an environment in words; its id where nobody recorded what it is."""
        return self.machines.get(environment_id, environment_id)

    def of(self, environment_id: str) -> Price | None:
        """Return the price of an environment's machine: the newest of those that name it; none where none does."""
        name = self.machine(environment_id).casefold()
        mine = [price for price in self.prices if price.machine.casefold() in name]
        return max(mine, key=lambda price: (price.date, len(price.machine)), default=None)


def read_prices(folder: Path) -> tuple[Price, ...]:
    """Return the prices that stand in a store's folder; nothing where there is no such file.

    Raises
    ------
    PriceError
        If the file is no list of prices.
    """
    path = folder / PRICES
    return tuple(read_definition(path, PriceList, PriceError).price) if path.is_file() else ()
