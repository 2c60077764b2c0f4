# A worker on an NVIDIA GPU. PyTorch's wheels bring their CUDA libraries; the node brings the driver, through the NVIDIA
# container toolkit, so that no CUDA base image is needed.
# docker build -f docker/worker-cuda.Dockerfile -t synerdiff-worker-cuda .
ARG BASE_IMAGE=docker.io/library/python:3.11.14-slim-bookworm

FROM ${BASE_IMAGE} AS build
SHELL ["/bin/sh", "-euc"]
# Choose the CUDA that your drivers support, e.g. https://download.pytorch.org/whl/cu126; empty: the default on PyPI.
ARG TORCH_INDEX=
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
LABEL org.opencontainers.image.title="SynerDiff worker (CUDA)" \
      org.opencontainers.image.description="Diffusion worker of an image-generation fleet, for NVIDIA GPUs" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# Triton compiles its launchers with a C compiler at run time.
# hadolint ignore=DL3008
RUN apt-get update && \
    apt-get install -y --no-install-recommends gcc libc6-dev && \
    rm -rf /var/lib/apt/lists/* && \
    useradd --uid 10001 --user-group --home-dir /tmp --no-create-home --shell /usr/sbin/nologin synerdiff && \
    install -d -o 10001 -g 10001 /cache
COPY --from=build /opt/venv /opt/venv
COPY docker/healthcheck.py /opt/healthcheck.py
ENV PATH=/opt/venv/bin:$PATH \
    HOME=/tmp \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    OMP_WAIT_POLICY=passive \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    HF_HOME=/cache/hub \
    TORCHINDUCTOR_CACHE_DIR=/cache/inductor \
    TRITON_CACHE_DIR=/cache/triton \
    CUDA_CACHE_PATH=/cache/cuda \
    SYNERDIFF_CACHE_DIR=/cache/synerdiff \
    SYNERDIFF_DEVICE=cuda \
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
