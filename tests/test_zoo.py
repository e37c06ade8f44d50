"""`sqgen zoo`: the table, a card, resumed and verified downloads."""

from __future__ import annotations

import json
import os
import re
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from sqgen.errors import DownloadError, FormatError, OutputError
from sqgen.generator.presets import PRESETS
from sqgen.models import download as download_module
from sqgen.models.download import download, git_blob_id

from .conftest import Run

WEIGHTS = bytes(range(256)) * 2000
BLOB = git_blob_id(WEIGHTS)


class Server(ThreadingHTTPServer):
    """Serves WEIGHTS; `cut` ends the first answer early, `ranges` is what was asked for."""

    cut: int | None = None
    resumable = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.ranges: list[str | None] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/weights"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        if self.path != "/weights":
            self.send_error(404)
            return
        wanted = self.headers.get("Range")
        self.server.ranges.append(wanted)
        start = 0
        if wanted and self.server.resumable:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
        if start >= len(WEIGHTS):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(WEIGHTS) - start))
        self.end_headers()
        end = self.server.cut or len(WEIGHTS)
        self.server.cut = None
        self.wfile.write(WEIGHTS[start:end])

    def log_message(self, *args: object) -> None:
        """Quiet."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as one:
        threading.Thread(target=one.serve_forever, args=(0.01,), daemon=True).start()
        yield one
        one.shutdown()


def test_git_blob_id_is_gits() -> None:
    """`printf 'hello\\n' | git hash-object --stdin`."""
    assert git_blob_id(b"hello\n") == "ce013625030ba8dba906f756967f9e9ca394464a"


def test_download(server: Server, tmp_path: Path) -> None:
    out = tmp_path / "new" / "weights"
    assert download(server.url, out, BLOB)
    assert out.read_bytes() == WEIGHTS
    assert [path.name for path in out.parent.iterdir()] == ["weights"]
    assert not download(server.url, out, BLOB), "it is there and is not fetched again"
    assert server.ranges == [None]


@pytest.mark.parametrize("resumable", [True, False])
def test_a_cut_download_goes_on(server: Server, tmp_path: Path, resumable: bool) -> None:
    out = tmp_path / "weights"
    server.cut, server.resumable = 100_000, resumable
    with pytest.raises(DownloadError, match="same command to resume"):
        download(server.url, out, BLOB)
    assert not out.exists()
    assert (tmp_path / f"weights.{BLOB[:8]}.part").read_bytes() == WEIGHTS[:100_000]
    assert download(server.url, out, BLOB)
    assert out.read_bytes() == WEIGHTS
    assert server.ranges == [None, "bytes=100000-"]


def test_a_part_that_is_whole_is_only_verified(server: Server, tmp_path: Path) -> None:
    (tmp_path / f"weights.{BLOB[:8]}.part").write_bytes(WEIGHTS)
    assert download(server.url, tmp_path / "weights", BLOB)
    assert (tmp_path / "weights").read_bytes() == WEIGHTS


def test_a_wrong_part_does_not_stay(server: Server, tmp_path: Path) -> None:
    (tmp_path / f"weights.{BLOB[:8]}.part").write_bytes(b"x" * 1000)
    with pytest.raises(DownloadError, match="not the published file"):
        download(server.url, tmp_path / "weights", BLOB)
    assert list(tmp_path.iterdir()) == []
    assert download(server.url, tmp_path / "weights", BLOB)


def test_nothing_is_there(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="404"):
        download(server.url + "2", tmp_path / "weights", BLOB)
    assert list(tmp_path.iterdir()) == []
    server.shutdown()
    server.server_close()
    with pytest.raises(DownloadError, match="connection refused"):
        download(server.url, tmp_path / "weights", BLOB)


@pytest.mark.parametrize(
    "url", ["http://[bad", "http://127.0.0.1:1/a b", "http://127.0.0.1:1/\u00e9", "http://:x/"]
)
def test_addresses_that_are_none(url: str, tmp_path: Path) -> None:
    with pytest.raises(DownloadError) as caught:
        download(url, tmp_path / "weights", BLOB)
    assert str(caught.value).isprintable()


def test_a_server_that_is_none(tmp_path: Path) -> None:
    """It hangs up, or talks of something else."""
    for answer in (b"", b"hello\x1b[31m\r\n\r\n"):
        with socket.create_server(("127.0.0.1", 0)) as server:

            def serve(server: socket.socket = server, answer: bytes = answer) -> None:
                connection, _ = server.accept()
                with connection:
                    connection.recv(1 << 16)
                    connection.sendall(answer)

            thread = threading.Thread(target=serve)
            thread.start()
            with pytest.raises(DownloadError, match="same command to resume"):
                download(f"http://127.0.0.1:{server.getsockname()[1]}/w", tmp_path / "w", BLOB)
            thread.join()


@contextmanager
def answering(*parts: bytes, pause: threading.Event | None = None) -> Iterator[str]:
    """The address of a server that answers every request with the parts, whatever is asked."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    with connection, suppress(OSError):
                        connection.recv(1 << 16)
                        for part in parts:
                            connection.sendall(part)
                        if pause is not None:
                            pause.wait()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}/w"
        finally:
            if pause is not None:
                pause.set()
            server.shutdown(socket.SHUT_RDWR)


