# quell in a container: built from source, run as nobody special, with the CA certificates that TLS to Chat needs.
#
#   docker build -t quell .
#   docker run --read-only --tmpfs /tmp --ulimit core=0 -v quell-data:/var/lib/quell -v ./quell:/etc/quell:ro \
#     -p 127.0.0.1:8080:8080 quell
#
# The folder quell/ holds quell.toml, rules.yaml and its lists. A folder rather than files: an editor that puts a new file
# in the place of the old one would leave the container with the old one. Let user 10001 read what is in it.

FROM rust:1.95-bookworm AS build
WORKDIR /src
# Dependencies first: they change rarely, so that a change of quell alone builds quell alone.
# The settings in .cargo are part of how SQLite is built.
COPY Cargo.toml Cargo.lock ./
COPY .cargo .cargo
RUN mkdir src && echo 'fn main() {}' > src/main.rs && touch src/lib.rs \
    && cargo build --profile dist --locked && rm -r src
COPY . .
RUN touch src/main.rs src/lib.rs && cargo build --profile dist --locked

FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --home-dir /var/lib/quell --create-home quell
COPY --from=build /src/target/dist/quell /usr/local/bin/quell
COPY --from=build /src/rules.example.yaml /usr/share/doc/quell/rules.example.yaml
COPY --from=build /src/config/default.toml /usr/share/doc/quell/default.toml
USER quell
WORKDIR /var/lib/quell
VOLUME /var/lib/quell
ENV QUELL__STORE__URL=sqlite:/var/lib/quell/quell.db \
    QUELL__RULES__PATH=/etc/quell/rules.yaml \
    QUELL__SERVER__LISTEN=0.0.0.0:8080
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s CMD ["quell", "healthcheck"]
ENTRYPOINT ["quell"]
CMD ["serve"]
