"""The certificates that https connections trust, and what a refused certificate means."""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Final, Literal

from vlm.errors import SightlineError

# Of OpenSSL, curl and pip, in the order in which pip and requests prefer them to their own store.
CERTIFICATE_VARIABLES: Final = (
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
)

CertificateFault = Literal["not yet valid", "expired", "other name", "unknown issuer", "other"]

# `verify_code` of OpenSSL, and of Windows and macOS, which come from the package truststore.
# https://docs.openssl.org/master/man3/X509_STORE_CTX_get_error/
_FAULTS: Final[Mapping[CertificateFault, tuple[int, ...]]] = {
    "not yet valid": (9, -67819),
    "expired": (10, 0x800B0101, -67818),
    "other name": (62, 63, 64, 0x800B010F, -67602),
    "unknown issuer": (2, 18, 19, 20, 21, 27, 0x800B0109, 0x800B010A, -67843, -25318),
}
_PEM_MARK: Final = b"-----BEGIN "
# A DER certificate is an ASN.1 sequence with a length of two bytes.
_DER_MARK: Final = b"\x30\x82"


class CertificateFileError(SightlineError):
    """A variable names a file of certificates that cannot be used; the message has a cure."""

    code = "bad_certificate_file"


def trusted_certificates() -> ssl.SSLContext:
    """Return the context for https: the certificates that a variable names, else the system's.

    Raise CertificateFileError if that variable names something else.
    """
    variable = certificate_variable()
    if variable is None:
        # Imported here: a start does not need it.
        import httpx2

        return httpx2.create_ssl_context(trust_env=False)
    value = os.environ[variable]
    # SSL_CERT_DIR may list several folders.
    places = value.split(os.pathsep) if variable == "SSL_CERT_DIR" else [value]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    for place in map(Path, places):
        try:
            if place.is_dir():
                context.load_verify_locations(capath=place)
            else:
                context.load_verify_locations(cafile=place)
        except OSError as error:  # ssl.SSLError too
            raise CertificateFileError(_file_problem(variable, place, error)) from None
    return context


def no_certificates() -> ssl.SSLContext:
    """Return a context that trusts nothing, for http: reading the system's takes a tenth of 1 s."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def certificate_variable() -> str | None:
    """Return the variable that names the trusted certificates, None if none is set."""
    return next((name for name in CERTIFICATE_VARIABLES if os.environ.get(name)), None)


def certificate_words(error: ssl.SSLCertVerificationError, whose: str = "its") -> str:
    """Return what is wrong with a certificate and what helps, in words without a full stop.

    `whose` precedes the word "certificate", such as "the hub's".
    """
    certificate = f"{whose} certificate"
    fault = certificate_fault(error)
    if fault in ("expired", "not yet valid"):
        state = "has expired" if fault == "expired" else "is not valid yet"
        now = datetime.now().astimezone()
        return (
            f"{certificate} {state}: this machine's clock says {now:%Y-%m-%d %H:%M %Z}. If that is "
            "wrong, set the clock"
        )
    if fault == "other name":
        return (
            f"{certificate} is for another name, so something else answers there, such as the "
            "login page of a network. Open any page in a browser to check"
        )
    if fault == "unknown issuer":
        variable = certificate_variable()
        cure = (
            f"Add that issuer's certificate, as PEM, to what {variable} names"
            if variable
            else "Set SSL_CERT_FILE to a file with that issuer's certificate, as PEM"
        )
        return (
            f"{certificate} has an issuer that is not trusted here; a proxy that reads the traffic "
            f"causes this. {cure}, or use another network"
        )
    reason = getattr(error, "verify_message", None) or error.reason or "no reason given"
    return f"{certificate} is refused: {str(reason).rstrip('.')}. Use another network"


def certificate_fault(error: ssl.SSLCertVerificationError) -> CertificateFault:
    """Return the kind of fault that `error` reports."""
    code = getattr(error, "verify_code", None)
    for fault, codes in _FAULTS.items():
        # Windows' codes may come as signed numbers of 32 bits.
        if isinstance(code, int) and (code in codes or code & 0xFFFFFFFF in codes):
            return fault
    return "other"


def _file_problem(variable: str, place: Path, error: OSError) -> str:
    """Return why the certificates in `place` cannot be read; of its path only the name."""
    name = place.name or str(place)
    if isinstance(error, FileNotFoundError):
        return f"{variable} names {name}, which does not exist. Correct {variable}, or unset it."
    if not isinstance(error, ssl.SSLError):
        return f"{variable} names {name}, which cannot be read: {error.strerror}."
    try:
        content = place.read_bytes()
    except OSError:
        content = b""
    if content.startswith(_DER_MARK):
        return (
            f"{variable} names {name}, which is a certificate in DER form; PEM is needed. Convert "
            f"it with `openssl x509 -inform der -in {name} -out {place.stem}.pem` and name that "
            "file."
        )
    held = "a damaged certificate" if _PEM_MARK in content else "no certificate in PEM form"
    return f"{variable} names {name}, which holds {held}. Correct {variable}, or unset it."
