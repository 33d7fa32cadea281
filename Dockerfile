# Sightline in a container: `docker compose up` for the CPU, `docker compose up cuda` for an NVIDIA GPU.
# By hand: docker build -t sightline . && docker run --rm -p 127.0.0.1:8000:8000 -v sightline:/cache sightline

FROM python:3.11.14-slim-bookworm AS packages
# "cpu" installs torch's small CPU build, "cuda" the build for GPUs.
ARG TORCH=cpu
ENV PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH
WORKDIR /build
COPY requirements.txt .
# Torch's CPU builds have an index of their own (see its start page); the version is the pinned one.
RUN --mount=type=cache,target=/root/.cache/pip \
    if [ "$TORCH" = cpu ]; then \
      pip install --index-url https://download.pytorch.org/whl/cpu "$(grep '^torch==' requirements.txt)"; \
    fi \
    && pip install -r requirements.txt

FROM python:3.11.14-slim-bookworm
# The process owns only the cache.
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
# Downloaded models and their conversions for OpenVINO.
VOLUME /cache
USER 10001
EXPOSE 8000
# Not urllib: it would use a proxy of the environment.
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s CMD ["python", "-c", "import http.client as http; asked = http.HTTPConnection('127.0.0.1', 8000, timeout=4); asked.request('GET', '/healthz'); raise SystemExit(asked.getresponse().status != 200)"]
# All addresses of the container; compose.yaml publishes one port, to this machine only. Browsers allow
# the camera only for http://localhost and https pages, and there is no password.
ENTRYPOINT ["python", "app.py", "--host", "0.0.0.0", "--port", "8000"]
