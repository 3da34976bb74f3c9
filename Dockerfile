# Two images from one file: `serve`, our own server (the default), and `aegra`, a worker or the front of
# a cluster. docs/deploy.md explains their use. They contain nothing secret: keys come at run time.

FROM python:3.12-slim-bookworm AS wheel
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY graph graph
COPY nodes nodes
COPY prompts prompts
COPY evals evals
COPY swarm_brain swarm_brain
COPY llm_swarm_brain llm_swarm_brain
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheel .

FROM python:3.12-slim-bookworm AS serve-packages
ARG EXTRAS=embedded,memory,postgres,server
COPY constraints.txt /
COPY --from=wheel /wheel /wheel
RUN python -m venv /opt/swarm-brain \
 && /opt/swarm-brain/bin/pip install --no-cache-dir -c /constraints.txt "$(ls /wheel/*.whl)[${EXTRAS}]"

FROM python:3.12-slim-bookworm AS aegra-packages
ARG EXTRAS=memory,postgres,server,aegra
COPY constraints.txt /
COPY --from=wheel /wheel /wheel
RUN python -m venv /opt/swarm-brain \
 && /opt/swarm-brain/bin/pip install --no-cache-dir -c /constraints.txt "$(ls /wheel/*.whl)[${EXTRAS}]"

FROM python:3.12-slim-bookworm AS runtime
ENV PATH=/opt/swarm-brain/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    OMP_WAIT_POLICY=PASSIVE \
    XDG_CONFIG_HOME=/data/config \
    SWARM_BRAIN_DATA_DIR=/data \
    SWARM_BRAIN_CACHE_DIR=/data/cache
RUN useradd --uid 10001 --no-create-home --home-dir /data --shell /usr/sbin/nologin swarm \
 && install -d -o swarm -g swarm /data
WORKDIR /app
VOLUME /data
USER 10001
EXPOSE 8000

FROM runtime AS aegra
COPY --from=aegra-packages /opt/swarm-brain /opt/swarm-brain
COPY langgraph.json ./
COPY graph graph
COPY nodes nodes
COPY prompts prompts
COPY evals evals
COPY swarm_brain swarm_brain
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
  CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/health', timeout=4)"]
# Not `aegra serve`: it does not pass SIGTERM on to the server that it starts.
CMD ["python", "-m", "uvicorn", "aegra_api.main:app", "--host", "0.0.0.0", "--port", "8000"]

FROM runtime AS serve
COPY --from=serve-packages /opt/swarm-brain /opt/swarm-brain
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
  CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/healthz', timeout=4)"]
CMD ["swarm-brain", "serve", "--host", "0.0.0.0", "--port", "8000"]
