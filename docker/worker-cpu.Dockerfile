# A worker without a GPU: trials, tests, small models.
# docker build -f docker/worker-cpu.Dockerfile -t synerdiff-worker-cpu .
ARG BASE_IMAGE=docker.io/library/python:3.11.14-slim-bookworm

FROM ${BASE_IMAGE} AS build
SHELL ["/bin/sh", "-euc"]
# PyTorch's own index has builds without CUDA, 2 GB smaller; empty: whatever pip finds.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ARG TORCH=torch==2.13.0
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python3 -m venv /opt/venv; \
    /opt/venv/bin/pip install --no-cache-dir ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} "$TORCH"
WORKDIR /src
COPY docker/requirements.py docker/
COPY pyproject.toml ./
RUN python3 docker/requirements.py worker > requirements.txt; \
    /opt/venv/bin/pip install --no-cache-dir -r requirements.txt
COPY LICENSE NOTICE README.md ./
COPY core core
COPY scheduler scheduler
COPY workers workers
COPY api api
RUN /opt/venv/bin/pip install --no-cache-dir --no-deps .

FROM ${BASE_IMAGE}
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="SynerDiff worker (CPU)" \
      org.opencontainers.image.description="Diffusion worker of an image-generation fleet, for machines without a GPU" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
RUN useradd --uid 10001 --user-group --home-dir /tmp --no-create-home --shell /usr/sbin/nologin synerdiff && \
    install -d -o 10001 -g 10001 /cache
COPY --from=build /opt/venv /opt/venv
COPY docker/healthcheck.py /opt/healthcheck.py
ENV PATH=/opt/venv/bin:$PATH \
    HOME=/tmp \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    OMP_WAIT_POLICY=passive \
    HF_HOME=/cache/hub \
    TORCHINDUCTOR_CACHE_DIR=/cache/inductor \
    SYNERDIFF_CACHE_DIR=/cache/synerdiff \
    SYNERDIFF_DEVICE=cpu \
    SYNERDIFF_LOG_FORMAT=json \
    SYNERDIFF_METRICS_HOST=0.0.0.0 \
    SYNERDIFF_METRICS_PORT=9100 \
    HEALTH_URL=http://127.0.0.1:9100/healthz
USER 10001:10001
WORKDIR /tmp
VOLUME /cache
EXPOSE 9100
HEALTHCHECK --interval=15s --timeout=6s --start-period=300s --retries=4 CMD ["python3", "/opt/healthcheck.py"]
ENTRYPOINT ["synerdiff"]
CMD ["worker"]
