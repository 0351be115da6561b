"""The names in a certificate: whom it is for, and what its subject is called (RFC 5280, RFC 4514); no TLS here.

Only names are read, of certificates that OpenSSL has taken already; what makes one valid is OpenSSL's business. Why no
library does this: docs/decisions/0011-names-in-certificates.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

# Tags of DER (X.690 section 8): universal, and those that RFC 5280 assigns.
_OCTET_STRING: Final = 0x04
_OBJECT_IDENTIFIER: Final = 0x06
_SEQUENCE: Final = 0x30
_SET: Final = 0x31
_VERSION: Final = 0xA0
_EXTENSIONS: Final = 0xA3
_DNS_NAME: Final = 0x82

_SUBJECT_ALT_NAME: Final = "2.5.29.17"

# The types of string that a DirectoryString or an IA5String may be (RFC 5280 appendix A). T61 is in practice Latin-1.
_DECODERS: Final[dict[int, str]] = {
    0x0C: "utf-8",
    0x12: "ascii",  # NumericString
    0x13: "ascii",  # PrintableString
    0x14: "latin-1",  # T61String
    0x16: "ascii",  # IA5String
    0x1C: "utf-32-be",  # UniversalString
    0x1E: "utf-16-be",  # BMPString
}

# RFC 4514 section 3 has the first nine; the others are descriptors of RFC 4519, and of RFC 2985 the one that people put
# into the certificates they make themselves. A type that is not here is written as its numbers.
_SHORT_NAMES: Final[dict[str, str]] = {
    "2.5.4.3": "CN",
    "2.5.4.7": "L",
    "2.5.4.8": "ST",
    "2.5.4.10": "O",
    "2.5.4.11": "OU",
    "2.5.4.6": "C",
    "2.5.4.9": "STREET",
    "0.9.2342.19200300.100.1.25": "DC",
    "0.9.2342.19200300.100.1.1": "UID",
    "2.5.4.4": "sn",
    "2.5.4.5": "serialNumber",
    "2.5.4.12": "title",
    "2.5.4.17": "postalCode",
    "2.5.4.42": "givenName",
    "2.5.4.43": "initials",
    "2.5.4.44": "generationQualifier",
    "2.5.4.46": "dnQualifier",
    "1.2.840.113549.1.9.1": "emailAddress",
}

_SPECIAL: Final = re.compile(r'["+,;<>\\]')


class _Element(NamedTuple):
    tag: int
    content: bytes
    whole: bytes  # with its tag and its length


def subject_name(certificate: bytes) -> str:
    """Return the subject's distinguished name in the form of RFC 4514: the last part first, as LDAP has it.

    Args:
        certificate: In DER.

    Raises:
        ValueError: It is no certificate.
    """
    subject = _fields(certificate)[4]
    relative_names = [_relative_name(each.content) for each in _elements(subject.content, _SET)]
    return ",".join(reversed(relative_names))


def dns_names(certificate: bytes) -> list[str]:
    """Return the host names that a certificate is for (subjectAltName), in lower case; ``*.`` may begin one.

    Args:
        certificate: In DER.

    Raises:
        ValueError: It is no certificate.
    """
    for extension in _extensions(certificate):
        identifier, *_, value = _elements(extension.content)
        if _dotted(identifier) == _SUBJECT_ALT_NAME and value.tag == _OCTET_STRING:
            (names,) = _elements(value.content, _SEQUENCE)
            return [
                name.content.decode("ascii", "replace").lower()
                for name in _elements(names.content)
                if name.tag == _DNS_NAME
            ]
    return []


def _fields(certificate: bytes) -> list[_Element]:
    """The fields of the TBSCertificate, but for its version, which may be missing (RFC 5280 section 4.1)."""
    (outer,) = _elements(certificate, _SEQUENCE)
    signed, *_ = _elements(outer.content)
    fields = list(_elements(signed.content))
    if fields and fields[0].tag == _VERSION:
        del fields[0]
    if len(fields) < 6:  # serial, signature, issuer, validity, subject, key
        raise ValueError("not a certificate")
    return fields


def _extensions(certificate: bytes) -> Iterator[_Element]:
    for field in _fields(certificate)[6:]:
        if field.tag == _EXTENSIONS:
            (listed,) = _elements(field.content, _SEQUENCE)
            yield from _elements(listed.content, _SEQUENCE)


def _relative_name(content: bytes) -> str:
    # RFC 4514 section 2.2: the parts of a set in any order; theirs
    return "+".join(_attribute(each.content) for each in _elements(content, _SEQUENCE))


def _attribute(content: bytes) -> str:
    kind, value = _elements(content)
    dotted = _dotted(kind)
    text = _text(value)
    if dotted not in _SHORT_NAMES or text is None:
        # Section 2.4: what has no short name, or is no string, is shown octet by octet.
        return f"{_SHORT_NAMES.get(dotted, dotted)}=#{value.whole.hex()}"
    return f"{_SHORT_NAMES[dotted]}={_escaped(text)}"


def _text(value: _Element) -> str | None:
    codec = _DECODERS.get(value.tag)
    if codec is None:
        return None
    try:
        return value.content.decode(codec)
    except UnicodeDecodeError:
        return None


def _escaped(text: str) -> str:
    """Section 2.4: what would end a value or begin another kind of one, and NUL."""
    escaped = _SPECIAL.sub(r"\\\g<0>", text).replace("\0", "\\00")
    if escaped.endswith(" "):
        escaped = escaped[:-1] + "\\ "
    if escaped.startswith((" ", "#")):
        escaped = "\\" + escaped
    return escaped


def _dotted(identifier: _Element) -> str:
    """An object identifier as people write it (X.690 section 8.19)."""
    if identifier.tag != _OBJECT_IDENTIFIER or not identifier.content or identifier.content[-1] & 0x80:
        raise ValueError("not an object identifier")
    numbers = []
    number = 0
    for octet in identifier.content:
        number = number << 7 | octet & 0x7F
        if not octet & 0x80:
            numbers.append(number)
            number = 0
    first = min(numbers[0] // 40, 2)
    return ".".join(map(str, (first, numbers[0] - first * 40, *numbers[1:])))


def _elements(data: bytes, expected_tag: int | None = None) -> Iterator[_Element]:
    """Split DER into the elements that stand beside one another; each of one tag, if one is given."""
    position = 0
    while position < len(data):
        start = position
        tag, position = data[position], position + 1
        length, position = _length(data, position)
        end = position + length
        if end > len(data) or tag & 0x1F == 0x1F or expected_tag not in (None, tag):
            raise ValueError("not the DER that was expected")
        yield _Element(tag, data[position:end], data[start:end])
        position = end


def _length(data: bytes, position: int) -> tuple[int, int]:
    if position >= len(data):
        raise ValueError("a length is missing")
    first, position = data[position], position + 1
    if first < 0x80:
        return first, position
    count = first & 0x7F
    if not 0 < count <= 4 or position + count > len(data):
        raise ValueError("not a length of DER")
    return int.from_bytes(data[position : position + count], "big"), position + count