OK = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n", "larger than 64 MiB; nothing was kept"),
        (b"Content-Length: 67108865\r\n\r\n", "larger than 64 MiB; nothing was kept"),
        (b"Content-Length: -1\r\n\r\n", "answers a Content-Length of '-1'"),
        (b"Content-Length: 1e3\r\n\r\n", "answers a Content-Length of '1e3'"),
        (b"Content-Length: 10\r\n\r\nabc", "the connection ended early"),
        (b"\r\nabc", "not the published file"),
        (b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffffffff\r\nabc", "to resume"),
        (b"X: " + b"y" * 100_000 + b"\r\n\r\n", "to resume"),
    ],
)
def test_lying_headers(tmp_path: Path, answer: bytes, reason: str) -> None:
    with answering(OK + answer) as url, pytest.raises(DownloadError, match=reason) as caught:
        download(url, tmp_path / "w", BLOB)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400
    assert not (tmp_path / "w").exists()


def test_a_download_has_an_end(tmp_path: Path) -> None:
    megabyte = b"x" * (1 << 20)
    with (
        answering(OK + b"\r\n", *[megabyte] * 100) as url,
        pytest.raises(DownloadError, match="larger than 64 MiB; nothing was kept"),
    ):
        download(url, tmp_path / "w", BLOB)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("sent", [b"", OK, OK + b"Content-Length: 10\r\n\r\nabc"])
def test_a_server_that_stops_sending(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    monkeypatch.setattr(download_module, "TIMEOUT", 0.2)
    with (
        answering(sent, pause=threading.Event()) as url,
        pytest.raises(DownloadError, match="timed out; run the same command to resume"),
    ):
        download(url, tmp_path / "w", BLOB)


def test_a_server_that_sends_too_slowly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download_module, "SLOW_SECONDS", 0.0)
    with (
        answering(OK + b"\r\n", b"x" * 100) as url,
        pytest.raises(DownloadError, match="100 bytes in 0 s; run the same command to resume"),
    ):
        download(url, tmp_path / "w", BLOB)


@pytest.mark.parametrize(
    ("to", "reason"),
    [
        ("/w", "302 .*infinite loop.*; check the address"),
        ("file:///etc/hostname", "not allowed|unknown url type"),
        ("ftp://127.0.0.1:1/w", "unknown url type: ftp"),
        ("http://127.0.0.1:1/w", "[Cc]onnection refused"),
    ],
)
def test_redirections(tmp_path: Path, to: str, reason: str) -> None:
    answer = b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: " + to.encode() + b"\r\n\r\n"
    with answering(answer) as url, pytest.raises(DownloadError, match=reason) as caught:
        download(url, tmp_path / "w", BLOB)
    assert str(caught.value).isprintable()


def test_another_part_of_the_file(tmp_path: Path) -> None:
    """Bytes that don't continue the partial download are not appended to it."""
    part = tmp_path / f"w.{BLOB[:8]}.part"
    part.write_bytes(WEIGHTS[:1000])
    answer = b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-9/20\r\n\r\n0123456789"
    with answering(answer) as url, pytest.raises(DownloadError, match="answers bytes 'bytes 0-9"):
        download(url, tmp_path / "w", BLOB)
    assert not part.exists()


@pytest.mark.parametrize("kind", ["link", "dangling link", "hard link", "folder", "pipe"])
def test_a_part_that_is_no_file_of_ours(server: Server, tmp_path: Path, kind: str) -> None:
    """It would send the bytes to another file."""
    other, part = tmp_path / "other", tmp_path / f"w.{BLOB[:8]}.part"
    if kind != "dangling link":
        other.write_bytes(b"precious")
    if "link" in kind:
        (part.hardlink_to if kind == "hard link" else part.symlink_to)(other)
    elif kind == "folder":
        part.mkdir()
    else:
        os.mkfifo(part)
    with pytest.raises(OutputError, match=re.escape(str(part))) as caught:
        download(server.url, tmp_path / "w", BLOB)
    assert "\n" not in str(caught.value)
    assert server.ranges == []
    assert (other.read_bytes() == b"precious") if kind != "dangling link" else not other.exists()


def test_another_file_is_not_replaced_unless_forced(server: Server, tmp_path: Path) -> None:
    out = tmp_path / "weights"
    out.write_bytes(b"mine")
    with pytest.raises(OutputError, match="--force"):
        download(server.url, out, BLOB)
    assert out.read_bytes() == b"mine"
    assert download(server.url, out, BLOB, force=True)
    assert out.read_bytes() == WEIGHTS


