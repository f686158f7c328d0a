//! Envoy: one worker, its cache of verified tokens on, RBAC on the token's claims, a bucket for each user.

use portcullis_testkit::tool;

use super::{Started, fill, pinned, ready, values};
use crate::Outcome;
use crate::plan::Work;
use crate::world::World;

const PLAIN: &str = r#"
static_resources:
  listeners:
  - address: { socket_address: { address: 127.0.0.1, port_value: @PORT@ } }
    filter_chains:
    - filters:
      - name: http
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: in
          codec_type: HTTP1
          generate_request_id: false
          route_config:
            virtual_hosts:
            - { name: all, domains: ["*"], routes: [ { match: { prefix: / }, route: { cluster: origin } } ] }
          http_filters:
          - name: router
            typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router, suppress_envoy_headers: true }
  clusters:
  - name: origin
    type: STATIC
    load_assignment:
      cluster_name: origin
      endpoints: [ { lb_endpoints: [ { endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: @ORIGIN_PORT@ } } } } ] } ]
"#;

const SECURE: &str = r#"
static_resources:
  listeners:
  - address: { socket_address: { address: 127.0.0.1, port_value: @PORT@ } }
    filter_chains:
    - transport_socket:
        name: tls
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
          disable_stateless_session_resumption: true
          disable_stateful_session_resumption: true
          common_tls_context:
            alpn_protocols: [ h2, http/1.1 ]
            tls_params: { tls_minimum_protocol_version: TLSv1_3, tls_maximum_protocol_version: TLSv1_3, ecdh_curves: [ X25519 ] }
            tls_certificates: [ { certificate_chain: { filename: "@EDGE_CERT@" }, private_key: { filename: "@EDGE_KEY@" } } ]
      filters:
      - name: http
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: in
          codec_type: AUTO
          access_log:
          - name: file
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog
              path: "@DIR@/envoy-access.log"
              log_format:
                json_format:
                  time: "%START_TIME%"
                  id: "%REQ(X-REQUEST-ID)%"
                  method: "%REQ(:METHOD)%"
                  path: "%REQ(:PATH)%"
                  status: "%RESPONSE_CODE%"
                  bytes: "%BYTES_SENT%"
                  ms: "%DURATION%"
                  user: "%DYNAMIC_METADATA(envoy.filters.http.jwt_authn:payload:sub)%"
                  decision: "%RESPONSE_CODE_DETAILS%"
          route_config:
            virtual_hosts:
            - { name: all, domains: ["*"], routes: [ { match: { prefix: / }, route: { cluster: origin } } ] }
          http_filters:
          - name: envoy.filters.http.jwt_authn
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication
              providers:
                staff:
                  issuer: @ISSUER@
                  audiences: [ "@AUDIENCE@" ]
                  local_jwks: { filename: "@JWKS@" }
                  payload_in_metadata: payload
                  jwt_cache_config: { jwt_cache_size: 4096 }
              rules: [ { match: { prefix: / }, requires: { provider_name: staff } } ]
          - name: envoy.filters.http.rbac
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC
              rules:
                action: ALLOW
                policies:
                  readers:
                    permissions: [ { any: true } ]
                    principals:
                    - metadata:
                        filter: envoy.filters.http.jwt_authn
                        path: [ { key: payload }, { key: scope } ]
                        value: { string_match: { contains: "@SCOPE@" } }
          - name: envoy.filters.http.local_ratelimit
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit
              stat_prefix: users
              token_bucket: { max_tokens: @RATE@, tokens_per_fill: @RATE@, fill_interval: 1s }
              filter_enabled: { default_value: { numerator: 100, denominator: HUNDRED } }
              filter_enforced: { default_value: { numerator: 100, denominator: HUNDRED } }
              rate_limits:
              - actions:
                - metadata:
                    descriptor_key: user
                    metadata_key: { key: envoy.filters.http.jwt_authn, path: [ { key: payload }, { key: sub } ] }
              max_dynamic_descriptors: 4096
              descriptors:
              - entries: [ { key: user } ]
                token_bucket: { max_tokens: @RATE@, tokens_per_fill: @RATE@, fill_interval: 1s }
          - name: router
            typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router, suppress_envoy_headers: true }
  clusters:
  - name: origin
    type: STATIC
    transport_socket:
      name: tls
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext
        sni: localhost
        common_tls_context:
          tls_params: { tls_minimum_protocol_version: TLSv1_3, tls_maximum_protocol_version: TLSv1_3, ecdh_curves: [ X25519 ] }
          tls_certificates: [ { certificate_chain: { filename: "@CLIENT_CERT@" }, private_key: { filename: "@CLIENT_KEY@" } } ]
          validation_context:
            trusted_ca: { filename: "@ROOT@" }
            match_typed_subject_alt_names: [ { san_type: DNS, matcher: { exact: localhost } } ]
    load_assignment:
      cluster_name: origin
      endpoints: [ { lb_endpoints: [ { endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: @ORIGIN_PORT@ } } } } ] } ]
"#;

pub(crate) fn start(work: Work, world: &World) -> Outcome<Started> {
    let (address, values) = values(world, work);
    let template = if work.is_secure() { SECURE } else { PLAIN };
    let config = world.write("envoy.yaml", &fill(template, &values)?)?;
    let launch = pinned(&tool("envoy"))
        .args(["--concurrency", "1", "--disable-hot-restart", "--log-level", "error", "-c"])
        .arg(config);
    let durability = if work.is_secure() { "buffered, to a file, not synced" } else { "none" };
    ready("envoy", launch, address, durability)
}
