# The image that kdiag runs in pods: what "kdiag image save" writes, for those
# who build theirs with a container engine.
#
#   make build-all && docker build -t registry.example/kdiag:v1 .
#   docker buildx build --platform linux/amd64,linux/arm64 -t registry.example/kdiag:v1 --push .
#
# It runs no command, so that every platform is built on any machine.
FROM scratch
ARG TARGETARCH
ARG BINARY=bin/kdiag-linux-${TARGETARCH}
ARG VERSION=dev
LABEL org.opencontainers.image.title="kdiag" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.licenses="Apache-2.0 AND GPL-2.0-only AND MIT"
COPY --chmod=0755 ${BINARY} /kdiag
WORKDIR /
ENTRYPOINT ["/kdiag"]
