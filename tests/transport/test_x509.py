"""daphne_clone.transport.x509: names as RFC 4514 writes them, host names, and what is no certificate."""

from __future__ import annotations

import contextlib
import ssl

import pytest
from cryptography import x509 as reference
from cryptography.hazmat.primitives import serialization
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from daphne_clone.transport import x509
from tests.support.certificates import Authority

C, ST, L, O, OU, CN = (  # noqa: E741  # as X.500 calls them
    NameOID.COUNTRY_NAME,
    NameOID.STATE_OR_PROVINCE_NAME,
    NameOID.LOCALITY_NAME,
    NameOID.ORGANIZATION_NAME,
    NameOID.ORGANIZATIONAL_UNIT_NAME,
    NameOID.COMMON_NAME,
)


def attribute(kind, value, asn1_type=None):
    return reference.NameAttribute(kind, value, asn1_type)


def name(*attributes):
    return reference.Name([attribute(*each) for each in attributes])


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def written(authority):
    """Write a subject as RFC 4514 has it, by way of a certificate."""

    def write(subject):
        return x509.subject_name(der(authority.sign("any", subject=subject, file="x")))

    return write


def der(files):
    with open(files.certificate) as file:
        return ssl.PEM_cert_to_DER_cert(file.read())


# RFC 4514 section 4, and section 2.4 case by case
@pytest.mark.parametrize(
    ("subject", "expected"),
    [
        (name((CN, "client")), "CN=client"),
        (name((C, "GB"), (O, "Widget Inc."), (OU, "Sales"), (CN, "Steve")), "CN=Steve,OU=Sales,O=Widget Inc.,C=GB"),
        (name((L, "Bath"), (ST, "Somerset")), "ST=Somerset,L=Bath"),
        (name((NameOID.DOMAIN_COMPONENT, "net"), (NameOID.USER_ID, "jsmith")), "UID=jsmith,DC=net"),
        (name((NameOID.STREET_ADDRESS, "1 High St")), "STREET=1 High St"),
        (name((NameOID.SERIAL_NUMBER, "7")), "serialNumber=7"),
        (name((NameOID.EMAIL_ADDRESS, "a@b.c", _ASN1Type.IA5String)), "emailAddress=a@b.c"),
        (name((CN, 'a "b" +,;<>\\')), 'CN=a \\"b\\" \\+\\,\\;\\<\\>\\\\'),
        (name((CN, " x ")), "CN=\\ x\\ "),
        (name((CN, "# x")), "CN=\\# x"),
        (name((CN, " ")), "CN=\\ "),
        (name((CN, "a#b=c")), "CN=a#b=c"),
        (name((CN, "a\0b")), "CN=a\\00b"),
        (name((CN, "Lu\u010di\u0107 \U0001f512")), "CN=Lu\u010di\u0107 \U0001f512"),
        (name((CN, "\u4e16", _ASN1Type.BMPString)), "CN=\u4e16"),
        (name((CN, "\u4e16", _ASN1Type.UniversalString)), "CN=\u4e16"),
        # No short name: octets
        (name((NameOID.ORGANIZATION_IDENTIFIER, "VATES")), "2.5.4.97=#0c055641544553"),
        (reference.Name([]), ""),
    ],
    ids=str,
)
def test_a_subject_is_written_as_rfc_4514_says(written, subject, expected):
    assert written(subject) == expected


def test_a_value_that_is_not_in_its_own_encoding_is_shown_octet_by_octet(authority):
    whole = der(authority.sign("abcd"))
    assert x509.subject_name(whole.replace(b"abcd", b"ab\xff\xfe")) == "CN=#0c046162fffe"


def test_parts_of_one_relative_name_are_joined(written):
    both = reference.RelativeDistinguishedName([attribute(OU, "Sales"), attribute(CN, "J. Smith")])
    subject = reference.Name([reference.RelativeDistinguishedName([attribute(O, "Example")]), both])
    first, second = written(subject).split(",")
    assert set(first.split("+")) == {"OU=Sales", "CN=J. Smith"}
    assert second == "O=Example"


@given(
    st.lists(
        st.tuples(
            st.sampled_from([O, OU, CN, L, ST]),
            st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=16),
        ),
        max_size=5,
    )
)
def test_what_is_written_is_read_back_by_another_reader(attributes):
    subject = name(*attributes)
    text = ",".join(reversed([x509._relative_name(each.content) for each in _sets(subject.public_bytes())]))
    assert reference.Name.from_rfc4514_string(text) == subject


def _sets(der_name):
    (outer,) = x509._elements(der_name)
    return x509._elements(outer.content)


def test_host_names_are_found_in_lower_case_and_addresses_are_none(authority):
    files = authority.sign("hosts", ["WWW.Example.org", "*.example.org", "127.0.0.1", "::1"])
    assert x509.dns_names(der(files)) == ["www.example.org", "*.example.org"]
    assert x509.dns_names(authority.certificate.public_bytes(serialization.Encoding.DER)) == []


@pytest.mark.parametrize(
    "data",
    [b"", b"x", b"0", b"0\x80", b"0\x85\x01\x01\x01\x01\x01", b"0\x82\x01", b"0\x03\x30\x01", b"\x30\x02\x30\x00"],
    ids=repr,
)
def test_what_is_no_certificate_is_a_value_error(data):
    with pytest.raises(ValueError, match="not |missing|values to unpack"):
        x509.subject_name(data)
    with pytest.raises(ValueError, match="not |missing|values to unpack"):
        x509.dns_names(data)


@pytest.fixture(scope="module")
def certificate(authority):
    return der(authority.sign("whole", ["a.example"]))


@given(data=st.data())
def test_a_damaged_certificate_is_read_or_is_a_value_error(certificate, data):
    damaged = bytearray(certificate)
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    for read in (x509.subject_name, x509.dns_names):
        with contextlib.suppress(ValueError):
            read(bytes(damaged))
