"""Kubernetes' protobuf form of objects: what typed Go clients send as a body, and what they ask for as an answer."""

from sampan.api.protobuf.decode import ProtobufError, decode_object
from sampan.api.protobuf.encode import (
    CONTENT_TYPE,
    ListForm,
    NotEncodable,
    encodable,
    encode_event,
    encode_object,
)

__all__ = [
    "CONTENT_TYPE",
    "ListForm",
    "NotEncodable",
    "ProtobufError",
    "decode_object",
    "encodable",
    "encode_event",
    "encode_object",
]
