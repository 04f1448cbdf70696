"""A server in a thread of the test's own process, and plain HTTP to it."""

import asyncio
import contextlib
import dataclasses
import http.client
import json
import queue
import socket
import threading
import urllib.parse


@dataclasses.dataclass
class Running:
    """A server that accepts requests: its page's address, that of gRPC, its `uvicorn.Server`, its thread."""

    page: str
    grpc: str | None
    server: object
    thread: threading.Thread

    def ask(self, method, path, body=None, headers=None, seconds=60):
        """Sends one request: (status, headers, body)."""
        where = urllib.parse.urlsplit(self.page)
        connection = http.client.HTTPConnection(where.hostname, where.port, timeout=seconds)
        with contextlib.closing(connection):
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()

    def post(self, path, content, **options):
        """Posts JSON, or bytes as they are: (status, parsed answer)."""
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        status, _, answer = self.ask("POST", path, body, **options)
        return status, json.loads(answer)

    def get(self, path):
        """Gets JSON: (status, parsed answer)."""
        status, _, answer = self.ask("GET", path)
        return status, json.loads(answer)

    def connect(self):
        """A bare connection."""
        where = urllib.parse.urlsplit(self.page)
        return socket.create_connection((where.hostname, where.port), timeout=30)

    def stop(self):
        """Asks it to end, as a signal does, and waits."""
        self.server.should_exit = True
        self.thread.join(60)
        assert not self.thread.is_alive()


@contextlib.contextmanager
def serving(servable, **settings):
    """Serves on a free port while the block runs."""
    from dr_keras.serving.server import serve
    from dr_keras.serving.settings import Settings

    started, failed = queue.Queue(), []

    def work():
        try:
            asyncio.run(serve(servable, Settings(port=0, **settings), lambda *given: started.put(given)))
        except BaseException as error:
            failed.append(error)
            started.put(None)

    thread = threading.Thread(target=work)
    thread.start()
    given = started.get(timeout=60)
    if given is None:
        raise failed[0]
    running = Running(*given, thread)
    try:
        yield running
    finally:
        running.stop()
