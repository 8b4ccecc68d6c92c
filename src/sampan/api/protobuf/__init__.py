"""Kubernetes' protobuf form of objects, read only: what typed Go clients (kubectl create) send as a body."""

from sampan.api.protobuf.decode import CONTENT_TYPE, ProtobufError, decode_object

__all__ = ["CONTENT_TYPE", "ProtobufError", "decode_object"]
