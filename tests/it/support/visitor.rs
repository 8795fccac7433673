//! A browser without a picture: cookies, forms and links, one request at a time, and no redirect is
//! followed.

use std::net::SocketAddr;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

use super::app::App;

/// Somebody who looks at the dashboard.
#[derive(Clone)]
pub struct Visitor {
    client: reqwest::Client,
    address: SocketAddr,
    cookie: Option<String>,
    headers: HeaderMap,
}

/// The response.
pub struct Page {
    pub path: String,
    pub status: u16,
    pub body: String,
    headers: HeaderMap,
}

impl Visitor {
    pub fn of(app: &App) -> Self {
        Self::before(&app.address.to_string())
    }

    /// Before the server at an address.
    pub fn before(address: &str) -> Self {
        let client = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .build();
        Self {
            client: client.unwrap(),
            address: address.parse().unwrap(),
            cookie: None,
            headers: HeaderMap::new(),
        }
    }

    /// The same, with the same cookie, before another process.
    pub fn at(&self, app: &App) -> Self {
        Self {
            address: app.address,
            ..self.clone()
        }
    }

    /// Sends a header from now on.
    pub fn set(&mut self, name: &'static str, value: &str) {
        self.headers.insert(
            HeaderName::from_static(name),
            HeaderValue::from_str(value).unwrap(),
        );
    }

    pub async fn get(&mut self, path: &str) -> Page {
        let request = self.client.get(format!("http://{}{path}", self.address));
        self.ask(path, request).await
    }

    pub async fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Page {
        let encoded = |text: &str| {
            text.bytes()
                .map(|byte| format!("%{byte:02x}"))
                .collect::<String>()
        };
        let pairs = fields
            .iter()
            .map(|(name, value)| format!("{}={}", encoded(name), encoded(value)));
        let request = self.client.post(format!("http://{}{path}", self.address));
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        self.ask(path, request.body(pairs.collect::<Vec<_>>().join("&")))
            .await
    }

    pub async fn log_in(&mut self, token: &str) -> Page {
        self.post("/login", &[("token", token)]).await
    }

    /// The form token of a page.
    pub async fn form_token(&mut self, path: &str) -> String {
        self.get(path).await.form_token()
    }

    async fn ask(&mut self, path: &str, request: reqwest::RequestBuilder) -> Page {
        let mut request = request.headers(self.headers.clone());
        if let Some(cookie) = &self.cookie {
            request = request.header("cookie", cookie);
        }
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        if let Some(set) = headers.get("set-cookie") {
            let (pair, flags) = set.to_str().unwrap().split_once(';').unwrap();
            self.cookie = (!flags.contains("Max-Age=0")).then(|| pair.to_owned());
        }
        Page {
            path: path.to_owned(),
            status,
            body: response.text().await.unwrap(),
            headers,
        }
    }
}

impl Page {
    /// The value of a header; empty where there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    pub fn location(&self) -> &str {
        self.header("location")
    }

    /// Where its links and files are, without the place in the page.
    pub fn links(&self) -> Vec<String> {
        let values = [" href=\"", " src=\""]
            .into_iter()
            .flat_map(|start| self.body.split(start).skip(1));
        let values = values.map(|rest| unescaped(rest.split('"').next().unwrap()));
        values
            .map(|link| link.split('#').next().unwrap().to_owned())
            .filter(|link| !link.is_empty())
            .collect()
    }

    pub fn form_token(&self) -> String {
        let fields = self.hidden_fields();
        fields
            .into_iter()
            .find(|(name, _)| name == "form_token")
            .expect("the page has a form")
            .1
    }

    /// Names and values of the last form's hidden fields.
    pub fn hidden_fields(&self) -> Vec<(String, String)> {
        let form = self.body.rsplit("<form").next().unwrap();
        let inputs = form.split("<input type=\"hidden\" name=\"").skip(1);
        let fields = inputs.map(|rest| rest.split_once("\" value=\"").unwrap());
        fields
            .map(|(name, rest)| (name.to_owned(), unescaped(rest.split('"').next().unwrap())))
            .collect()
    }

    /// The visible text.
    pub fn text(&self) -> String {
        let main = self.body.split_once("<main").map_or("", |(_, main)| main);
        let text: String = main
            .split('<')
            .map(|part| part.split_once('>').map_or("", |(_, text)| text))
            .collect();
        let spaced = unescaped(&text).replace(['\u{a0}', '\u{202f}'], " ");
        spaced.split_whitespace().collect::<Vec<_>>().join(" ")
    }
}

fn unescaped(text: &str) -> String {
    let pairs = [
        ("&#60;", "<"),
        ("&#62;", ">"),
        ("&#34;", "\""),
        ("&#39;", "'"),
        ("&#38;", "&"),
        ("&amp;", "&"),
    ];
    pairs
        .into_iter()
        .fold(text.to_owned(), |text, (escaped, plain)| {
            text.replace(escaped, plain)
        })
}
