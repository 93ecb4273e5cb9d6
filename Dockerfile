FROM python:3.13-slim-bookworm AS build
WORKDIR /src
RUN python -m venv /app
COPY requirements.txt ./
RUN /app/bin/pip install --no-cache-dir --require-hashes --only-binary :all: -r requirements.txt
COPY pyproject.toml README.md ./
COPY gateway ./gateway
COPY auth ./auth
COPY cache ./cache
COPY config ./config
COPY ipld ./ipld
COPY migrations ./migrations
COPY naming ./naming
COPY storage ./storage
RUN /app/bin/pip install --no-cache-dir --no-deps --no-build-isolation .

FROM python:3.13-slim-bookworm
RUN useradd --system --uid 10001 --home-dir /data --shell /usr/sbin/nologin cidgate \
 && install -d -o cidgate -g cidgate -m 0700 /data
COPY --from=build /app /app
ENV PATH=/app/bin:$PATH DATA_DIR=/data GATEWAY_HOST=0.0.0.0 GATEWAY_PORT=8080 PYTHONUNBUFFERED=1
USER cidgate
WORKDIR /data
VOLUME /data
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s CMD ["cidgate", "healthcheck"]
CMD ["cidgate", "serve"]
