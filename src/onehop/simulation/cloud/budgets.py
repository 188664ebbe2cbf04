"""How much of what costs others a port may use: a bucket each, that fills up with time."""

from __future__ import annotations

from dataclasses import dataclass

from onehop.simulation.state import Budget


@dataclass(frozen=True, slots=True)
class Allowance:
    """`burst` at once, and `rate` per second after that."""

    burst: float
    rate: float


ALLOWANCES: dict[Budget, Allowance] = {
    Budget.ICMP_ERROR: Allowance(50, 10),
    Budget.ASK: Allowance(200, 100),
    Budget.FLOOD: Allowance(400, 200),
    Budget.SLOW_PATH: Allowance(200, 50),
}


class Budgets:
    """The buckets of one host's ports."""

    def __init__(self, allowances: dict[Budget, Allowance] | None = None) -> None:
        self._allowances = ALLOWANCES if allowances is None else allowances
        self._spent: dict[tuple[str, Budget], tuple[float, float]] = {}  # (how much, when that was so)

    def spend(self, port: str, budget: Budget, now: float) -> None:
        if budget in self._allowances:
            self._spent[port, budget] = self._level(port, budget, now) + 1, now

    def exhausted(self, now: float) -> frozenset[tuple[str, Budget]]:
        """What is used up."""
        return frozenset(
            key for key in self._spent if self._level(*key, now) > self._allowances[key[1]].burst - 1
        )

    def _level(self, port: str, budget: Budget, now: float) -> float:
        spent, when = self._spent.get((port, budget), (0.0, now))
        return max(0.0, spent - (now - when) * self._allowances[budget].rate)
