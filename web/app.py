"""The application factory: the routes, and the hooks that run around them."""

from __future__ import annotations

import mimetypes
from pathlib import Path

from flask import Flask, render_template

from vlm.models.manager import Models
from vlm.settings import Settings
from web.access import install_access
from web.captions import MAX_FORM_BYTES, captions_blueprint
from web.errors import install_error_handlers
from web.metrics import Metrics, metrics_blueprint
from web.openai.routes import openai_blueprint
from web.openapi import openapi_blueprint
from web.request_log import install_request_log
from web.status import models_blueprint, status_blueprint
from web.streaming import Admission

ROOT = Path(__file__).resolve().parents[1]


def create_app(
    settings: Settings, models: Models | None = None, admission: Admission | None = None
) -> Flask:
    """Return the web application over `models`; without them, create and start them.

    Raises SettingsError if `settings` name a key file that cannot be read.
    """
    if models is None:
        models = Models(settings)
        models.start()
    admission = admission or Admission(settings.max_queue)
    # Some Windows registries map .js to text/plain; browsers refuse to run such modules.
    mimetypes.add_type("text/javascript", ".js")
    app = Flask("sightline", root_path=str(ROOT))
    app.config["MAX_CONTENT_LENGTH"] = MAX_FORM_BYTES
    metrics = Metrics(models)
    models.worker.subscribe(metrics)
    # The request log first: a request that the access checks refuse is logged too.
    install_request_log(app, settings, models.worker, metrics.answered)
    install_error_handlers(app)
    install_access(app, settings)
    app.register_blueprint(status_blueprint(settings, models))
    app.register_blueprint(metrics_blueprint(metrics))
    app.register_blueprint(openapi_blueprint(settings))
    app.register_blueprint(models_blueprint(models))
    app.register_blueprint(captions_blueprint(settings, models.worker, admission))
    app.register_blueprint(openai_blueprint(settings, models.worker, admission))

    @app.get("/")
    def index() -> str:
        return render_template("index.html")

    return app
