"""Secret (v1)."""

from __future__ import annotations

import base64
from typing import Any

from kind_harness import GONE, Cause, Invalid, KindCases, Row, Update, Warned, forbidden, invalid, required

_KEY = (
    "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or "
    "'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"
)
_ACCOUNT = "metadata.annotations[kubernetes.io/service-account.name]"
_FROZEN = "field is immutable when `immutable` is set"
_SECRET = '"<secret contents redacted>"'
_PEM = "-----BEGIN {0}-----\nAA==\n-----END {0}-----\n"


def _in_base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _of_type(kind: str, **data: str) -> dict[str, Any]:
    return {"type": f"kubernetes.io/{kind}", "data": {key: _in_base64(text) for key, text in data.items()}}


def _tls(certificate: str, key: str) -> dict[str, Any]:
    return {"type": "kubernetes.io/tls", "data": {"tls.crt": _in_base64(certificate), "tls.key": _in_base64(key)}}


CASES = KindCases(
    api_version="v1",
    kind="Secret",
    plural="secrets",
    minimal={"metadata": {"name": "a"}},
    minimal_stored={"type": "Opaque"},
    full={
        "metadata": {"name": "a", "labels": {"app": "web"}},
        "type": "example.com/credentials",
        "data": {"user": "YQ==", "both": "YQ=="},
        "stringData": {"both": "b", "password": "c"},
        "immutable": True,
    },
    full_stored={
        "type": "example.com/credentials",
        "data": {"user": "YQ==", "both": "Yg==", "password": "Yw=="},
        "immutable": True,
    },
    invalid=[
        Invalid("a key with a space", {"data": {"a b": ""}}, [invalid("data[a b]", '"a b"', _KEY)], on="minimal"),
        Invalid(
            "a key that leaves its folder",
            {"stringData": {"..a": "b"}},
            [
                invalid("data[..a]", '"..a"', "must not start with '..'"),
            ],
            on="minimal",
        ),
        Invalid(
            "more than a mebibyte",
            {"data": {"a": "A" * 800_000}, "stringData": {"b": "x" * 500_000}},
            [
                Cause("FieldValueTooLong", "data", "Too long: may not be more than 1048576 bytes"),
            ],
            on="minimal",
            together=True,
        ),
        Invalid(
            "an account's token without its account",
            _of_type("service-account-token"),
            [
                required(_ACCOUNT),
            ],
            on="minimal",
            together=True,
        ),
        Invalid(
            "credentials of a registry without them",
            _of_type("dockerconfigjson"),
            [
                required("data[.dockerconfigjson]"),
            ],
            on="minimal",
            together=True,
        ),
        Invalid(
            "the same in the old form",
            _of_type("dockercfg"),
            [
                required("data[.dockercfg]"),
            ],
            on="minimal",
            together=True,
        ),
        Invalid(
            "credentials that are no JSON",
            {
                "type": "kubernetes.io/dockercfg",
                "data": {".dockercfg": _in_base64("{")},
            },
            [
                invalid("data[.dockercfg]", _SECRET, "unexpected end of JSON input"),
            ],
            on="minimal",
            together=True,
        ),
        Invalid(
            "credentials that are a list",
            {
                "type": "kubernetes.io/dockerconfigjson",
                "data": {".dockerconfigjson": _in_base64("[]")},
            },
            [
                invalid(
                    "data[.dockerconfigjson]",
                    _SECRET,
                    "json: cannot unmarshal array into Go value of type map[string]interface {}",
                ),
            ],
            on="minimal",
            together=True,
        ),
        Invalid(
            "neither a name nor a password",
            _of_type("basic-auth", other="a"),
            [
                required("data[username]"),
                required("data[password]"),
            ],
            on="minimal",
            together=True,
        ),
        Invalid(
            "an empty key of SSH",
            {"type": "kubernetes.io/ssh-auth", "data": {"ssh-privatekey": ""}},
            [
                required("data[ssh-privatekey]"),
            ],
            on="minimal",
            together=True,
        ),
        Invalid(
            "neither a certificate nor its key",
            _of_type("tls"),
            [
                required("data[tls.crt]"),
                required("data[tls.key]"),
            ],
            on="minimal",
            together=True,
        ),
    ],
    updates=[
        Update("the type", {"type": "Other", "immutable": True}, [invalid("type", '"Other"', "field is immutable")]),
        Update("data of an immutable one", {"data": {"a": "YQ=="}}, [forbidden("data", _FROZEN)]),
        Update("by text", {"stringData": {"user": "z"}}, [forbidden("data", _FROZEN)]),
        Update(
            "immutable taken away, and the type",
            {"immutable": GONE, "type": "Other"},
            [
                invalid("type", '"Other"', "field is immutable"),
                forbidden("immutable", _FROZEN),
            ],
        ),
        Update("data", {"data": {"a": "YQ=="}}, allowed=True, on="minimal"),
    ],
    rows=[
        Row("empty", {}, ["a", "Opaque", 0, "60m"]),
        Row("three keys", {}, ["a", "example.com/credentials", 3, "60m"], on="full"),
    ],
    warned=[
        Warned("nothing", {}, []),
        Warned(
            "no certificate at all",
            _tls("a", "b"),
            [
                "tls: failed to find any PEM data in certificate input",
            ],
            on="minimal",
        ),
        Warned(
            "a key for a certificate",
            _tls(_PEM.format("RSA PRIVATE KEY"), ""),
            [
                "tls: failed to find certificate PEM data in certificate input, but did find a private key; PEM "
                "inputs may "
                "have been switched",
            ],
            on="minimal",
        ),
        Warned(
            "other things for a certificate",
            _tls(_PEM.format("X509 CRL") + _PEM.format("PRIVATE KEY"), ""),
            [
                'tls: failed to find "CERTIFICATE" PEM block in certificate input after skipping PEM blocks of the '
                "following "
                "types: [X509 CRL PRIVATE KEY]",
            ],
            on="minimal",
        ),
        Warned(
            "no key at all",
            _tls(_PEM.format("CERTIFICATE"), "b"),
            [
                "tls: failed to find any PEM data in key input",
            ],
            on="minimal",
        ),
        Warned(
            "a certificate for a key",
            _tls(_PEM.format("CERTIFICATE"), _PEM.format("CERTIFICATE")),
            [
                "tls: found a certificate rather than a key in the PEM for the private key",
            ],
            on="minimal",
        ),
        Warned(
            "other things for a key",
            _tls(_PEM.format("CERTIFICATE"), _PEM.format("EC PARAMETERS")),
            [
                'tls: failed to find PEM block with type ending in "PRIVATE KEY" in key input after skipping PEM '
                "blocks of "
                "the following types: [EC PARAMETERS]",
            ],
            on="minimal",
        ),
        Warned(
            "a certificate that is none",
            _tls(_PEM.format("CERTIFICATE"), _PEM.format("PRIVATE KEY")),
            [
                "x509: malformed certificate",
            ],
            on="minimal",
        ),
    ],
)
