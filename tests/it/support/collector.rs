//! A collector of traces: takes OTLP over HTTP as protobuf, and keeps what it got. It can hang, or
//! refuse.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use prost::Message;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

pub struct Collector {
    pub address: SocketAddr,
    got: Arc<Mutex<Got>>,
}

#[derive(Default)]
struct Got {
    manner: Manner,
    requests: Vec<Request>,
    spans: Vec<Span>,
}

/// How it answers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Manner {
    #[default]
    Good,
    /// It takes everything and never answers.
    Hangs,
    Refuses,
}

/// A request: its line and its headers, in small letters.
#[derive(Debug, Clone)]
pub struct Request {
    pub line: String,
    pub headers: BTreeMap<String, String>,
}

/// A span, with what its process says of itself.
#[derive(Debug, Clone)]
pub struct Span {
    pub service: String,
    /// What `OTEL_RESOURCE_ATTRIBUTES` says of the team.
    pub team: Option<String>,
    pub name: String,
    pub kind: i32,
    pub trace: String,
    pub id: String,
    pub parent: String,
    pub state: String,
    pub took_ns: u64,
    pub is_error: bool,
    pub attributes: BTreeMap<String, String>,
    /// The IDs of the spans that it is linked to.
    pub links: Vec<String>,
}

impl Collector {
    pub async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let got = Arc::<Mutex<Got>>::default();
        let taking = Arc::clone(&got);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(serve(client, Arc::clone(&taking)));
            }
        });
        Self { address, got }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn behave(&self, manner: Manner) {
        self.got.lock().unwrap().manner = manner;
    }

    pub fn requests(&self) -> Vec<Request> {
        self.got.lock().unwrap().requests.clone()
    }

    pub fn spans(&self) -> Vec<Span> {
        self.got.lock().unwrap().spans.clone()
    }

    /// The spans of this name that have this attribute.
    pub fn with(&self, name: &str, attribute: &str, value: &str) -> Vec<Span> {
        let has = |span: &Span| {
            span.name == name
                && span
                    .attributes
                    .get(attribute)
                    .is_some_and(|found| found == value)
        };
        self.spans().into_iter().filter(has).collect()
    }
}

/// Ends with the connection.
async fn serve(client: TcpStream, got: Arc<Mutex<Got>>) -> Option<()> {
    let mut client = BufReader::new(client);
    loop {
        let mut head = Vec::new();
        loop {
            let mut line = String::new();
            if client.read_line(&mut line).await.ok()? == 0 {
                return None;
            }
            match line.trim_end() {
                "" => break,
                line => head.push(line.to_owned()),
            }
        }
        let headers = head[1..].iter().filter_map(|line| line.split_once(": "));
        let headers: BTreeMap<_, _> = headers
            .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
            .collect();
        let mut body = vec![0; headers["content-length"].parse().unwrap()];
        client.read_exact(&mut body).await.ok()?;
        let manner = {
            let mut got = got.lock().unwrap();
            got.requests.push(Request {
                line: head[0].clone(),
                headers,
            });
            if got.manner == Manner::Good {
                got.spans.extend(read(&body));
            }
            got.manner
        };
        let answer = match manner {
            Manner::Good => {
                "HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n"
            }
            Manner::Refuses => "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n",
            Manner::Hangs => std::future::pending().await,
        };
        client.write_all(answer.as_bytes()).await.ok()?;
    }
}

fn read(body: &[u8]) -> Vec<Span> {
    let request = ExportTraceServiceRequest::decode(body).expect("protobuf of OTLP");
    let mut spans = Vec::new();
    for of_resource in request.resource_spans {
        let resource = attributes(of_resource.resource.unwrap().attributes);
        for span in of_resource
            .scope_spans
            .into_iter()
            .flat_map(|of_scope| of_scope.spans)
        {
            spans.push(Span {
                service: resource["service.name"].clone(),
                team: resource.get("team").cloned(),
                name: span.name,
                kind: span.kind,
                trace: hex(&span.trace_id),
                id: hex(&span.span_id),
                parent: hex(&span.parent_span_id),
                state: span.trace_state,
                took_ns: span.end_time_unix_nano - span.start_time_unix_nano,
                is_error: span.status.is_some_and(|status| status.code == 2),
                attributes: attributes(span.attributes),
                links: span.links.iter().map(|link| hex(&link.span_id)).collect(),
            });
        }
    }
    spans
}

fn attributes(of: Vec<KeyValue>) -> BTreeMap<String, String> {
    let text = |value: Option<AnyValue>| match value.and_then(|value| value.value) {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        other => panic!("an attribute of another kind: {other:?}"),
    };
    of.into_iter()
        .map(|attribute| (attribute.key, text(attribute.value)))
        .collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
