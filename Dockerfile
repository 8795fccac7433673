# The image of clerk-sync: one program, a user without rights, no shell.
#
#   docker build -t clerk-sync .
#   docker run --rm -p 127.0.0.1:3000:3000 -v clerk-sync:/var/lib/clerk-sync --env-file .env clerk-sync
#
# It builds for the architecture of the machine that builds it, amd64 or arm64. C is compiled on the way (aws-lc, SQLite, mimalloc),
# which takes a C compiler and nothing else; the slim image of Rust has one. It needs no BuildKit.
#
# The published image is for both architectures and compiles nothing: `scripts/release image` puts a directory with the binaries of
# the release in the place of the stage `build` (--build-context). No step below that stage runs a program, so no emulation is needed.

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
ARG TARGETARCH
# A copied file keeps its old time, and Cargo would take what it built above for newer.
RUN touch src/main.rs src/lib.rs \
    && cargo build --release --locked --bin clerk-sync \
    && install -D target/release/clerk-sync "/image/${TARGETARCH}/usr/local/bin/clerk-sync" \
    && install -D -m 644 -t "/image/${TARGETARCH}/usr/share/doc/clerk-sync" LICENSE-MIT LICENSE-APACHE

# An empty directory. The image below has no shell to make one.
FROM scratch AS empty
WORKDIR /empty

# glibc, libgcc and the certificates of public authorities, for amqps:// and a PostgreSQL server with TLS; no shell.
FROM gcr.io/distroless/cc-debian12:nonroot
ARG TARGETARCH
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="clerk-sync" \
      org.opencontainers.image.description="Keeps tables of users and organizations in step with Clerk" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"

# The directory of the embedded files belongs to the program's user.
COPY --from=empty --chown=65532:65532 /empty /var/lib/clerk-sync
# The program and its licenses; the release adds its list of dependencies (SBOM).
COPY --from=build /image/${TARGETARCH}/ /
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
