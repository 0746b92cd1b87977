# One image for worker, API and migrations; the command says which.
#
# Needs nothing of BuildKit, so that any builder takes it. Another base can be given: it
# needs Python >= 3.11, called `python3`, with its module venv.
ARG PYTHON_IMAGE=python:3.13-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
RUN python3 -m venv /uv && /uv/bin/pip install --no-cache-dir uv==0.13.9
WORKDIR /app
ENV UV_LINK_MODE=copy UV_COMPILE_BYTECODE=1 UV_PYTHON_DOWNLOADS=never UV_NO_CACHE=1
# The dependencies first: they change less often than the code, and their layer is kept.
COPY pyproject.toml uv.lock README.md LICENSE ./
RUN /uv/bin/uv sync --locked --no-dev --extra otel --no-install-project
COPY activities ./activities
COPY reminders ./reminders
COPY starter ./starter
COPY workflows ./workflows
COPY worker.py ./
RUN /uv/bin/uv sync --locked --no-dev --extra otel --no-editable

FROM ${PYTHON_IMAGE} AS runtime
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin reminders
COPY --from=build /app/.venv /app/.venv
WORKDIR /app
# PYTHONDONTWRITEBYTECODE is left unset on purpose: every new workflow re-imports its module in the
# sandbox. All bytecode is in the image already, so that nothing has to be written.
ENV PATH=/app/.venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    API_ADDRESS=0.0.0.0:8000 \
    METRICS_ADDRESS=0.0.0.0:9464 \
    HEALTH_URL=http://127.0.0.1:9464/healthz
USER 10001
EXPOSE 8000 9464
# Of a worker; for the API set HEALTH_URL to its /healthz.
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python3", "-c", "import os, urllib.request as r; r.urlopen(os.environ['HEALTH_URL'], timeout=4)"]
# What is in flight may end, for up to 30 seconds: give the container a little more.
STOPSIGNAL SIGTERM
CMD ["reminders", "worker"]

# Of compose's profile `dev` only: what production has, and the stand-in for Resend beside it.
FROM runtime AS dev
COPY devstack ./devstack

# What is shipped. Last, because that is what a build without a target makes.
FROM runtime
