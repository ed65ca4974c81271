# SPDX-License-Identifier: MIT
"""A TCP proxy in front of PostgreSQL that breaks connections as a test tells it to."""

import contextlib
import socket
import threading


class Proxy:
    """Forwards bytes. on_request and on_answer get each piece and return what is forwarded in its
    place; None cuts the connection instead."""

    def __init__(self, port, on_request=None, on_answer=None):
        self.target = ("127.0.0.1", port)
        self.on_request = on_request or (lambda data: data)
        self.on_answer = on_answer or (lambda data: data)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.cuts = 0
        self.is_silent = False  # drops everything, as a broken network does
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                with contextlib.suppress(OSError):
                    server = socket.create_connection(self.target)
                    for source, sink, look in (
                        (client, server, "on_request"),
                        (server, client, "on_answer"),
                    ):
                        threading.Thread(
                            target=self._forward, args=(source, sink, look), daemon=True
                        ).start()
                    continue
                client.close()

    def _forward(self, source, sink, look):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if self.is_silent:
                    continue
                data = getattr(self, look)(data)
                if data is None:
                    self.cuts += 1
                    break
                sink.sendall(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self):
        self.listener.close()
