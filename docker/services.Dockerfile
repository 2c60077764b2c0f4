# Scheduler, gateway and Flower: one small image, the service is the argument (`scheduler`, `gateway`, `flower`).
# docker build -f docker/services.Dockerfile -t synerdiff-services .
# Pin the base to a digest where you build for production: --build-arg BASE_IMAGE=python:3.11.14-slim-bookworm@sha256:...
ARG BASE_IMAGE=docker.io/library/python:3.11.14-slim-bookworm

FROM ${BASE_IMAGE} AS build
SHELL ["/bin/sh", "-euc"]
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python3 -m venv /opt/venv
WORKDIR /src
COPY docker/requirements.py docker/
COPY pyproject.toml ./
RUN python3 docker/requirements.py scheduler gateway flower > requirements.txt; \
    /opt/venv/bin/pip install --no-cache-dir -r requirements.txt
COPY LICENSE NOTICE README.md ./
COPY core core
COPY scheduler scheduler
COPY workers workers
COPY api api
RUN /opt/venv/bin/pip install --no-cache-dir --no-deps . && \
    rm -rf /opt/venv/lib/python3*/site-packages/synerdiff/engine/shipped

FROM ${BASE_IMAGE}
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="SynerDiff services" \
      org.opencontainers.image.description="Scheduler, HTTP gateway and Flower of an image-generation fleet" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
RUN useradd --uid 10001 --user-group --home-dir /tmp --no-create-home --shell /usr/sbin/nologin synerdiff
COPY --from=build /opt/venv /opt/venv
COPY docker/healthcheck.py /opt/healthcheck.py
ENV PATH=/opt/venv/bin:$PATH \
    HOME=/tmp \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    SYNERDIFF_LOG_FORMAT=json \
    SYNERDIFF_GATEWAY_HOST=0.0.0.0 \
    SYNERDIFF_FLOWER_HOST=0.0.0.0 \
    SYNERDIFF_METRICS_HOST=0.0.0.0 \
    SYNERDIFF_METRICS_PORT=9100 \
    HEALTH_URL=http://127.0.0.1:8000/healthz
USER 10001:10001
WORKDIR /tmp
EXPOSE 8000 5555 9100
# Of the gateway; for the others set HEALTH_URL to :9100/healthz (scheduler) or :5555/healthcheck (Flower).
HEALTHCHECK --interval=15s --timeout=6s --start-period=20s --retries=4 CMD ["python3", "/opt/healthcheck.py"]
ENTRYPOINT ["synerdiff"]
CMD ["gateway"]
