"""`/v1/embeddings` and `/v1/rerank`, by OpenAI's client and by plain requests."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from flask.testing import FlaskClient
from openai import OpenAI
from PIL import Image

from tools.evals.truth.scenes import single_objects
from vlm.scheduler.worker import Worker
from vlm.settings import Settings
from web_client import app_over

pytest.importorskip("openvino")

EMBEDDINGS, RERANK = "/v1/embeddings", "/v1/rerank"


def uri_of(image: Image.Image) -> str:
    file = io.BytesIO()
    image.save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


@pytest.fixture(scope="module")
def pictures() -> dict[str, str]:
    """Return pictures of one thing each, by its name."""
    return {name: uri_of(frame.image) for frame, name in single_objects(4, "held_out")}


def test_texts_and_pictures_by_openais_client(client: OpenAI, pictures: dict[str, str]) -> None:
    names = list(pictures)
    answer = client.embeddings.create(model="any", input=names)
    texts = np.array([each.embedding for each in answer.data], np.float32)
    assert answer.model == "nano-pair" and [each.index for each in answer.data] == [0, 1, 2, 3]
    images = client.embeddings.create(
        model="any", input=list(pictures.values()), encoding_format="float"
    )
    vectors = np.array([each.embedding for each in images.data], np.float32)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert np.argmax(vectors @ texts.T, 1).tolist() == [0, 1, 2, 3]
    one = client.embeddings.create(model="any", input=names[0], dimensions=texts.shape[1])
    # The client asks for base64 by itself and decodes it.
    np.testing.assert_allclose(one.data[0].embedding, texts[0], atol=1e-6)


def test_documents_are_ordered_by_the_query(web: FlaskClient, pictures: dict[str, str]) -> None:
    names = list(pictures)
    body = {"query": names[2], "documents": [{"image": uri} for uri in pictures.values()]}
    results = web.post(RERANK, json=body).get_json()["results"]
    assert results[0]["index"] == 2 and "document" not in results[0]
    scores = [each["relevance_score"] for each in results]
    assert scores == sorted(scores, reverse=True) and len(scores) == 4
    body = {"query": {"image": pictures[names[1]]}, "documents": names, "top_n": 1}
    (best,) = web.post(RERANK, json=body).get_json()["results"]
    assert best["index"] == 1 and best["document"] == {"text": names[1]}
    body |= {"return_documents": False, "documents": [names[0]] * 2, "top_n": 9}
    results = web.post(RERANK, json=body).get_json()["results"]
    assert [each["index"] for each in results] == [0, 1] and "document" not in results[0]


def test_bad_bodies_are_refused(web: FlaskClient) -> None:
    broken = "data:image/png;base64,QUJD"
    for path, body, status, param in (
        (EMBEDDINGS, {}, 400, "input"),
        (EMBEDDINGS, {"input": []}, 400, "input"),
        (EMBEDDINGS, {"input": ["a"] * 257}, 400, "input"),
        (EMBEDDINGS, {"input": [[1, 2]]}, 400, "input[0]"),
        (EMBEDDINGS, {"input": [{}]}, 400, "input[0]"),
        (EMBEDDINGS, {"input": [{"text": "a", "image": broken}]}, 400, "input[0]"),
        (EMBEDDINGS, {"input": "a" * 32_001}, 400, "input"),
        (EMBEDDINGS, {"input": ["a" * 30_000] * 5}, 400, "input"),
        (EMBEDDINGS, {"input": "a", "dimensions": 7}, 400, "dimensions"),
        (EMBEDDINGS, {"input": "a", "encoding_format": "int8"}, 400, "encoding_format"),
        (EMBEDDINGS, {"input": broken}, 400, "input[0]"),
        (EMBEDDINGS, {"input": [{"image": "https://localhost/a.png"}]}, 400, "input[0]"),
        (EMBEDDINGS, {"input": [{"image": ""}]}, 400, "input[0]"),
        (RERANK, {"documents": ["a"]}, 400, "query"),
        (RERANK, {"query": "a", "documents": []}, 400, "documents"),
        (RERANK, {"query": "a", "documents": ["a"], "top_n": 0}, 400, "top_n"),
    ):
        answer = web.post(path, json=body)
        assert answer.status_code == status, (body, answer.text)
        assert answer.get_json()["error"]["param"] == param, (body, answer.text)
    assert web.post(EMBEDDINGS, data="{}", content_type="text/plain").status_code == 415
    answer = web.post(EMBEDDINGS, json={"input": "a", "user": "me", "task": "x"})
    assert answer.headers["X-Sightline-Ignored"] == "task, user"


def test_a_dual_encoder_that_is_off_is_told(web_worker: Worker) -> None:
    web = app_over(web_worker, Settings(pair="none")).test_client()
    answer = web.post(EMBEDDINGS, json={"input": "a"})
    assert answer.status_code == 503 and "dual encoder is switched off" in answer.text
