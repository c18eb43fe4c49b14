"""Answers TCP and UDP on port 4711, IPv4 and IPv6, until it is killed; says when it is ready."""

import socket
import threading


def answer_tcp(server: socket.socket) -> None:
    while True:
        with server.accept()[0] as client:
            client.sendall(b"!")
            client.recv(1)


def answer_udp(server: socket.socket) -> None:
    while True:
        server.sendto(b"!", server.recvfrom(64)[1])


def main() -> None:
    for kind, answer in ((socket.SOCK_STREAM, answer_tcp), (socket.SOCK_DGRAM, answer_udp)):
        server = socket.socket(socket.AF_INET6, kind)  # takes IPv4 as well
        server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        server.bind(("::", 4711))
        if kind == socket.SOCK_STREAM:
            server.listen()
        threading.Thread(target=answer, args=(server,)).start()
    print("ready", flush=True)


main()
