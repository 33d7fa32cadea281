"""The application factory: which routes there are, and what stands before them."""

from __future__ import annotations

import mimetypes
from pathlib import Path

from flask import Flask

from vlm.models.manager import Models
from vlm.settings import Settings
from web.access import install_client_key, install_safety
from web.admission import Admission
from web.caption_request import MAX_FORM_BYTES
from web.captions import captions_blueprint
from web.errors import install_error_handlers
from web.metrics import Metrics, metrics_blueprint
from web.models import models_blueprint
from web.openai.api import openai_blueprint
from web.openapi.document import openapi_blueprint
from web.pages import pages
from web.request_log import install_request_log
from web.status import status_blueprint

ROOT = Path(__file__).resolve().parents[1]


def create_app(
    settings: Settings, models: Models | None = None, admission: Admission | None = None
) -> Flask:
    """The web application over `models`, which are made and started here where none are given.

    Raises SettingsError where `settings` name a file of a key that is not there.
    """
    if models is None:
        models = Models(settings)
        models.start()
    admission = admission or Admission(settings.max_queue)
    # Some Windows registries say text/plain here, and browsers then refuse to run modules.
    mimetypes.add_type("text/javascript", ".js")
    app = Flask("sightline", root_path=str(ROOT))
    app.config["MAX_CONTENT_LENGTH"] = MAX_FORM_BYTES
    metrics = Metrics(models)
    models.worker.subscribe(metrics)
    install_request_log(app, settings, models.worker, metrics.answered)
    install_error_handlers(app)
    install_safety(app, settings)
    install_client_key(app, settings)
    app.register_blueprint(pages)
    app.register_blueprint(status_blueprint(settings, models))
    app.register_blueprint(metrics_blueprint(metrics))
    app.register_blueprint(openapi_blueprint(settings))
    app.register_blueprint(models_blueprint(models))
    app.register_blueprint(captions_blueprint(settings, models.worker, admission))
    app.register_blueprint(openai_blueprint(settings, models.worker, admission))
    return app
