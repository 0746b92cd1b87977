# One image for worker, API and migrations; the command says which.
# PYTHONDONTWRITEBYTECODE is left unset on purpose: every new workflow re-imports its module in the
# sandbox, and without bytecode it would be compiled each time.
FROM python:3.12-slim AS build
RUN pip install --no-cache-dir uv==0.13.9
WORKDIR /app
ENV UV_LINK_MODE=copy UV_COMPILE_BYTECODE=1 UV_PYTHON_DOWNLOADS=never
COPY pyproject.toml uv.lock README.md LICENSE ./
RUN uv sync --frozen --no-dev --no-install-project
COPY activities ./activities
COPY reminders ./reminders
COPY starter ./starter
COPY workflows ./workflows
COPY worker.py ./
RUN uv sync --frozen --no-dev --no-editable

FROM python:3.12-slim
RUN useradd --system --uid 10001 --no-create-home reminders
COPY --from=build /app/.venv /app/.venv
ENV PATH=/app/.venv/bin:$PATH PYTHONUNBUFFERED=1
USER 10001
# What is in flight may end, for up to 30 seconds: give the container a little more.
STOPSIGNAL SIGTERM
CMD ["reminders", "worker"]
