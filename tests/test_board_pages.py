"""The board's answers, to its owner and to strangers, and its pages in a browser."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from .browser import NARROW, WIDE, overflow, watched
from .conftest import Run
from .small_runs import PATIENCE, start
from .test_board import make_run

pytest.importorskip("flask", reason="needs Flask, the extra sqgen[board]")

from flask.testing import FlaskClient
from werkzeug.serving import make_server

from sqgen import SqgenError
from sqgen.board import assets, reports
from sqgen.board.access import Access
from sqgen.board.app import make_app
from sqgen.board.catalog import Catalog
from sqgen.board.child import run_python
from sqgen.board.places import find_places
from sqgen.report import charts
from sqgen.runner.run_lock import RunLock

if TYPE_CHECKING:
    from playwright.sync_api import Browser
    from werkzeug.test import TestResponse

SITE = "http://127.0.0.1:8642/"
HOSTILE = [
    "<script>alert(1)</script>",
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "\"' onmouseover='alert(1)' x=\"",
    "<!--",
    "]]>",
    "&lt;b&gt;&amp;",
    "{{ 7 * 7 }}",
    "{% raw %}",
    "${alert(1)}`",
    "javascript:alert(1)",
    "line\nbreak\r\nand\ttab",
    "\x1b[31mred\x07",
    "\u202egnp.exe",
    "\u2028\u2029\ufeff",
    "\u65e5\u672c\u8a9e \U0001f600",
    "..%2f..%2fetc%2fpasswd",
    "C:\\con\\con",
    "x" * 200,
    os.fsdecode(b"\xff\xfe\x80"),
    "'); DROP TABLE runs; --",
    "<style>*{display:none}</style>",
]


def client_of(folder: Path) -> FlaskClient:
    """A browser that has the cookie."""
    access = Access(8642)
    client = make_app(Catalog(folder), access).test_client()
    client.set_cookie(access.cookie, access.token, domain="127.0.0.1")
    return client


def get(client: FlaskClient, path: str, **more: Any) -> TestResponse:
    return client.get(path, base_url=SITE, **more)


def get_json(client: FlaskClient, path: str) -> dict[str, Any]:
    answer = get(client, path)
    assert answer.status_code == 200
    assert answer.content_type == "application/json"
    assert answer.data.isascii()
    plain = json.loads(answer.data)
    assert isinstance(plain, dict)
    return plain


class Elements(HTMLParser):
    """The elements of a page."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def file_name(text: str) -> str:
    """The text as the name of a file."""
    return text.replace("/", "|")


