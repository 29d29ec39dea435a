"""A range of values, and the ranges of sums, products and functions of them."""

import math
from collections.abc import Callable
from dataclasses import dataclass

_ROUNDING = 1e-6


@dataclass(frozen=True)
class ValueRange:
    """The least and the greatest value of a tensor; infinite where they are not known.

    Example:
        >>> ValueRange(0, 1) * ValueRange.of_number(-2) + ValueRange.of_number(1)
        ValueRange(low=-1.0, high=1.0)
    """

    low: float = -math.inf
    high: float = math.inf

    @classmethod
    def of_number(cls, number: float) -> "ValueRange":
        """The range of a single number."""
        return cls(float(number), float(number))

    def within(self, low: float, high: float) -> bool:
        """Whether all values lie between two numbers, up to rounding."""
        return low - _ROUNDING <= self.low and self.high <= high + _ROUNDING

    def union(self, other: "ValueRange") -> "ValueRange":
        """The range of values that are in one range or in the other."""
        return ValueRange(min(self.low, other.low), max(self.high, other.high))

    def limited(self, least: float | None, greatest: float | None) -> "ValueRange":
        """The range after a clamp; None for no limit."""
        low = -math.inf if least is None else least
        high = math.inf if greatest is None else greatest
        return ValueRange(*(float(min(max(end, low), high)) for end in (self.low, self.high)))

    def increasing(self, function: Callable[[float], float]) -> "ValueRange":
        """The range of a function that only grows and has no value where it raises an error."""

        def value(end: float, otherwise: float) -> float:
            try:
                return float(function(end))
            except (ValueError, OverflowError):  # the logarithm of 0, the exponential of 1000
                return otherwise

        return ValueRange(value(self.low, -math.inf), value(self.high, math.inf))

    def __add__(self, other: "ValueRange") -> "ValueRange":
        return ValueRange(self.low + other.low, self.high + other.high)

    def __neg__(self) -> "ValueRange":
        return ValueRange(-self.high, -self.low)

    def __mul__(self, other: "ValueRange") -> "ValueRange":
        products = [
            0.0 if 0 in (first, second) else first * second  # also of infinity
            for first in (self.low, self.high)
            for second in (other.low, other.high)
        ]
        return ValueRange(min(products), max(products))

    def __abs__(self) -> "ValueRange":
        least = max(self.low, -self.high, 0.0)
        return ValueRange(least, max(abs(self.low), abs(self.high)))

    def reciprocal(self) -> "ValueRange":
        """The range of 1 / x."""
        if self.low < 0 <= self.high:
            return ValueRange()
        return ValueRange(
            1 / self.high if self.high else math.inf, 1 / self.low if self.low else math.inf
        )

    def power(self, exponent: float) -> "ValueRange":
        """The range of x to the power of a number."""
        if exponent == -1:
            return self.reciprocal()
        if exponent > 0 and self.low >= 0:
            return ValueRange(self.low**exponent, self.high**exponent)
        if exponent > 0 and exponent % 2 == 0:
            return ValueRange(0.0, math.inf)
        return ValueRange()
