"""The bundled classifier, loaded once."""

from __future__ import annotations

import pytest

from vlm.classify.classifier import Classifier, load_classifier


@pytest.fixture(scope="session")
def classifier() -> Classifier:
    return load_classifier()
