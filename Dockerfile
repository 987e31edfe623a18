# One image for the code server, the web server, the daemon and the runs.
#
#   docker build -t embedllm .                                                           # CPU
#   docker build -t embedllm:cuda --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu126 .
ARG PYTHON=3.11

FROM python:${PYTHON}-slim AS build
ARG TORCH=2.13.0
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
# More extras of pyproject.toml, with commas, as in EXTRAS=api,vllm.
ARG EXTRAS=api
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH
RUN pip install --index-url "$TORCH_INDEX" "torch==$TORCH"
WORKDIR /app
# Dagster's libraries have version 0.29.27 where dagster has 1.13.27.
COPY pyproject.toml constraints.txt README.md dagster.yaml ./
COPY pipelines pipelines
COPY assets assets
COPY embedder embedder
COPY warehouse warehouse
COPY harness harness
COPY registry registry
RUN pip install --constraint constraints.txt --editable ".[$EXTRAS]" \
    dagster-postgres==0.29.27 dagster-k8s==0.29.27 psycopg2-binary

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
