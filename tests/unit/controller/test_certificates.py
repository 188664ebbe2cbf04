"""Certificates are made once, kept, and made anew when they have to be."""

from __future__ import annotations

import ssl
from pathlib import Path

from cryptography import x509

from onehop.controller import certificates


def names_of(path: Path) -> set[str]:
    certificate = x509.load_pem_x509_certificate(path.read_bytes())
    held = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return {str(name.value) for name in held}


def test_what_is_made_is_kept(tmp_path: Path) -> None:
    first = [path.read_bytes() for path in certificates.ensure(tmp_path, ["ctl.example.org", "192.0.2.1"])]
    assert [path.read_bytes() for path in certificates.ensure(tmp_path, ["192.0.2.1"])] == first
    assert {"ctl.example.org", "192.0.2.1", "127.0.0.1", "::1"} <= names_of(tmp_path / "server.pem")


def test_another_name_makes_another_certificate_of_the_same_authority(tmp_path: Path) -> None:
    certificate, _, ca = certificates.ensure(tmp_path, [])
    before = certificate.read_bytes(), ca.read_bytes()
    certificates.ensure(tmp_path, ["new.example.org"])
    assert ca.read_bytes() == before[1]
    assert certificate.read_bytes() != before[0]
    assert "new.example.org" in names_of(certificate)


def test_clients_that_check_everything_take_it(tmp_path: Path) -> None:
    certificate, key, ca = certificates.ensure(tmp_path, [])
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate, key)
    client = ssl.create_default_context(cafile=str(ca))
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = client.wrap_bio(incoming, outgoing, server_hostname="127.0.0.1")
    theirs = server.wrap_bio(outgoing, incoming, server_side=True)
    for _ in range(4):
        for side in (ours, theirs):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    assert ours.version() == "TLSv1.3"
