"""The arguments of the client programs, and the structured answer that they request."""

from __future__ import annotations

import base64
import sys
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, Field

base_url, picture, prompt = sys.argv[1:4]
data_uri = f"data:image/jpeg;base64,{base64.b64encode(Path(picture).read_bytes()).decode()}"


class Scene(BaseModel):
    """The contents of a picture."""

    shape: Literal["circle", "star", "square", "nothing"]
    count: Annotated[int, Field(ge=0, le=9)]
    note: Annotated[str, Field(max_length=12)] | None
