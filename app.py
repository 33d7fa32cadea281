"""Sightline's web application and its command line: `python app.py --help`."""

from __future__ import annotations

import os
import sys
import threading
import webbrowser
from collections.abc import Mapping, Sequence
from contextlib import suppress

from vlm.errors import SettingsError
from vlm.models.manager import Models
from vlm.settings import Settings
from web.app import create_app
from web.request_log import write_request_log
from web.server import (
    ListenError,
    Server,
    end_on_signals,
    is_open_to_others,
    listen,
    page_url,
)
from web.streaming import Admission
from web.terminal import follow_models

# A worker inside a pass or a load cannot end; the exit does not wait for it.
WORKER_END_S = 0.2


def main(argv: Sequence[str], env: Mapping[str, str]) -> int:
    """Serve until Ctrl-C; return the exit code (0 ended, 1 cannot listen, 2 bad settings)."""
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
    server = Server(app, listener, admission.limit)
    # The running server handles an interrupt; this is for one that comes just before.
    with suppress(KeyboardInterrupt):
        end_on_signals(admission.stop)
        models.start()
        follow_models(models, url)
        if is_open_to_others(listener):
            print("Warning: anyone on your network can open this page.", flush=True)
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
    # The interpreter's own end would wait for threads inside a model, up to a minute during a load.
    os._exit(code)
