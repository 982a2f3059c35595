"""Whole numbers in digits that a script adds and subtracts."""


def signed_digits(value: int) -> list[tuple[int, int]]:
    """(position, ±1) of the non-adjacent form, which has the fewest digits that are not zero."""
    digits, position = [], 0
    while value:
        if value & 1:
            digit = 2 - (value & 3)
            digits.append((position, digit))
            value -= digit
        value >>= 1
        position += 1
    return digits
