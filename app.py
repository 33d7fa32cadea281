"""Sightline's web application and its command line: `python app.py --help`."""

from __future__ import annotations

import mimetypes
import os
import sys
import threading
import webbrowser
from collections.abc import Mapping, Sequence
from contextlib import suppress

from flask import Flask

from routes.admission import Admission
from routes.captions import captions_blueprint
from routes.errors import install_error_handlers
from routes.metrics import Metrics, metrics_blueprint
from routes.models import models_blueprint
from routes.openai_api import install_client_key, openai_blueprint
from routes.openapi import openapi_blueprint
from routes.pages import pages
from routes.request_log import install_request_log, write_request_log
from routes.safety import install_safety
from routes.status import status_blueprint
from serving import (
    ListenError,
    end_on_signals,
    is_open_to_others,
    listen,
    make_server,
    page_url,
)
from terminal import tell_of_models, tell_of_start
from vlm.errors import SettingsError
from vlm.images import MAX_IMAGE_BYTES
from vlm.models import Models
from vlm.settings import Settings

MULTIPART_OVERHEAD_BYTES = 64 * 2**10
MAX_FORM_PARTS = 16
# A worker deep in a pass or a load does not hear of the end; the exit does not wait for it.
WORKER_END_S = 0.2


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
    app = Flask(__name__)
    app.config["MAX_CONTENT_LENGTH"] = MAX_IMAGE_BYTES + MULTIPART_OVERHEAD_BYTES
    app.config["MAX_FORM_MEMORY_SIZE"] = MULTIPART_OVERHEAD_BYTES
    app.config["MAX_FORM_PARTS"] = MAX_FORM_PARTS
    metrics = Metrics(models)
    models.worker.add_watcher(metrics)
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


def main(argv: Sequence[str], env: Mapping[str, str]) -> int:
    """Serve until Ctrl-C; returns the exit code (0 ended, 1 cannot listen, 2 bad settings)."""
    try:
        settings = Settings.from_args(argv, env)
        models = Models(settings)
        admission = Admission(settings.max_queue)
        app = create_app(settings, models, admission)
        listener = listen(settings.host, settings.port)
    except (SettingsError, ListenError) as error:
        print(f"app.py: {error}", file=sys.stderr)
        return 2 if isinstance(error, SettingsError) else 1
    url = page_url(listener)
    write_request_log(settings)
    server = make_server(app, listener, admission.limit)
    # A running server takes the interrupt as its end; this is for one that comes just before.
    with suppress(KeyboardInterrupt):
        end_on_signals(admission.stop)
        models.start()
        tell_of_start(models, url)
        if is_open_to_others(listener):
            print("Everybody who reaches this machine over the network can use it too.", flush=True)
        threading.Thread(target=tell_of_models, args=(models, url), daemon=True).start()
        if settings.open_browser:
            threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()
        server.run()
    models.close(timeout_s=WORKER_END_S)
    print("Ended.", flush=True)
    return 0


if __name__ == "__main__":
    try:
        code = main(sys.argv[1:], os.environ)
    except KeyboardInterrupt:
        code = 130
    # The interpreter's own end would wait for threads inside a model, for a minute while it loads.
    os._exit(code)
