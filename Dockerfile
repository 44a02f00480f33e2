# A prebuilt static binary, certificates to trust, a user without a name: nothing else is in the image.
#
#   make image
#
# The context has bramble-<arch> and ca-certificates.crt; make image puts them into build/image. Configuration is mounted;
# data is in /var/lib/bramble, which has to be a volume that uid 65532 may write to.
FROM scratch
ARG TARGETARCH
COPY ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --chmod=0755 bramble-${TARGETARCH} /bramble
ENV BRAMBLE_DATA=/var/lib/bramble
USER 65532:65532
EXPOSE 3200 4317 4318 8888 8889 9411 13133 14250 14268 16685 16686 6831/udp 6832/udp
ENTRYPOINT ["/bramble"]
CMD ["--config=/etc/bramble/bramble.yaml"]
