# Sightline in a container: `docker compose up` for the CPU, `docker compose up cuda` for an NVIDIA GPU.
# By hand: docker build -t sightline . && docker run --rm -p 127.0.0.1:8000:8000 -v sightline:/cache sightline

FROM python:3.11.14-slim-bookworm AS packages
# "cpu" fetches torch without the gigabytes that a GPU needs; "cuda" takes the one with them.
ARG TORCH=cpu
ENV PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH
WORKDIR /build
COPY requirements.txt .
# Torch's CPU builds lie in an index of their own, as its start page says; the version is the pinned one.
RUN --mount=type=cache,target=/root/.cache/pip \
    if [ "$TORCH" = cpu ]; then \
      pip install --index-url https://download.pytorch.org/whl/cpu "$(grep '^torch==' requirements.txt)"; \
    fi \
    && pip install -r requirements.txt

FROM python:3.11.14-slim-bookworm
# Nobody in particular: the process owns nothing but the cache.
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin sightline \
    && install --directory --owner=sightline --group=sightline /cache
COPY --from=packages /opt/venv /opt/venv
WORKDIR /app
COPY . .
RUN /opt/venv/bin/python -m compileall -q .
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    HOME=/cache \
    HF_HOME=/cache/huggingface \
    SIGHTLINE_CACHE=/cache/sightline
# Models that were fetched, and what was converted of them for OpenVINO.
VOLUME /cache
USER 10001
EXPOSE 8000
# Not urllib: it would ask a proxy of the environment for what is in this container.
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s CMD ["python", "-c", "import http.client as http; asked = http.HTTPConnection('127.0.0.1', 8000, timeout=4); asked.request('GET', '/healthz'); raise SystemExit(asked.getresponse().status != 200)"]
# Every address of the container, of which compose.yaml publishes one port to this machine alone:
# browsers give the camera to http://localhost or to https pages only, and there is no password.
ENTRYPOINT ["python", "app.py", "--host", "0.0.0.0", "--port", "8000"]
