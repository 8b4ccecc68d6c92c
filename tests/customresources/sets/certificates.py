"""Certificates and their issuers, after cert-manager: alternatives, deep solvers with pods in them."""

from __future__ import annotations

from typing import Any

from tests.customresources.sets import gateways, parts

CERTIFICATES = "certs.sets.example.com"
ACME = f"acme.{CERTIFICATES}"


def _issuer_ref() -> parts.Schema:
    return parts.obj({"name": parts.text(), "kind": parts.text(), "group": parts.text()}, "name")


def _solver() -> parts.Schema:
    pod = parts.obj(
        {
            "metadata": parts.obj({"labels": parts.of_texts(), "annotations": parts.of_texts()}),
            "spec": parts.obj(
                {
                    "affinity": parts.builtin(parts.CORE + "Affinity"),
                    "tolerations": parts.many(parts.builtin(parts.CORE + "Toleration")),
                    "nodeSelector": parts.of_texts(),
                    "priorityClassName": parts.text(),
                    "serviceAccountName": parts.text(),
                    "imagePullSecrets": parts.many(
                        parts.obj({"name": parts.text(default="")}, **{"x-kubernetes-map-type": "atomic"})
                    ),
                    "securityContext": parts.builtin(parts.CORE + "PodSecurityContext"),
                }
            ),
        }
    )
    providers = {
        name: parts.obj(
            {
                "email": parts.text(),
                "host": parts.text(format="hostname"),
                "region": parts.text(),
                "zone": parts.text(),
                "tokenSecretRef": parts.secret_key(),
                "keySecretRef": parts.secret_key(),
                "timeout": parts.duration(),
            },
            "tokenSecretRef",
        )
        for name in ("cloudone", "cloudtwo", "cloudthree", "anydns", "webhooks", "rfc2136")
    }
    return parts.obj(
        {
            "selector": parts.obj(
                {
                    "matchLabels": parts.of_texts(),
                    "dnsNames": parts.many(parts.text()),
                    "dnsZones": parts.many(parts.text()),
                }
            ),
            "dns01": parts.obj({"cnameStrategy": parts.text(enum=["None", "Follow"]), **providers}),
            "http01": parts.obj(
                {
                    "ingress": parts.obj(
                        {"class": parts.text(), "name": parts.text(), "serviceType": parts.text(), "podTemplate": pod}
                    ),
                    "gatewayHTTPRoute": parts.obj(
                        {
                            "labels": parts.of_texts(),
                            "parentRefs": parts.many(gateways.parent_ref(), maxItems=32),
                            "podTemplate": pod,
                        }
                    ),
                }
            ),
        }
    )


def _issuer() -> parts.Schema:
    vault_auth = parts.obj(
        {
            "appRole": parts.obj(
                {"path": parts.text(), "roleId": parts.text(), "secretRef": parts.secret_key()},
                "path",
                "roleId",
                "secretRef",
            ),
            "tokenSecretRef": parts.secret_key(),
            "kubernetes": parts.obj(
                {"mountPath": parts.text(), "role": parts.text(), "secretRef": parts.secret_key()}, "role"
            ),
        }
    )
    spec = parts.obj(
        {
            "acme": parts.obj(
                {
                    "email": parts.text(),
                    "server": parts.text(),
                    "caBundle": parts.text(format="byte"),
                    "privateKeySecretRef": parts.secret_key(),
                    "solvers": parts.many(_solver()),
                    "disableAccountKeyGeneration": parts.boolean(),
                },
                "server",
                "privateKeySecretRef",
            ),
            "ca": parts.obj(
                {"secretName": parts.text(), "crlDistributionPoints": parts.many(parts.text())}, "secretName"
            ),
            "selfSigned": parts.obj({"crlDistributionPoints": parts.many(parts.text())}),
            "vault": parts.obj(
                {
                    "server": parts.text(),
                    "path": parts.text(),
                    "auth": vault_auth,
                    "caBundle": parts.text(format="byte"),
                },
                "server",
            ),
        }
    )
    return {**spec, "maxProperties": 1}


