"""The pages of the board, and the JSON that they poll."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from typing import Any

from flask import Flask, Response, abort, request

from .. import templates
from ..errors import SqgenError
from ..json_form import to_json
from ..report.names import distinct_names
from ..report.theme import PAGE, chart_config
from ..text import printable
from .access import Access, secure
from .assets import ASSETS, asset_addresses
from .catalog import Catalog
from .curves_answer import Asked, answer
from .facts import RESULTS, compare_facts, read_command, read_facts
from .followed_log import FollowedLogs
from .log_ends import read_rate
from .log_tail import log_path, read_tail
from .places import LOG_FILE, RUN, Place, with_files
from .reports import Reports
from .run_row import RUNNING, STATES

View = Callable[..., Response]
MAX_COMPARED = 12  # runs
_VERSION = re.compile("[0-9]{1,15}")
_FOREVER = "private, max-age=31536000, immutable"


def make_app(catalog: Catalog, access: Access) -> Flask:
    """Return the application, which only reads."""
    app = Flask(__name__, static_folder=None, template_folder=None)
    views = Views(catalog)

    @app.before_request
    def check() -> Response | None:
        refused = access.refuse(request)
        if refused is not None:
            return _message(*refused)
        if access.has_token(request):
            # A redirect would come without the cookie where another site led here.
            response = _html(templates.render("board_enter.html.j2", address="/"))
            access.keep(response)
            return response
        return None

    @app.after_request
    def protect(response: Response) -> Response:
        secure(response)
        return response

    @app.errorhandler(404)
    def missing(error: Exception) -> Response:
        return views.message(404, "no such page", "The run is gone, or never was.")

    @app.errorhandler(SqgenError)
    def failed(error: SqgenError) -> Response:
        return views.message(409, "can't be shown", str(error))

    @app.errorhandler(500)
    def broken(error: Exception) -> Response:
        return _message(500, "a fault of sqgen; the terminal of sqgen board shows it")

    for rule, view in _routes(views).items():
        app.add_url_rule(
            rule, view.__name__, view, methods=["GET"], provide_automatic_options=False
        )
    return app


def _routes(views: Views) -> dict[str, View]:
    return {
        "/": views.index,
        "/static/<version>/<name>": views.asset,
        "/runs/<run_id>": views.run,
        "/compare": views.compare,
        "/report": views.report,
        "/api/runs": views.changes,
        "/api/runs/<run_id>": views.state,
        "/api/curves": views.curves,
    }


class Views:
    """What the board answers; each run is found by its id in the list of runs."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._logs, self._reports = FollowedLogs(), Reports()
        self._folder = printable(str(catalog.folder))

    def _page(self, template: str, **variables: Any) -> Response:
        shared = {"assets": asset_addresses(), "folder": self._folder, "config": chart_config(PAGE)}
        return _html(templates.render(template, **shared, **variables))

    def _place(self, run_id: str) -> Place:
        """Return the place of a run or a log; end the request where there is none."""
        place = self._catalog.place(run_id)
        if place is None or place.kind not in (RUN, LOG_FILE) or not os.path.lexists(place.path):
            abort(404)
        return with_files(place)

    def message(self, status: int, title: str, text: str) -> Response:
        """Show or return what there is instead of an answer."""
        if request.path.startswith("/api/"):
            response = _json({"error": text})
        else:
            response = self._page("board_message.html.j2", title=title, text=text)
        response.status_code = status
        return response

    def asset(self, version: str, name: str) -> Response:
        """Return a style or a script."""
        if asset_addresses().get(name) != f"/static/{version}/{name}":
            abort(404)
        response = Response(ASSETS[name].make(), content_type=ASSETS[name].media_type)
        response.headers["Cache-Control"] = _FOREVER
        return response

    def index(self) -> Response:
        """Show the table of runs."""
        return self._page("board_index.html.j2", states=STATES)

    def changes(self) -> Response:
        """Return what changed in the table of runs since a version."""
        since = request.args.get("since", "0")
        changes = self._catalog.changes(int(since) if _VERSION.fullmatch(since) else 0)
        return _json(changes._asdict())

    def run(self, run_id: str) -> Response:
        """Show a run."""
        place = self._place(run_id)
        row = self._catalog.row(place)
        groups, command = read_facts(place), read_command(place)
        if row.state == RUNNING:  # its scores are shown as they come
            groups = [group for group in groups if group.title != RESULTS]
        return self._page("board_run.html.j2", row=row, groups=groups, command=command)

    def compare(self) -> Response:
        """Show several runs: their curves, and what differs among them."""
        places = self._asked_places()
        rows = [self._catalog.row(place) for place in places]
        compared = compare_facts([read_facts(place) for place in places])
        names = [printable(name) for name in distinct_names([place.name for place in places])]
        return self._page(
            "board_compare.html.j2",
            rows=rows,
            names=names,
            compared=compared,
            ids=[place.id for place in places],
        )

    def report(self) -> Response:
        """Show the report on runs."""
        report = self._reports.get(self._asked_places())
        response = Response(report.page, content_type="text/html; charset=utf-8")
        response.headers["Content-Security-Policy"] = report.policy
        return response

    def state(self, run_id: str) -> Response:
        """Return the row of a run, iterations a second, and the end of its log if it changed."""
        place = self._place(run_id)
        tail = read_tail(place, request.args.get("seen", ""))
        row = self._catalog.row(place)
        rate = read_rate(log_path(place)) if row.state == RUNNING else None
        return _json({"row": row, "rate": rate, **tail._asdict()})

    def _asked_places(self) -> list[Place]:
        """Return the places of the runs that the address names."""
        ids = list(dict.fromkeys(request.args.getlist("run")))
        if not 1 <= len(ids) <= MAX_COMPARED:
            abort(404)
        return [self._place(run_id) for run_id in ids]

    def curves(self) -> Response:
        """Return the curves of runs, as far as the page that asks lacks them."""
        word = request.args.get
        by_time, log_scale = word("x") == "time", word("scale") == "log"
        asked = Asked(by_time, log_scale, word("have", ""), word("since", ""))
        return _json(answer(self._asked_places(), self._logs, asked))


def _html(text: str) -> Response:
    # A name may hold surrogates, for bytes that are not UTF-8.
    return Response(text.encode("utf-8", "replace"), content_type="text/html; charset=utf-8")


def _json(plain: object) -> Response:
    text = json.dumps(to_json(plain), allow_nan=False, separators=(",", ":"))
    return Response(text, content_type="application/json")


def _message(status: int, text: str) -> Response:
    return Response(
        f"{text}\n".encode("utf-8", "replace"), status, content_type="text/plain; charset=utf-8"
    )
