"""Tells numbers that people are known by from numbers that look like them: by their check digits and what is issued."""

from __future__ import annotations

from typing import Final

IBAN_CHARS: Final[dict[str, int]] = {
    # IBAN registry (SWIFT, release 99, 2024): length by country
    **dict.fromkeys(("NO",), 15),
    **dict.fromkeys(("BE",), 16),
    **dict.fromkeys(("DK", "FI", "FO", "GL", "NL", "SD"), 18),
    **dict.fromkeys(("MK", "SI"), 19),
    **dict.fromkeys(("AT", "BA", "EE", "KZ", "LT", "LU", "XK"), 20),
    **dict.fromkeys(("CH", "CR", "HR", "LI", "LV"), 21),
    **dict.fromkeys(("BG", "BH", "DE", "GB", "GE", "IE", "ME", "RS", "VA"), 22),
    **dict.fromkeys(("AE", "GI", "IL", "IQ", "OM", "SO", "TL"), 23),
    **dict.fromkeys(("AD", "CZ", "ES", "MD", "PK", "RO", "SA", "SE", "SK", "TN", "VG"), 24),
    **dict.fromkeys(("LY", "PT", "ST"), 25),
    **dict.fromkeys(("IS", "TR"), 26),
    **dict.fromkeys(("BI", "DJ", "FR", "GR", "IT", "MC", "MR", "SM"), 27),
    **dict.fromkeys(("AL", "AZ", "BY", "CY", "DO", "GT", "HN", "HU", "LB", "NI", "PL", "SV"), 28),
    **dict.fromkeys(("BR", "EG", "PS", "QA", "UA"), 29),
    **dict.fromkeys(("JO", "KW", "MU", "YE"), 30),
    **dict.fromkeys(("MT", "SC"), 31),
    **dict.fromkeys(("LC",), 32),
    **dict.fromkeys(("RU",), 33),
}


def digits_of(text: str) -> str:
    """Return the digits of a text, without what groups them."""
    return "".join(character for character in text if "0" <= character <= "9")


def valid_card(text: str) -> bool:
    """Return whether the digits end in their check digit (H. P. Luhn, US patent 2,950,048, 1960)."""
    digits = [int(digit) for digit in reversed(digits_of(text))]
    doubled = [digit * 2 - 9 * (digit > 4) for digit in digits[1::2]]
    return any(digits) and (sum(digits[::2]) + sum(doubled)) % 10 == 0


def valid_nhs_number(text: str) -> bool:
    """Return whether ten digits are an NHS number (NHS Data Dictionary: weights 10 to 2, modulus 11).

    >>> valid_nhs_number("943 476 5919")
    True
    """
    digits = [int(digit) for digit in digits_of(text)]
    if len(digits) != 10 or len(set(digits)) == 1:
        return False
    check = 11 - sum(digit * weight for digit, weight in zip(digits, range(10, 1, -1), strict=False)) % 11
    return check % 11 == digits[9]  # a remainder of 10 is never issued


def valid_iban(text: str) -> bool:
    """Return whether a text without spaces is an IBAN (ISO 13616: its country's length; ISO 7064, modulus 97).

    >>> valid_iban("GB82WEST12345698765432")
    True
    """
    if IBAN_CHARS.get(text[:2]) != len(text):
        return False
    turned = text[4:] + text[:4]
    return int("".join(str(int(character, 36)) for character in turned)) % 97 == 1
