"""Sightline's web application and its command line: `python app.py --help`."""

# Without "from __future__ import annotations", so that a Python that is too old can say so.
import os
import sys
import threading
import webbrowser
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from vlm.system import require_packages, require_supported

# Before the packages, whose errors would name neither the system nor the cure.
require_supported()
require_packages()

from vlm.console import make_consoles_safe
from vlm.errors import SettingsError
from vlm.heap import return_memory
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
    warning_of_strangers,
)
from web.streaming import Admission
from web.terminal import follow_models

# A worker inside a pass or a load cannot end; the exit does not wait for it.
WORKER_END_S = 0.2


def main(argv: Sequence[str], env: Mapping[str, str], program: str = "app.py") -> int:
    """Serve until Ctrl-C; return the exit code (0 ended, 1 cannot listen, 2 bad settings)."""
    return_memory()
    make_consoles_safe()
    try:
        settings = Settings.from_args(argv, env, program)
        models = Models(settings)
        admission = Admission(settings.max_queue)
        app = create_app(settings, models, admission)
        listener = listen(settings.host, settings.port)
    except (SettingsError, ListenError) as error:
        print(f"{program}: {error}", file=sys.stderr)
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
            print(warning_of_strangers(settings), flush=True)
        if settings.open_browser:
            threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()
        server.run()
    models.close(timeout_s=WORKER_END_S)
    app.extensions["timeline"].close()
    # The reader of stdout may have gone; that is no failure of this program.
    with suppress(OSError):
        print("Ended.", flush=True)
    return 0


def run() -> NoReturn:
    """Run as a program: `python app.py`, or `sightline` of an installed wheel."""
    try:
        code = main(sys.argv[1:], os.environ, Path(sys.argv[0]).name)
    except KeyboardInterrupt:
        code = 130
    # The interpreter's own end would wait for threads inside a model, up to a minute during a load.
    os._exit(code)


if __name__ == "__main__":
    run()
