"""The application factory: the routes, and the hooks that run around them."""

from __future__ import annotations

import mimetypes
from pathlib import Path

from flask import Flask, Response, make_response, render_template

from vlm.finder.meaning import Meaning
from vlm.models.manager import Models
from vlm.scheduler.controller import Controller
from vlm.settings import Settings
from vlm.timeline.database import default_file
from vlm.timeline.recorder import Recorder
from vlm.timeline.timeline import Timeline
from web.access import REVALIDATED, install_access
from web.captions import captions_blueprint
from web.closer import closer_blueprint
from web.errors import install_error_handlers
from web.labels import labels_blueprint
from web.metrics import Metrics, metrics_blueprint
from web.ollama.routes import ollama_blueprint
from web.openai.props import props_blueprint
from web.openai.routes import openai_blueprint
from web.openapi import openapi_blueprint
from web.paths import NearMisses
from web.picture_body import MAX_FORM_BYTES
from web.proxy import TrustedProxies
from web.request_log import install_request_log
from web.status import models_blueprint, status_blueprint
from web.streaming import Admission
from web.things import things_blueprint
from web.timeline import timeline_blueprint
from web.timeline_ask import timeline_ask_blueprint

_WEB = Path(__file__).resolve().parent
# The folder of `static` and `templates`: in a checkout beside this package, in a wheel inside it.
ROOT = next(each for each in (_WEB, _WEB.parent) if (each / "templates").is_dir())


def create_app(
    settings: Settings, models: Models | None = None, admission: Admission | None = None
) -> Flask:
    """Return the web application over `models`; without them, create and start them.

    Raises SettingsError if `settings` name a key file that cannot be read.
    """
    if models is None:
        models = Models(settings)
        models.start()
    meaning = Meaning(models.finder.pair, models.worker)
    admission = admission or Admission(settings.max_queue)
    # Some Windows registries map .js to text/plain; browsers refuse to run such modules.
    mimetypes.add_type("text/javascript", ".js")
    app = Flask("sightline", root_path=str(ROOT))
    app.config["MAX_CONTENT_LENGTH"] = MAX_FORM_BYTES
    controller = Controller(settings.latency, settings.max_tokens)
    metrics = Metrics(models, controller)
    # The controller first, so that what a reader is told is known to it.
    models.worker.subscribe(controller)
    models.worker.subscribe(metrics)
    timeline = timeline_of(settings)
    timeline.use_meaning(meaning)
    app.extensions["timeline"] = timeline
    models.worker.subscribe(Recorder(timeline, models.worker))
    # The request log first: a request that the access checks refuse is logged too.
    install_request_log(app, settings, models.worker, metrics.answered)
    install_error_handlers(app)
    install_access(app, settings)
    app.wsgi_app = NearMisses(app.wsgi_app)  # type: ignore[method-assign]
    app.wsgi_app = TrustedProxies(app.wsgi_app, settings.behind_proxy)  # type: ignore[method-assign]
    app.register_blueprint(status_blueprint(settings, models, controller, timeline))
    app.register_blueprint(metrics_blueprint(metrics))
    app.register_blueprint(openapi_blueprint(settings))
    app.register_blueprint(models_blueprint(models))
    app.register_blueprint(
        captions_blueprint(settings, models.worker, controller, admission, timeline)
    )
    app.register_blueprint(labels_blueprint(models.worker, meaning, admission))
    app.register_blueprint(closer_blueprint(models.worker, models.finder, admission))
    app.register_blueprint(things_blueprint(models.finder, admission))
    app.register_blueprint(timeline_blueprint(timeline))
    app.register_blueprint(timeline_ask_blueprint(timeline, models.worker, admission))
    app.register_blueprint(openai_blueprint(models, meaning, admission))
    app.register_blueprint(props_blueprint(models))
    app.register_blueprint(ollama_blueprint(models, admission))

    @app.get("/")
    def index() -> Response:
        page = make_response(render_template("index.html"))
        page.headers["Cache-Control"] = REVALIDATED
        return page

    # Browsers and phones look for these, whatever the page links to.
    @app.get("/favicon.ico")
    def favicon() -> Response:
        return app.send_static_file("icons/favicon.ico")

    @app.get("/apple-touch-icon.png")
    def touch_icon() -> Response:
        return app.send_static_file("icons/apple-touch-icon.png")

    return app


def timeline_of(settings: Settings) -> Timeline:
    """Return the timeline of a server with `settings`."""
    chosen = {
        "keep": settings.timeline,
        "days": settings.timeline_days,
        "mb": settings.timeline_mb,
    }
    return Timeline(
        Path(settings.timeline_file) if settings.timeline_file else default_file(),
        chosen={name: str(value) for name, value in chosen.items() if value is not None},
        available=not settings.no_timeline,
    )
