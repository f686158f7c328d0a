//! nginx, for plain work: the free one verifies no tokens.

use portcullis_testkit::tool;

use super::{Started, fill, pinned, ready, values};
use crate::Outcome;
use crate::plan::Work;
use crate::world::World;

const PLAIN: &str = r#"
daemon off;
master_process off;
worker_processes 1;
pid @DIR@/nginx.pid;
error_log stderr error;
events { worker_connections 4096; }
http {
    access_log off;
    client_body_temp_path @DIR@/nginx-body;
    proxy_temp_path @DIR@/nginx-proxy;
    fastcgi_temp_path @DIR@/nginx-fastcgi;
    uwsgi_temp_path @DIR@/nginx-uwsgi;
    scgi_temp_path @DIR@/nginx-scgi;
    keepalive_requests 1000000000;
    upstream origin {
        server 127.0.0.1:@ORIGIN_PORT@;
        keepalive 256;
        keepalive_requests 1000000000;
    }
    server {
        listen 127.0.0.1:@PORT@;
        location / {
            proxy_pass http://origin;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
        }
    }
}
"#;

pub(crate) fn start(work: Work, world: &World) -> Outcome<Started> {
    let (address, values) = values(world, work);
    let config = world.write("nginx.conf", &fill(PLAIN, &values)?)?;
    let launch =
        pinned(&tool("nginx")).arg("-c").arg(config).arg("-p").arg(world.dir()).args(["-e", "stderr"]);
    ready("nginx", launch, address, "none")
}
