"""Errors of the machine in the reference's words, never in Python's."""

from __future__ import annotations

import asyncio
import binascii
import errno
import http.client
import os
import socket
import ssl
from pathlib import Path

import pytest

from sampan.api.faults import cause, fault


def test_a_file_that_is_missing_is_told_as_go_tells_it(tmp_path: Path) -> None:
    with pytest.raises(OSError) as caught:
        (tmp_path / "f").read_text()
    assert fault(caught.value) == f"open {tmp_path}/f: no such file or directory"
    with pytest.raises(OSError) as caught:
        (tmp_path / "a" / "b").mkdir()
    assert fault(caught.value, "mkdir") == f"mkdir {tmp_path}/a/b: no such file or directory"


def test_both_files_of_an_operation_are_named(tmp_path: Path) -> None:
    with pytest.raises(OSError) as caught:
        (tmp_path / "f").rename(tmp_path / "g")
    assert fault(caught.value, "rename") == f"rename {tmp_path}/f {tmp_path}/g: no such file or directory"


def test_an_error_may_know_its_operation() -> None:
    class MountFault(OSError):
        operation = "mount"

    assert fault(MountFault(errno.EPERM, "x", "/v")) == "mount /v: operation not permitted"


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), "no space left on device"),
        (ConnectionRefusedError(111, "Connect call failed ('10.0.0.1', 80)"), "connection refused"),
        (
            OSError("Multiple exceptions: [Errno 111] Connect call failed ('::1', 1), [Errno 111] x"),
            "connection refused",
        ),
        (http.client.RemoteDisconnected("Remote end closed connection"), "connection reset by peer"),
        (BrokenPipeError(), "broken pipe"),
        (socket.gaierror(-2, "Name or service not known"), "no such host"),
        (TimeoutError(), "i/o timeout"),
        (asyncio.IncompleteReadError(b"", 1), "EOF"),
        (ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong version number (_ssl.c:1006)"), "tls: handshake failure"),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"), "invalid UTF-8"),
        (binascii.Error("Incorrect padding"), "illegal base64 data"),
        (ValueError("line 2: expected NAME=value"), "line 2: expected NAME=value"),
        (OSError(), "connection failed"),
        (ValueError(), "unknown error"),
    ],
)
def test_what_python_says_is_not_repeated(error: Exception, words: str) -> None:
    assert cause(error) == words


def test_no_error_number_of_the_system_shows_as_python_writes_it() -> None:
    for number in errno.errorcode:
        text = fault(OSError(number, os.strerror(number), "/x"))
        assert text.startswith("open /x: ")
        assert "Errno" not in text


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (19, "certificate signed by unknown authority"),
        (10, "certificate has expired or is not yet valid"),
        (1, "what OpenSSL says"),
    ],
)
def test_a_certificate_that_proves_nothing_is_told_in_gos_words(code: int, words: str) -> None:
    error = ssl.SSLCertVerificationError(1, "refused")
    error.verify_code, error.verify_message = code, "what OpenSSL says"
    assert cause(error) == f"tls: failed to verify certificate: x509: {words}"