def certificates() -> list[dict[str, Any]]:
    status = parts.obj(
        {"conditions": parts.conditions(), "notAfter": parts.text(format="date-time"), "revision": parts.integer()}
    )
    key = parts.obj(
        {
            "algorithm": parts.text(enum=["RSA", "ECDSA", "Ed25519"], default="RSA"),
            "encoding": parts.text(enum=["PKCS1", "PKCS8"]),
            "rotationPolicy": parts.text(enum=["Never", "Always"]),
            "size": parts.integer(maximum=8192),
        }
    )
    usages = parts.many(
        parts.text(enum=["signing", "digital signature", "key agreement", "server auth", "client auth", "any"])
    )
    certificate = parts.obj(
        {
            "commonName": parts.text(maxLength=64),
            "dnsNames": parts.many(parts.text(), **{"x-kubernetes-list-type": "set"}),
            "duration": parts.duration(),
            "renewBefore": parts.duration(),
            "issuerRef": _issuer_ref(),
            "isCA": parts.boolean(),
            "keystores": parts.obj(
                {
                    kind: parts.obj({"create": parts.boolean(), "passwordSecretRef": parts.secret_key()}, "create")
                    for kind in ("jks", "pkcs12")
                }
            ),
            "privateKey": key,
            "secretName": parts.text(minLength=1),
            "secretTemplate": parts.obj({"labels": parts.of_texts(), "annotations": parts.of_texts()}),
            "subject": parts.obj(
                {name: parts.many(parts.text()) for name in ("countries", "localities", "organizations", "provinces")}
            ),
            "usages": usages,
            "additionalOutputFormats": parts.by_key(
                parts.obj({"type": parts.text(enum=["DER", "CombinedPEM"])}, "type"), "type"
            ),
        },
        "secretName",
        "issuerRef",
        **{
            "x-kubernetes-validations": [
                parts.rule("has(self.commonName) || has(self.dnsNames)", "a name is required"),
                parts.rule("!has(self.isCA) || !self.isCA || has(self.commonName)", "an authority has a common name"),
            ]
        },
    )
    request = parts.obj(
        {
            "request": parts.text(format="byte"),
            "duration": parts.duration(),
            "isCA": parts.boolean(),
            "issuerRef": _issuer_ref(),
            "usages": usages,
            "username": parts.text(),
            "extra": {"type": "object", "additionalProperties": parts.many(parts.text())},
        },
        "request",
        "issuerRef",
        **{"x-kubernetes-validations": [parts.rule("self.request == oldSelf.request", "request is immutable")]},
    )
    challenge = parts.obj(
        {
            "token": parts.text(),
            "type": parts.text(enum=["HTTP-01", "DNS-01"]),
            "url": parts.text(format="uri"),
            "solver": _solver(),
        },
        "token",
        "type",
        "url",
    )
    order = parts.obj(
        {"request": parts.text(format="byte"), "commonName": parts.text(), "issuerRef": _issuer_ref()}, "request"
    )
    return [
        parts.definition(
            CERTIFICATES, "Certificate", parts.version("v1", certificate, status), shortNames=["cert", "certs"]
        ),
        parts.definition(CERTIFICATES, "CertificateRequest", parts.version("v1", request, status), shortNames=["cr"]),
        parts.definition(CERTIFICATES, "Issuer", parts.version("v1", _issuer(), status)),
        parts.definition(CERTIFICATES, "ClusterIssuer", parts.version("v1", _issuer(), status), scope="Cluster"),
        parts.definition(ACME, "Challenge", parts.version("v1", challenge, status)),
        parts.definition(ACME, "Order", parts.version("v1", order, status)),
    ]


def certificate() -> dict[str, Any]:
    return {
        "apiVersion": f"{CERTIFICATES}/v1",
        "kind": "Certificate",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {
            "secretName": "web-tls",
            "dnsNames": ["example.com", "www.example.com"],
            "issuerRef": {"name": "ca", "kind": "Issuer"},
            "privateKey": {"size": 4096},
        },
    }
