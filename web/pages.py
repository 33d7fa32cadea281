"""`GET /`: the one page; its scripts, styles and pictures come from `/static`."""

from __future__ import annotations

from flask import Blueprint, render_template

pages = Blueprint("pages", __name__)


@pages.get("/")
def index() -> str:
    return render_template("index.html")
