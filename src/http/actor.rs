//! Who sends a request that changes something, for the audit.

use std::net::{IpAddr, SocketAddr};

use actix_web::HttpRequest;

use crate::store::{Actor, Credential};

/// The client of a request that was admitted by `credential`: its address, and the one that the
/// headers of a proxy name. A client can write these headers too, so that they stand beside the
/// address and not in its place.
pub fn actor(request: &HttpRequest, credential: Credential) -> Actor {
    let address = request.peer_addr().map(|peer| peer.ip().to_canonical());
    let info = request.connection_info();
    let forwarded_for = info.realip_remote_addr().and_then(read_address);
    Actor {
        credential,
        address: address.map(|address| address.to_string()),
        forwarded_for: forwarded_for
            .filter(|client| Some(*client) != address)
            .map(|client| client.to_string()),
    }
}

/// An address with or without a port. Anything else is no address.
fn read_address(text: &str) -> Option<IpAddr> {
    let address = text.parse::<SocketAddr>().map(|address| address.ip());
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    let address = address.or_else(|_| bare.parse());
    address.ok().map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn addresses(headers: &[(&'static str, &str)]) -> (Option<String>, Option<String>) {
        let mut request =
            TestRequest::default().peer_addr("[::ffff:192.0.2.1]:4000".parse().unwrap());
        for header in headers {
            request = request.insert_header(*header);
        }
        let actor = actor(&request.to_http_request(), Credential::Dashboard);
        (actor.address, actor.forwarded_for)
    }

    #[test]
    fn the_address_is_the_clients_own_and_a_proxys_word_stands_beside_it() {
        let own = Some("192.0.2.1".to_owned());
        assert_eq!(addresses(&[]), (own.clone(), None));
        for (name, value, client) in [
            ("x-forwarded-for", "203.0.113.9, 10.0.0.1", "203.0.113.9"),
            (
                "forwarded",
                "for=\"[2001:db8::1]:4711\";proto=https",
                "2001:db8::1",
            ),
            ("x-forwarded-for", "[2001:db8::2]", "2001:db8::2"),
        ] {
            let expected = (own.clone(), Some(client.to_owned()));
            assert_eq!(addresses(&[(name, value)]), expected, "{value}");
        }
        for value in ["unknown", "<script>", "192.0.2.1"] {
            assert_eq!(
                addresses(&[("x-forwarded-for", value)]),
                (own.clone(), None)
            );
        }
    }
}