def test_a_copy_is_verified_too(tmp_path: Path) -> None:
    (tmp_path / "copy").write_bytes(WEIGHTS)
    assert download(str(tmp_path / "copy"), tmp_path / "weights", BLOB)
    assert (tmp_path / "weights").read_bytes() == WEIGHTS
    (tmp_path / "copy").write_bytes(WEIGHTS[:-1])
    with pytest.raises(DownloadError, match="not the published file"):
        download(str(tmp_path / "copy"), tmp_path / "other", BLOB)
    with pytest.raises(FormatError, match="no such file"):
        download(str(tmp_path / "nowhere"), tmp_path / "other", BLOB)
    assert not (tmp_path / "other").exists()


class Recorder:
    """A bar that records its steps."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.steps: list[int] = []

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, *details: object) -> None:
        pass

    def update(self, step: int, text: str, trend: Sequence[float] = ()) -> None:
        self.steps.append(step)
        assert text.endswith("B/s")


def test_progress_counts_bytes_from_where_a_download_resumes(
    server: Server, tmp_path: Path
) -> None:
    bars: list[Recorder] = []

    def start(total: int) -> Recorder:
        bars.append(Recorder(total))
        return bars[-1]

    server.cut = 200_000
    with pytest.raises(DownloadError):
        download(server.url, tmp_path / "w", BLOB, progress=start)
    assert download(server.url, tmp_path / "w", BLOB, progress=start)
    assert [bar.total for bar in bars] == [len(WEIGHTS), len(WEIGHTS)]
    assert bars[0].steps[-1] == 200_000 < bars[1].steps[0]
    assert bars[1].steps[-1] == len(WEIGHTS)
    assert all(bar.steps == sorted(bar.steps) for bar in bars)


def test_download_with_standard_error_closed(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr", None)
    assert download(server.url, tmp_path / "w", BLOB)


def test_published_file(sqgen: Run, shared: Path, tmp_path: Path) -> None:
    copy = shared / "imagenet_sample" / "compressed_SqueezeNet.net"
    done = sqgen("zoo", "download", "deep-compression", "--from", str(copy))
    assert (done.returncode, done.stdout) == (0, "compressed_SqueezeNet.net\n")
    assert (tmp_path / "compressed_SqueezeNet.net").read_bytes() == copy.read_bytes()
    wrong = sqgen("zoo", "download", "dsd", "--from", str(copy))
    assert (wrong.returncode, wrong.stdout) == (3, "")
    assert "not the published file" in wrong.stderr


def test_table_has_the_published_figures(sqgen: Run) -> None:
    """The figures of the papers and the READMEs, and counted ones."""
    rows = {row["name"]: row for row in json.loads(sqgen("zoo", "--json").stdout)}
    assert list(rows) == list(PRESETS)
    figures = {name: (row["parameters"], row["macs"]) for name, row in rows.items()}
    assert figures["v1.0"] == figures["residual"] == figures["dsd"] == (1_248_424, 861_339_936)
    assert figures["v1.1"] == (1_235_496, 387_747_520)
    assert figures["complex"] == (1_589_672, 1_212_625_184)
    assert figures["generator-small"] == figures["generator-small-bn"] == (1_589_672, 1_183_953_184)
    assert figures["generator-large"] == figures["generator-large-bn"] == (3_745_640, 2_900_751_136)
    scores = {name: row["accuracy"] for name, row in rows.items() if row["accuracy"]}
    assert (scores["residual"]["top1"], scores["residual"]["top5"]) == (60.3759, 82.4981)
    assert (scores["dsd"]["top1"], scores["dsd"]["loss"]) == (61.7579, 1.7059)
    assert rows["deep-compression"]["weight_bytes"] == 675_763
    table = sqgen("zoo").stdout.splitlines()
    assert len(table) == 1 + len(PRESETS)
    assert "1,248,424" in table[1]


def test_show(sqgen: Run) -> None:
    shown = sqgen("zoo", "show", "residual").stdout
    assert "60.3759% top-1" in shown
    assert "--data VAL_LMDB --published residual" in shown
    packed = sqgen("zoo", "show", "deep-compression").stdout
    assert "sqgen compress decode compressed_SqueezeNet.net --net" in packed
    assert "sqgen solver --preset residual  (reconstructed)" in shown
    assert json.loads(sqgen("zoo", "show", "dsd", "--json").stdout)["accuracy"]["top1"] == 61.7579


def test_mistakes(sqgen: Run) -> None:
    unknown = sqgen("zoo", "show", "residaul")
    assert unknown.returncode == 2
    assert unknown.stderr == "sqgen: no net 'residaul' in the zoo; did you mean 'residual'?\n"
    none = sqgen("zoo", "download", "complex")
    assert none.returncode == 2
    assert "no weights were published for complex" in none.stderr