def hostile_run(folder: Path, text: str) -> Path:
    """A run whose name, net, solver, error and log are one text."""
    record: dict[str, Any] = {
        "error": text,
        "weights": text,
        "changes": [text],
        "machine": {text: text},
        "data": [{"source": text, "transform": {text: text}}],
        "engine": {"name": text},
        "versions": {text: text},
    }
    run = make_run(folder, file_name(text), **record)
    plain = json.loads((run / "result.json").read_text())
    plain["net"] = plain["solver"]["type"] = plain["device"] = text
    plain["scores"][0]["name"] = text
    (run / "result.json").write_text(json.dumps(plain, indent=2))
    with open(run / "caffe.log", "ab") as log:
        log.write(f"{text}\n".encode("utf-8", "surrogateescape"))
    (run / "command").write_bytes(text.encode("utf-8", "surrogateescape"))
    return run


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of hostile runs, and a plain one."""
    folder = tmp_path_factory.mktemp("hostile")
    for text in HOSTILE:
        hostile_run(folder, text)
    make_run(folder, "plain", error=None)
    return folder


@pytest.fixture(scope="module")
def hostile_client(hostile: Path) -> FlaskClient:
    return client_of(hostile)


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_stays_text(text: str, hostile: Path, hostile_client: FlaskClient) -> None:
    client = hostile_client
    ids = {place.name: place.id for place in find_places(hostile)}
    run, plain = ids[file_name(text)], ids["plain"]
    asked = f"run={run}&run={plain}"
    for path in (f"/runs/{run}", f"/compare?{asked}", "/"):
        page = get(client, path)
        assert page.status_code == 200
        assert page.content_type == "text/html; charset=utf-8"
        elements = Elements(page.data.decode())
        for tag, attributes in elements.found:
            assert not [name for name in attributes if name.startswith("on")]
            assert tag not in ("img", "iframe", "object", "style", "base", "form") or path == "/"
            if tag == "script":
                source = attributes.get("src") or ""
                assert source.startswith("/static/") or attributes["type"] == "application/json"
        assert not {c for c in elements.text if c < " "} - {"\n"}
        assert not set("\u202e\u2028\ufeff\x1b") & set(elements.text)
    for path in (f"/api/runs/{run}", f"/api/curves?{asked}", "/api/runs"):
        get_json(client, path)


def test_headers_of_every_answer(tmp_path: Path) -> None:
    make_run(tmp_path, "run", error=None)
    client = client_of(tmp_path)
    (row,) = get_json(client, "/api/runs")["rows"]
    run_id = row["id"]
    paths = {
        "/": 200,
        f"/runs/{run_id}": 200,
        f"/compare?run={run_id}": 200,
        "/api/runs?since=x": 200,
        f"/api/runs/{run_id}": 200,
        f"/api/curves?run={run_id}": 200,
        "/api/curves": 404,
        "/compare?run=" + "&run=".join(map(str, range(13))): 404,
        "/runs/0123456789abcdef": 404,
        "/runs/..%2f..%2fetc%2fpasswd": 404,
        "/runs/../../etc/passwd": 404,
        "/static/x/style.css": 404,
        "/static/x/../app.py": 404,
        "/nothing": 404,
        "/runs/" + "a" * 5000: 404,
    }
    for path, status in paths.items():
        answer = get(client, path)
        assert answer.status_code == status, path
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert answer.headers["Cache-Control"] == "no-store"
        assert "Set-Cookie" not in answer.headers
        assert client.head(path, base_url=SITE).data == b""
    elements = Elements(get(client, "/").data.decode()).found
    (link,) = [a["href"] for tag, a in elements if tag == "link" and a["rel"] == "stylesheet"]
    style = get(client, str(link))
    assert style.headers["Cache-Control"].endswith("immutable")
    assert style.content_type == "text/css; charset=utf-8"


def test_only_the_owner_gets_in(tmp_path: Path) -> None:
    access = Access(8642)
    app = make_app(Catalog(tmp_path), access)
    client = app.test_client()
    assert get(client, "/").status_code == 403
    assert get(client, "/?token=").status_code == 403
    assert get(client, f"/?token={access.token}x").status_code == 403
    assert get(client, "/?token=%ed%b2%80").status_code == 403
    entered = get(client, f"/?token={access.token}")
    assert entered.status_code == 200
    cookie = entered.headers["Set-Cookie"]
    assert cookie.startswith(f"sqgen-board-8642={access.token}; ")
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(cookie.split("; "))
    page = get(client, "/")
    assert page.status_code == 200
    assert access.token.encode() not in entered.data + page.data
    for host in ("127.0.0.1:8642", "localhost:9000", "localhost", "[::1]:8642"):  # by tunnels
        headers = {"Host": host, "Cookie": f"{access.cookie}={access.token}"}
        assert app.test_client(use_cookies=False).get("/", headers=headers).status_code == 200
    for host in ("evil.example", "127.0.0.1.evil.example:8642", "localhost:x", "", "127.0.0.1@e"):
        headers = {"Host": host, "Cookie": f"{access.cookie}={access.token}"}
        assert app.test_client(use_cookies=False).get("/", headers=headers).status_code == 403
    for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND"):
        answer = client.open("/", method=method, base_url=SITE)
        assert answer.status_code == 405
    stranger = app.test_client()
    stranger.set_cookie(access.cookie, "guessed", domain="127.0.0.1")
    assert get(stranger, "/").status_code == 403


def test_what_differs_between_runs(tmp_path: Path) -> None:
    make_run(tmp_path, "a", error=None, versions={"torch": "2.4"}, machine={"cores": 2})
    make_run(tmp_path, "b", error=None, versions={"torch": "2.9"}, machine={"cores": 2})
    client = client_of(tmp_path)
    ids = [row["id"] for row in get_json(client, "/api/runs")["rows"]]
    text = get(client, f"/compare?run={ids[0]}&run={ids[1]}").data.decode()
    differing, _, shared = text.partition("<details>")
    assert '<th scope="row">torch</th>' in differing
    assert "2.4" in differing
    assert "cores" not in differing
    assert "cores" in shared


def test_a_report_is_made_when_a_file_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(tmp_path, "-run <b>", "fatal_missing_lmdb", error="caffe: no such file")
    client = client_of(tmp_path)
    (row,) = get_json(client, "/api/runs")["rows"]
    path = f"/report?run={row['id']}"
    report = get(client, path)
    assert report.status_code == 200
    assert "&lt;b&gt;" in report.data.decode()
    policy = report.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert policy.endswith("; frame-ancestors 'none'")
    monkeypatch.setattr(reports, "run_python", lambda code, arguments: b"another")
    assert get(client, path).data == report.data
    os.utime(run / "caffe.log")
    again = get(client, path)
    assert again.data == b"another"
    assert again.headers["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'"
    (run / "predictions.npz").symlink_to("/dev/null")
    refused = get(client, path)
    assert refused.status_code == 409
    assert "predictions.npz: is a link, which the board does not follow" in refused.data.decode()


def test_work_in_another_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It imports nothing of the user's folder; its last line says why it failed."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "random.py").write_text("raise SystemExit('mine')")
    code = "import random; print(sys.argv[1])"
    assert run_python(code, ["a"]) == b"a\n"
    with pytest.raises(SqgenError, match=r"^no such run; check the name$"):
        run_python("sys.exit('a warning\\nsqgen: no such run; check the name')")
    with pytest.raises(SqgenError, match=r"^exit code 3$"):
        run_python("sys.exit(3)")


def test_an_answer_in_json_says_what_is_wrong(tmp_path: Path) -> None:
    folder = tmp_path / "runs"
    run = make_run(folder, "run")
    text = (run / "caffe.log").read_text()
    bare = "\n".join(line.partition("] ")[2] for line in text.splitlines())
    (run / "caffe.log").write_text(bare)
    client = client_of(folder)
    (row,) = get_json(client, "/api/runs")["rows"]
    timeless = get(client, f"/api/curves?run={row['id']}&x=time")
    assert timeless.status_code == 409
    assert "its lines have no times" in json.loads(timeless.data)["error"]
    folder.rename(tmp_path / "gone")
    for path, status in ((f"/api/runs/{row['id']}", 404), ("/api/runs", 409)):
        answer = get(client, path)
        assert answer.status_code == status
        assert json.loads(answer.data)["error"]


def test_the_end_of_a_log(tmp_path: Path) -> None:
    run = make_run(tmp_path, "run")
    (run / "caffe.log").write_bytes(b"first\n" * 300 + b"\x1b[0m <b>last</b> \xff\n")
    client = client_of(tmp_path)
    (row,) = get_json(client, "/api/runs")["rows"]
    answer = get_json(client, f"/api/runs/{row['id']}")
    assert len(answer["tail"]) == 200
    assert answer["tail"][-1] == r"\x1b[0m <b>last</b> \udcff"
    again = get_json(client, f"/api/runs/{row['id']}?seen={answer['seen']}")
    assert (again["tail"], again["seen"]) == (None, answer["seen"])


def test_the_program(tmp_path: Path) -> None:
    """It prints one line on standard output, opens it, answers, and ends with Ctrl-C."""
    pytest.importorskip("waitress", reason="needs waitress, the extra sqgen[board]")
    make_run(tmp_path, "run", error=None)
    os.mkfifo(tmp_path / "opened")
    (tmp_path / "browser").write_text(f'cat "${{1#file://}}" > {tmp_path}/opened\n')
    environment = {**os.environ, "BROWSER": f"sh {tmp_path}/browser %s"}
    arguments = ["board", "--port", "0", "--open", str(tmp_path)]
    process = start(arguments, tmp_path, env=environment)
    assert process.stdout is not None
    try:
        address = process.stdout.readline().strip()
        assert f'content="0;url={address}"' in (tmp_path / "opened").read_text()
        site, _, token = address.partition("?token=")
        port = site.rpartition(":")[2].strip("/")
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(f"{site}api/runs")
        cookie = {"Cookie": f"sqgen-board-{port}={token}"}
        with urllib.request.urlopen(
            urllib.request.Request(f"{site}api/runs", headers=cookie)
        ) as got:
            assert [row["name"] for row in json.load(got)["rows"]] == ["run"]
    finally:
        process.send_signal(signal.SIGINT)
        rest, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, rest) == (0, "")
    assert err == f"sqgen: shows {tmp_path}; Ctrl-C ends it\n"


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library of charts is made in this process, which may have it, and not in another."""
    pytest.importorskip("vl_convert", reason="needs vl-convert, the extra sqgen[plot]")
    assets.made_library.cache_clear()
    monkeypatch.setattr(assets, "run_python", lambda code: charts.vega_bundle().encode())


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address of a board in this process."""
    access = Access(1)
    server = make_server("127.0.0.1", 0, make_app(Catalog(folder), access), threaded=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.port}/?token={access.token}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.usefixtures("library")
def test_a_page_follows_its_run_while_it_is_looked_at(browser: Browser, tmp_path: Path) -> None:
    run = make_run(tmp_path, "run")
    lines = (run / "caffe.log").read_bytes().splitlines(keepends=True)
    tests = [number for number, line in enumerate(lines) if b"Testing net" in line]
    (run / "caffe.log").write_bytes(b"".join(lines[: tests[-2]]))
    lock = RunLock(run)
    with served(tmp_path) as address, watched(browser, address.partition("?")[0]) as page:
        page.clock.install()
        page.goto(address)
        page.wait_for_url(address.partition("?")[0])
        page.click("#runs td.run a")
        page.wait_for_selector("#charts .chart:not(.next) svg")
        assert "running" in page.locator("#status").inner_text()
        line = "() => document.querySelector('#loss .mark-line path').getAttribute('d')"
        before = page.evaluate(line)
        (run / "caffe.log").write_bytes(b"".join(lines))
        lock.release()
        page.evaluate(
            "() => Object.defineProperty(document, 'hidden', {value: true, writable: true})"
        )
        page.clock.run_for(60_000)
        assert "running" in page.locator("#status").inner_text()
        page.evaluate("() => { document.hidden = false; }")
        page.evaluate("() => document.dispatchEvent(new Event('visibilitychange'))")
        page.wait_for_function("() => document.querySelector('#status').innerText.includes('done')")
        page.wait_for_function(f"(before) => ({line})() !== before", arg=before)
        assert "Optimization Done" in page.locator("#tail").inner_text()


@pytest.mark.usefixtures("library")
def test_pages_in_a_browser(browser: Browser, hostile: Path) -> None:
    """The table filters and sorts, a run's page and a comparison draw, hostile text is inert."""
    for name in ("20361126-101500-a", "20361126-101600-b"):
        make_run(hostile, name, "train_resume", error=None)
    make_run(hostile, "20361126-101700-c", "train_diverged_nan", error=None)
    with served(hostile) as address:
        site = address.partition("?")[0]
        with watched(browser, site) as page:
            page.on("dialog", lambda dialog: pytest.fail("a script ran"))
            page.goto(address)
            page.wait_for_url(site)
            page.wait_for_selector("#runs tbody tr")
            rows = page.locator("#runs tbody tr")
            assert rows.count() == len(HOSTILE) + 4
            assert rows.first.locator("td.run").inner_text().startswith("20361126-101700-c")
            page.fill("#words", "20361126 TRAIN")
            assert rows.count() == 3
            page.click("#states button[data-state=failed]")
            assert rows.count() == 1
            page.reload()
            page.wait_for_selector("#runs tbody tr")
            assert rows.count() == 1
            page.click("#states button[data-state=failed]")
            page.click("th.run button")
            assert rows.first.locator("td.run").inner_text().startswith("20361126-101500-a")
            for number in (0, 1):
                rows.nth(number).locator("input").check()
            page.click("#compare")
            page.wait_for_selector("#charts .chart:not(.next) svg")
            assert page.locator("#charts .chart").count() >= 2
            page.click(".runs a >> nth=0")
            page.wait_for_selector("#charts .chart:not(.next) svg")
            assert page.locator("#tail").inner_text()
            for size in (NARROW, WIDE):
                page.set_viewport_size({"width": size[0], "height": size[1]})
                assert overflow(page) <= 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "nowhere: no such file or directory; give the folder of runs"),
        (["file"], "file: is no folder; give that of runs"),
        (["."], ""),
    ],
)
def test_one_line_where_there_is_no_board(
    arguments: list[str], message: str, sqgen: Run, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = sqgen("board", *arguments, "--port", str(port))
    message = message or f"port {port}: address already in use; give another --port, or none"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"sqgen: {message}\n")
