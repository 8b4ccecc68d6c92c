"""Which authorities a handshake names: the CAs whose client certificates are taken.

Clients that hold several certificates choose by it. Python's ``ssl`` verifies against loaded CAs but cannot name them,
so the calls of OpenSSL that do are made directly, on the libraries that ``ssl`` itself is bound to. Where that is
not possible (another interpreter, OpenSSL linked in) nothing is named, which every client takes for "any".
"""

from __future__ import annotations

import _ssl
import ctypes
import logging
import ssl
import sys
from pathlib import Path

log = logging.getLogger(__name__)


def name_authorities(context: ssl.SSLContext, ca_file: Path, *more: Path) -> bool:
    """Handshakes of ``context`` name the subjects of the certificates in the files. False: it cannot be done here."""
    pointer = _pointer(context)
    if pointer is None:
        return False
    try:
        library = ctypes.CDLL(_ssl.__file__)  # its own symbols, and those of the libraries it is bound to
        load, name = library.SSL_load_client_CA_file, library.SSL_CTX_set_client_CA_list
        add = library.SSL_add_file_cert_subjects_to_stack
    except (AttributeError, OSError):
        log.debug("this Python is bound to OpenSSL in another way: handshakes name no authorities")
        return False
    load.argtypes, load.restype = [ctypes.c_char_p], ctypes.c_void_p
    name.argtypes, name.restype = [ctypes.c_void_p, ctypes.c_void_p], None
    add.argtypes, add.restype = [ctypes.c_void_p, ctypes.c_char_p], ctypes.c_int
    names = load(str(ca_file).encode())
    if not names:
        return False
    for each in more:
        add(names, str(each).encode())
    name(pointer, names)  # which owns the list from now on
    return True


def _pointer(context: ssl.SSLContext) -> int | None:
    """The ``SSL_CTX`` of a context: the first member of the object in every CPython so far."""
    if sys.implementation.name != "cpython" or sys.version_info >= (3, 15) or hasattr(sys, "getobjects"):
        return None
    return ctypes.c_void_p.from_address(id(context) + object.__basicsize__).value


__all__ = ["name_authorities"]
