# One image for the code server, the web server, the daemon and the runs.
#
#   docker build -t embedllm --build-arg TORCH_INDEX=URL .     # URL: PyTorch's index of builds for the CPU, or for CUDA
#
# Without TORCH_INDEX, pip takes the build that its own index offers, which may bring several GB of CUDA packages.
ARG PYTHON=3.11

FROM python:${PYTHON}-slim AS build
ARG TORCH=2.13.0
ARG TORCH_INDEX=
# Extras of pyproject.toml, with commas, as in EXTRAS=api,postgres,vllm.
ARG EXTRAS=api,postgres
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH
RUN pip install ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} "torch==$TORCH"
WORKDIR /app
COPY pyproject.toml constraints.txt README.md dagster.yaml ./
COPY pipelines pipelines
COPY assets assets
COPY embedder embedder
COPY warehouse warehouse
COPY harness harness
COPY registry registry
# Dagster's libraries have version 0.29.27 where dagster has 1.13.27.
RUN pip install --constraint constraints.txt --editable ".[$EXTRAS]" dagster-k8s==0.29.27

FROM python:${PYTHON}-slim
# The user's id is a number, so that Kubernetes can see that it is not root.
RUN useradd --uid 1000 --create-home embedllm \
    && install -d -o embedllm -g embedllm /data /dagster
COPY --from=build /opt/venv /opt/venv
COPY --from=build /app /app
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    DAGSTER_HOME=/dagster \
    EMBEDLLM_HOME=/data \
    HF_HOME=/data/huggingface
WORKDIR /app
USER 1000:1000
EXPOSE 4000
# There is no HEALTHCHECK here, as one image serves three kinds of process: compose.yaml and the Helm chart have one for each.
CMD ["dagster", "code-server", "start", "--host", "0.0.0.0", "--port", "4000", "--module-name", "pipelines.definitions"]
