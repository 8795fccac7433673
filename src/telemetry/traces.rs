//! Exports traces over OTLP to a collector, configured by OpenTelemetry's variables.
//!
//! A collector that is unavailable or hangs costs only its spans: they wait in a bounded queue of
//! the SDK, whose own thread sends them, and drops those that do not fit.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use percent_encoding::percent_decode_str;
use secrecy::{ExposeSecret, SecretString};
use tokio::runtime::Handle;
use tracing::{info, warn};

use crate::logged_state::LoggedState;
use crate::{tls, trace};

/// Where traces go and what they contain. Plain data.
#[derive(Debug, Clone)]
pub struct Options {
    endpoint: String,
    /// `name=value,…`: they contain the collector's password.
    headers: Option<SecretString>,
    timeout: Duration,
    sampler: Sampler,
    resource: Vec<(String, String)>,
}

/// A wrong variable: its name, what is wrong, what would be right.
pub type Wrong = (&'static str, String, &'static str);

/// Longest time to send the waiting spans at a stop.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

impl Options {
    /// Reads the variables. Returns `None` if there is no endpoint, or traces are turned off.
    ///
    /// # Errors
    ///
    /// A variable has a wrong value.
    pub fn read<'a>(
        variable: impl Fn(&str) -> Option<&'a str>,
        headers: Option<SecretString>,
    ) -> Result<Option<Self>, Wrong> {
        let is_off =
            variable("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"));
        let Some(endpoint) = endpoint(&variable)?.filter(|_| !is_off) else {
            return Ok(None);
        };
        match variable("OTEL_TRACES_EXPORTER") {
            None | Some("otlp") => {}
            Some("none") => return Ok(None),
            Some(_) => {
                return Err(wrong(
                    "OTEL_TRACES_EXPORTER",
                    "names an exporter that is not supported",
                    "give otlp or none",
                ));
            }
        }
        for name in [
            "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
            "OTEL_EXPORTER_OTLP_PROTOCOL",
        ] {
            match variable(name) {
                Some("http/protobuf") => break,
                Some(_) => {
                    let remedy = "give http/protobuf, which collectors take on port 4318";
                    return Err(wrong(
                        name,
                        "names a protocol that is not supported",
                        remedy,
                    ));
                }
                None => {}
            }
        }
        Ok(Some(Self {
            endpoint,
            headers,
            timeout: timeout(&variable)?,
            sampler: sampler(&variable)?,
            resource: resource(&variable),
        }))
    }
}

fn wrong(name: &'static str, fault: &str, remedy: &'static str) -> Wrong {
    (name, fault.to_owned(), remedy)
}

fn endpoint<'a>(variable: impl Fn(&str) -> Option<&'a str>) -> Result<Option<String>, Wrong> {
    const OF_TRACES: &str = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
    const OF_ALL: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
    let (name, endpoint) = match (variable(OF_TRACES), variable(OF_ALL)) {
        (Some(whole), _) => (OF_TRACES, whole.to_owned()),
        (None, Some(base)) => (OF_ALL, format!("{}/v1/traces", base.trim_end_matches('/'))),
        (None, None) => return Ok(None),
    };
    let is_url =
        reqwest::Url::parse(&endpoint).is_ok_and(|url| matches!(url.scheme(), "http" | "https"));
    // The exporter accepts slightly fewer URLs.
    if is_url && endpoint.parse::<http::Uri>().is_ok() {
        return Ok(Some(endpoint));
    }
    Err(wrong(
        name,
        "is not the URL of a collector",
        "give one such as http://collector:4318",
    ))
}

fn timeout<'a>(variable: impl Fn(&str) -> Option<&'a str>) -> Result<Duration, Wrong> {
    const DEFAULT_MS: u64 = 10_000;
    let names = [
        "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT",
        "OTEL_EXPORTER_OTLP_TIMEOUT",
    ];
    let Some((name, text)) = names
        .iter()
        .find_map(|name| variable(name).map(|text| (*name, text)))
    else {
        return Ok(Duration::from_millis(DEFAULT_MS));
    };
    let ms = text.parse().ok().filter(|ms| (1..=600_000).contains(ms));
    ms.map(Duration::from_millis).ok_or_else(|| {
        wrong(
            name,
            "is not a number of milliseconds",
            "give one from 1 to 600000, such as 10000",
        )
    })
}

fn sampler<'a>(variable: impl Fn(&str) -> Option<&'a str>) -> Result<Sampler, Wrong> {
    let ratio = || {
        let ratio = variable("OTEL_TRACES_SAMPLER_ARG")
            .unwrap_or("1")
            .parse()
            .ok();
        let ratio = ratio.filter(|ratio| (0.0..=1.0).contains(ratio));
        ratio.map(Sampler::TraceIdRatioBased).ok_or_else(|| {
            wrong(
                "OTEL_TRACES_SAMPLER_ARG",
                "is not a fraction of 1",
                "give a number from 0 to 1, such as 0.1",
            )
        })
    };
    let with_parent = |root: Sampler| Sampler::ParentBased(Box::new(root));
    match variable("OTEL_TRACES_SAMPLER").unwrap_or("parentbased_always_on") {
        "always_on" => Ok(Sampler::AlwaysOn),
        "always_off" => Ok(Sampler::AlwaysOff),
        "traceidratio" => ratio(),
        "parentbased_always_on" => Ok(with_parent(Sampler::AlwaysOn)),
        "parentbased_always_off" => Ok(with_parent(Sampler::AlwaysOff)),
        "parentbased_traceidratio" => ratio().map(with_parent),
        _ => Err(wrong(
            "OTEL_TRACES_SAMPLER",
            "names a sampler that is not supported",
            "give always_on, always_off, traceidratio or one of these after parentbased_",
        )),
    }
}

