"""Faults of the machine in the reference's words, as Go has them: clients, scripts and people match on them. Pure.

Whatever an Event, a status, an answer or the command line says of an exception that is not ours goes through here:
nothing of what Python would say of it (``[Errno 2]``, the name of a class or of a codec) is for others to read.
"""

from __future__ import annotations

import binascii
import errno
import os
import re

_NUMBER = re.compile(r"\[Errno (\d+)\]")
#: what asyncio and http.client raise without a number
_NUMBERS: dict[type[OSError], int] = {
    ConnectionRefusedError: errno.ECONNREFUSED,
    ConnectionResetError: errno.ECONNRESET,
    ConnectionAbortedError: errno.ECONNABORTED,
    BrokenPipeError: errno.EPIPE,
    FileNotFoundError: errno.ENOENT,
    FileExistsError: errno.EEXIST,
    PermissionError: errno.EACCES,
    IsADirectoryError: errno.EISDIR,
    NotADirectoryError: errno.ENOTDIR,
}
_TLS = {
    "WRONG_VERSION_NUMBER": "tls: first record does not look like a TLS handshake",
    "CERTIFICATE_VERIFY_FAILED": "tls: failed to verify certificate",
    "UNEXPECTED_EOF_WHILE_READING": "EOF",
}
#: OpenSSL's codes (X509_V_ERR_...) for what Go has words of its own for
_VERIFICATION = {
    2: "certificate signed by unknown authority",
    9: "certificate has expired or is not yet valid",
    10: "certificate has expired or is not yet valid",
    18: "certificate signed by unknown authority",
    19: "certificate signed by unknown authority",
    20: "certificate signed by unknown authority",
    21: "certificate signed by unknown authority",
    26: "certificate specifies an incompatible key usage",
    62: "certificate is not valid for the requested name",
    64: "certificate is not valid for the requested address",
}


def fault(error: BaseException, operation: str = "open") -> str:
    """``open /x: no such file or directory``: the cause, behind the operation and its files where they are known.

    An error that knows its operation better says so in an attribute ``operation``.
    """
    text = cause(error)
    if not isinstance(error, OSError):
        return text
    files = [os.fsdecode(each) for each in (error.filename, error.filename2) if isinstance(each, str | bytes)]
    return f"{getattr(error, 'operation', operation)} {' '.join(files)}: {text}" if files else text


def cause(error: BaseException) -> str:
    """``no such file or directory``. Of errors that are no system's, their own text."""
    if isinstance(error, UnicodeError):
        return "invalid UTF-8"
    if isinstance(error, binascii.Error):
        return "illegal base64 data"
    if isinstance(error, EOFError):
        return "EOF"
    if not isinstance(error, OSError):
        return str(error) or "unknown error"
    if (verify := getattr(error, "verify_message", "")) and isinstance(verify, str):
        words = _VERIFICATION.get(getattr(error, "verify_code", 0), verify)
        return f"tls: failed to verify certificate: x509: {words}"
    if any(kind.__name__ == "SSLError" for kind in type(error).__mro__):  # its number is none of the system's
        return _TLS.get(getattr(error, "reason", None) or "", "tls: handshake failure")
    return _of_system(error)


def _of_system(error: OSError) -> str:
    number = error.errno
    if number is None:
        number = next((number for kind, number in _NUMBERS.items() if isinstance(error, kind)), None)
    if number is None and (found := _NUMBER.search(str(error))):  # asyncio joins the texts of several attempts
        number = int(found[1])
    if number is None:
        return "i/o timeout" if isinstance(error, TimeoutError) else "connection failed"
    return system_words(number) if number > 0 else "no such host"  # negative: of the resolver


def system_words(number: int) -> str:
    """``connection refused``: the system's words with a small first letter."""
    text = os.strerror(number)
    return text[:1].lower() + text[1:]
