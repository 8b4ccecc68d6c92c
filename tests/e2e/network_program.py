"""What runs in the pods of the network's requirements: answers on ports, and asks others when a test says so.

Handed to the pod's interpreter as text, so it imports the standard library alone, and little of that: many pods start
at once. Arguments are what it answers on: ``http:8080``, ``udp:8081``, ``https:8443`` with the key and certificate in
``/tls``. Over HTTP it does, in the pod's own network:

- ``/ask?protocol=&host=&port=&times=``: asks another of its kind (``http``, ``udp``); who answered each
  time, or why nobody did; ``from``: whom that one saw asking
- ``/resolve?name=``: the addresses of a name, as the C library finds them
- ``/query?server=&message=``: the answers to a DNS message by UDP and by TCP, none where nobody answers; all are
  hexadecimal
- ``/read?file=``: a file
- anything else: who answers, and what was asked, by which method and from where
"""

import json
import os
import signal
import socket
import sys
import threading
from urllib.parse import parse_qs, urlsplit

NAME = os.environ["POD"]
#: longer than a lost packet takes to be sent again, thrice
PATIENCE_SECONDS = 8.0


def main(ports: list[str]) -> None:
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))  # the first process of a container has to ask for it
    # Nobody is answered before all ports are open: who is ready is so on each.
    opened = []
    for each in ports:
        protocol, _, port = each.partition(":")
        opened.append((_SERVE[protocol], _OPEN[protocol](int(port))))
    for serve, listening in opened:
        threading.Thread(target=serve, args=(listening,)).start()


def open_tcp(port: int) -> socket.socket:
    return socket.create_server(("", port), backlog=128)


def open_udp(port: int) -> socket.socket:
    listening = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    listening.bind(("", port))
    return listening


def open_tls(port: int) -> socket.socket:
    import ssl  # it takes a while, and few need it

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain("/tls/tls.crt", "/tls/tls.key")
    return context.wrap_socket(open_tcp(port), server_side=True)


def serve_http(listening: socket.socket) -> None:
    while True:
        connection, client = listening.accept()
        threading.Thread(target=answer_http, args=(connection, client[0])).start()


def serve_https(listening: socket.socket) -> None:
    while True:
        try:
            connection, client = listening.accept()
        except OSError:  # who asks speaks no TLS
            continue
        answer_http(connection, client[0])


def serve_udp(listening: socket.socket) -> None:
    while True:
        _, client = listening.recvfrom(1024)
        listening.sendto(f"{NAME} {client[0]}".encode(), client)


_OPEN = {"http": open_tcp, "https": open_tls, "udp": open_udp}
_SERVE = {"http": serve_http, "https": serve_https, "udp": serve_udp}


def answer_http(connection: socket.socket, client: str) -> None:
    with connection, connection.makefile("rwb") as stream:
        method, target, _ = stream.readline().decode().split(" ", 2)
        length = 0
        while line := stream.readline().strip():
            name, _, value = line.decode().partition(":")
            length = int(value) if name.lower() == "content-length" else length
        stream.read(length)
        said = json.dumps(act(method, target, client, connection.getsockname()[1])).encode()
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(said)}\r\n"
        stream.write(f"{head}Connection: close\r\n\r\n".encode() + (b"" if method == "HEAD" else said))


def act(method: str, target: str, client: str, port: int) -> object:
    split = urlsplit(target)
    given = {key: values[0] for key, values in parse_qs(split.query).items()}
    if split.path == "/ask":
        times = int(given.get("times", "1"))
        return [ask(given["protocol"], given["host"], int(given["port"])) for _ in range(times)]
    if split.path == "/resolve":
        return resolve(given["name"])
    if split.path == "/query":
        asked = given["server"], bytes.fromhex(given["message"])
        return [query(*asked).hex(), query_by_tcp(*asked).hex()]
    if split.path == "/read":
        with open(given["file"]) as file:  # noqa: PTH123  (pathlib costs each pod's start)
            return file.read()
    return {"host": NAME, "method": method, "target": target, "client": client, "port": port}


def ask(protocol: str, host: str, port: int) -> str:
    """The name of who answers; ``refused``, ``timeout`` or the error where nobody does."""
    try:
        return {"http": ask_http, "udp": ask_udp, "from": ask_client}[protocol](host, port)
    except TimeoutError:
        return "timeout"
    except ConnectionRefusedError:
        return "refused"
    except (OSError, ValueError) as error:
        return f"{type(error).__name__}: {error}"


def ask_http(host: str, port: int, wanted: str = "host") -> str:
    with socket.create_connection((host, port), PATIENCE_SECONDS) as connection:
        connection.sendall(f"GET /hostname HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        said = b""
        while part := connection.recv(4096):
            said += part
    found: str = json.loads(said.partition(b"\r\n\r\n")[2])[wanted]
    return found


def ask_client(host: str, port: int) -> str:
    """The address that is seen of this pod."""
    return ask_http(host, port, "client")


def ask_udp(host: str, port: int) -> str:
    """A datagram may be lost: it is sent again a few times."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.settimeout(PATIENCE_SECONDS / 8)
        asking.connect((host, port))
        for _ in range(8):
            asking.send(b"hostname")
            try:
                return asking.recv(1024).decode().split(" ")[0]
            except TimeoutError:
                continue
    return "timeout"


def resolve(name: str) -> list[str]:
    """In order; none where there is no such name."""
    try:
        found = socket.getaddrinfo(name, None, socket.AF_INET, socket.SOCK_STREAM)
    except socket.gaierror:
        return []
    return sorted({str(address[0]) for *_, address in found})


def query(server: str, message: bytes) -> bytes:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.settimeout(PATIENCE_SECONDS / 4)
        asking.connect((server, 53))
        for _ in range(4):
            try:
                asking.send(message)
                return asking.recv(65535)
            except TimeoutError:
                continue
            except ConnectionRefusedError:
                break
    return b""


def query_by_tcp(server: str, message: bytes) -> bytes:
    try:
        with socket.create_connection((server, 53), PATIENCE_SECONDS) as asking, asking.makefile("rb") as stream:
            asking.sendall(len(message).to_bytes(2, "big") + message)
            return stream.read(int.from_bytes(stream.read(2), "big"))
    except OSError:  # it is busy, or waits for another server
        return b""


if __name__ == "__main__":
    if sys.argv[1:2] == ["ask"]:
        json.dump([ask(sys.argv[2], sys.argv[3], int(sys.argv[4])) for _ in range(int(sys.argv[5]))], sys.stdout)
    else:
        main(sys.argv[1:])