/// Returns the attributes of all spans. Of two with one name the later wins.
fn resource<'a>(variable: impl Fn(&str) -> Option<&'a str>) -> Vec<(String, String)> {
    let mut attributes = Vec::from([
        ("service.name".to_owned(), "clerk-sync".to_owned()),
        (
            "service.version".to_owned(),
            env!("CARGO_PKG_VERSION").to_owned(),
        ),
    ]);
    let of_user = pairs(variable("OTEL_RESOURCE_ATTRIBUTES").unwrap_or(""));
    attributes.extend(of_user.map(|(name, value)| (decoded(&name), decoded(&value))));
    attributes.extend(
        variable("OTEL_SERVICE_NAME").map(|name| ("service.name".to_owned(), name.to_owned())),
    );
    attributes
}

/// `name=value,name=value`, as W3C's Baggage writes it.
fn pairs(text: &str) -> impl Iterator<Item = (String, String)> {
    let pairs = text.split(',').filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()))
}

/// A comma, an equals sign or a space in a name or a value is `%2C`, `%3D` or `%20`. A `%` without
/// two digits stands for itself.
fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// The export of traces. `end` it, so that the last ones are sent.
pub struct Traces(SdkTracerProvider);

impl Traces {
    /// Starts the export. Call it on the program's own runtime, which sends.
    ///
    /// # Errors
    ///
    /// The exporter or its HTTP client cannot be built.
    pub fn start(options: &Options) -> anyhow::Result<Self> {
        let headers: HashMap<_, _> = options
            .headers
            .iter()
            .flat_map(|headers| pairs(headers.expose_secret()).collect::<Vec<_>>())
            .collect();
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(Collector::new(&options.endpoint.parse()?, options.timeout)?)
            .with_endpoint(&options.endpoint)
            .with_protocol(Protocol::HttpBinary)
            .with_timeout(options.timeout)
            .with_headers(headers)
            .build()?;
        let attributes = options
            .resource
            .iter()
            .map(|(name, value)| KeyValue::new(name.clone(), value.clone()));
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_sampler(options.sampler.clone())
            .with_resource(Resource::builder().with_attributes(attributes).build())
            .build();
        trace::start(provider.tracer("clerk-sync"));
        Ok(Self(provider))
    }

    /// Sends the spans that wait, within a time limit.
    pub async fn end(self) {
        let flushed =
            tokio::task::spawn_blocking(move || self.0.shutdown_with_timeout(FLUSH_TIMEOUT));
        if !matches!(
            tokio::time::timeout(FLUSH_TIMEOUT, flushed).await,
            Ok(Ok(Ok(())))
        ) {
            warn!("the last traces could not be sent");
        }
    }
}

/// The HTTP client of the SDK's thread; it sends on the program's runtime.
#[derive(Debug)]
struct Collector {
    client: reqwest::Client,
    runtime: Handle,
    is_away: LoggedState<bool>,
}

impl Collector {
    fn new(endpoint: &reqwest::Url, timeout: Duration) -> reqwest::Result<Self> {
        let client = tls::http_client_for(endpoint).timeout(timeout).build()?;
        Ok(Self {
            client,
            runtime: Handle::current(),
            is_away: LoggedState::new(false),
        })
    }

    async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (client, request) = (self.client.clone(), reqwest::Request::try_from(request)?);
        let answer = self
            .runtime
            .spawn(async move { client.execute(request).await })
            .await?;
        let mut response = Response::new(Bytes::new());
        // The body only says how many spans were rejected.
        answer
            .map(|answer| {
                *response.status_mut() = answer.status();
                *response.headers_mut() = answer.headers().clone();
                response
            })
            .map_err(HttpError::from)
    }

    /// Logs once that the collector is unavailable, and once that it is back.
    fn log(&self, sent: &Result<Response<Bytes>, HttpError>) {
        let status = sent.as_ref().ok().map(|answer| answer.status().as_u16());
        let is_away = !status.is_some_and(|status| (200..300).contains(&status));
        if !self.is_away.changes_to(is_away) {
            return;
        }
        if is_away {
            warn!(
                status,
                "traces cannot be sent, and are dropped: check OTEL_EXPORTER_OTLP_ENDPOINT, and that the collector takes OTLP over HTTP there"
            );
        } else {
            info!("traces are sent again");
        }
    }
}

