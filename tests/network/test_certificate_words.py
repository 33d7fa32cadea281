"""Each fault of a certificate in words, by the codes of OpenSSL, Windows and macOS."""

from __future__ import annotations

import ssl

import pytest

from vlm.network.certificates import CERTIFICATE_VARIABLES, CertificateFault, certificate_words

WORDS: dict[CertificateFault, str] = {
    "expired": "its certificate has expired: this machine's clock says 2",
    "not yet valid": "its certificate is not valid yet: this machine's clock says 2",
    "other name": "its certificate is for another name",
    "unknown issuer": "its certificate has an issuer that is not trusted here",
    "other": "its certificate is refused: the key is too small",
}
CODES: list[tuple[object, CertificateFault]] = [
    (10, "expired"),
    (0x800B0101, "expired"),
    (-67818, "expired"),
    (9, "not yet valid"),
    (-67819, "not yet valid"),
    (62, "other name"),
    (64, "other name"),
    (0x800B010F, "other name"),
    (0x800B010F - 2**32, "other name"),
    (18, "unknown issuer"),
    (19, "unknown issuer"),
    (20, "unknown issuer"),
    (21, "unknown issuer"),
    (0x800B0109, "unknown issuer"),
    (0x800B010A - 2**32, "unknown issuer"),
    (-67843, "unknown issuer"),
    (66, "other"),
    (23, "other"),
    (0, "other"),
    (None, "other"),
]


@pytest.mark.parametrize(("code", "fault"), CODES)
def test_each_code_has_the_words_of_its_fault(
    monkeypatch: pytest.MonkeyPatch, code: object, fault: CertificateFault
) -> None:
    for name in CERTIFICATE_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    error = ssl.SSLCertVerificationError("certificate verify failed")
    error.verify_message = "the key is too small."
    if code is not None:
        error.verify_code = code  # type: ignore[assignment]
    words = certificate_words(error)
    assert words.startswith(WORDS[fault])
    assert not words.endswith(".")
