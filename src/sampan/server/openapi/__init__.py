"""OpenAPI documents of the built-in kinds: v2 (JSON and protobuf) and v3, as kubectl and client generators read them.

The server imports ``files`` only: it starts ``build`` in a process of its own, and then serves what that wrote. All
other modules run in that process, so neither their time nor their memory is the server's.

    schema + lightkube's docstrings → definitions ┐
    kinds → operations (parameters)               ┴→ v2 → gnostic (protobuf)
                                                  └→ v3
"""