impl HttpClient for Collector {
    // The form that async-trait generates.
    fn send_bytes<'life0, 'async_trait>(
        &'life0 self,
        request: Request<Bytes>,
    ) -> BoxFuture<'async_trait, Result<Response<Bytes>, HttpError>>
    where
        'life0: 'async_trait,
        Self: 'async_trait,
    {
        Box::pin(async move {
            // A panic would end the thread of the SDK, and with it the export.
            let sent = AssertUnwindSafe(self.send(request)).catch_unwind().await;
            let sent = sent.unwrap_or_else(|_| Err("clerk-sync has a bug".into()));
            self.log(&sent);
            sent
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &'static str)]) -> Result<Option<Options>, Wrong> {
        let find = |name: &str| {
            variables
                .iter()
                .find(|(known, _)| *known == name)
                .map(|(_, value)| *value)
        };
        Options::read(find, None)
    }

    const BASE: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318/");

    #[test]
    fn without_an_endpoint_or_turned_off_no_traces_are_exported() {
        assert!(read(&[]).unwrap().is_none());
        assert!(
            read(&[("OTEL_TRACES_SAMPLER", "nonsense")])
                .unwrap()
                .is_none()
        );
        assert!(
            read(&[BASE, ("OTEL_SDK_DISABLED", "TRUE")])
                .unwrap()
                .is_none()
        );
        assert!(
            read(&[BASE, ("OTEL_TRACES_EXPORTER", "none")])
                .unwrap()
                .is_none()
        );
    }

    #[test]
    fn the_endpoint_is_that_of_traces_or_the_base_of_all() {
        assert_eq!(
            read(&[BASE]).unwrap().unwrap().endpoint,
            "http://collector:4318/v1/traces"
        );
        let whole = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://collector/in");
        assert_eq!(
            read(&[BASE, whole]).unwrap().unwrap().endpoint,
            "https://collector/in"
        );
    }

    #[test]
    fn a_wrong_variable_is_named_with_what_would_be_right() {
        for (name, value) in [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317"),
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "grpc://collector"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s"),
            ("OTEL_TRACES_SAMPLER", "jaeger_remote"),
            ("OTEL_TRACES_EXPORTER", "console"),
        ] {
            let (wrong, fault, _) = read(&[(name, value), BASE]).unwrap_err();
            assert_eq!(wrong, name);
            assert!(!fault.contains(value), "{fault}");
        }
        let ratio = [
            BASE,
            ("OTEL_TRACES_SAMPLER", "traceidratio"),
            ("OTEL_TRACES_SAMPLER_ARG", "2"),
        ];
        assert_eq!(read(&ratio).unwrap_err().0, "OTEL_TRACES_SAMPLER_ARG");
        // A variable that is not used may have any value.
        assert!(read(&[BASE, ("OTEL_TRACES_SAMPLER_ARG", "2")]).is_ok());
    }

    #[test]
    fn samplers_are_those_that_opentelemetry_names() {
        let sampler = |name| {
            let variables = [
                BASE,
                ("OTEL_TRACES_SAMPLER", name),
                ("OTEL_TRACES_SAMPLER_ARG", "0.25"),
            ];
            format!("{:?}", read(&variables).unwrap().unwrap().sampler)
        };
        assert_eq!(sampler("always_off"), "AlwaysOff");
        assert_eq!(sampler("traceidratio"), "TraceIdRatioBased(0.25)");
        assert_eq!(
            sampler("parentbased_traceidratio"),
            "ParentBased(TraceIdRatioBased(0.25))"
        );
    }

    #[test]
    fn attributes_are_percent_decoded() {
        let attributes = (
            "OTEL_RESOURCE_ATTRIBUTES",
            "team=a%2Cb%3Dc d, owner%2Fid=%C3%A9%20%25, load=100%, odd=%zz%4,empty=",
        );
        let found = read(&[BASE, attributes]).unwrap().unwrap().resource;
        let expected = [
            ("team", "a,b=c d"),
            ("owner/id", "é %"),
            ("load", "100%"),
            ("odd", "%zz%4"),
            ("empty", ""),
        ];
        for (name, value) in expected {
            assert!(
                found
                    .iter()
                    .any(|pair| *pair == (name.to_owned(), value.to_owned())),
                "{name}: {found:?}"
            );
        }
    }

    #[test]
    fn the_name_of_the_service_wins_over_the_attributes() {
        let attributes = (
            "OTEL_RESOURCE_ATTRIBUTES",
            "service.name=a, deployment.environment.name=staging,nonsense",
        );
        let of = |variables: &[(&str, &'static str)]| read(variables).unwrap().unwrap().resource;
        let last = |attributes: &[(String, String)], wanted: &str| {
            attributes
                .iter()
                .rev()
                .find(|(name, _)| name == wanted)
                .map(|(_, value)| value.clone())
                .unwrap()
        };
        assert_eq!(last(&of(&[BASE]), "service.name"), "clerk-sync");
        assert_eq!(last(&of(&[BASE, attributes]), "service.name"), "a");
        assert_eq!(
            last(&of(&[BASE, attributes]), "deployment.environment.name"),
            "staging"
        );
        let named = of(&[BASE, attributes, ("OTEL_SERVICE_NAME", "b")]);
        assert_eq!(last(&named, "service.name"), "b");
    }
}
