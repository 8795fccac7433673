# The image of clerk-sync: one program, a user without rights.
#
#   docker build -t clerk-sync .
#   docker run --rm -p 127.0.0.1:3000:3000 -v clerk-sync:/var/lib/clerk-sync -e CLERK_WEBHOOK_SIGNING_SECRET clerk-sync
#
# It needs no BuildKit. C is compiled on the way (aws-lc, SQLite, mimalloc), which takes a C compiler and nothing else;
# the slim image of Rust has one.

ARG RUST_VERSION=1

FROM rust:${RUST_VERSION}-slim-bookworm AS build
WORKDIR /build
# The dependencies alone, so that this layer is good until Cargo.lock changes.
COPY Cargo.toml Cargo.lock ./
RUN mkdir src \
    && echo 'fn main() {}' > src/main.rs \
    && touch src/lib.rs \
    && cargo build --release --locked \
    && rm -r src

COPY . .
# A copied file keeps its old time, and Cargo would take what it built above for newer.
RUN touch src/main.rs src/lib.rs \
    && cargo build --release --locked --bin clerk-sync

FROM debian:bookworm-slim
# The certificates of public authorities, for amqps:// and a PostgreSQL server with TLS. The directory of the embedded files is for
# the program's user alone.
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && install -d -m 0700 -o 65532 -g 65532 /var/lib/clerk-sync

ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="clerk-sync" \
      org.opencontainers.image.description="Keeps a table of users in step with Clerk" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"

COPY --from=build /build/target/release/clerk-sync /usr/local/bin/clerk-sync
# A number and not a name: Kubernetes can tell only from a number that it is not root.
USER 65532:65532

ENV HOST=0.0.0.0 \
    PORT=3000 \
    DATA_DIR=/var/lib/clerk-sync \
    LOG_FORMAT=json
WORKDIR /var/lib/clerk-sync
VOLUME /var/lib/clerk-sync
EXPOSE 3000

# Alive, not ready: an unavailable database is no reason to restart this program.
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 CMD ["clerk-sync", "healthcheck"]

ENTRYPOINT ["clerk-sync"]
CMD ["serve"]
