//! What is fetched over plain HTTP, within bounds: lists of revoked certificates, OCSP responses, certificates.
//!
//! ```text
//!   GET  /ca.crl                       200: the list; 301 … 308: elsewhere, a few times
//!   POST /  application/ocsp-request   200: the response
//! ```
//!
//! Everything that comes so is signed by somebody, or was named by its digest: whoever asked finds out whether it is what
//! was asked for. Requests go where the host's routes and policies lead them, as those of any program do. Nothing here
//! knows what the octets mean.

use std::time::Duration;

use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Bytes;
use hyper::header::{ACCEPT, CONTENT_TYPE, HOST, HeaderValue, LOCATION, USER_AGENT};
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpStream, lookup_host};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::limits::{
    ADDRESSES_OF_A_SERVER, FETCH_CONNECT_WAIT, FETCH_REDIRECTS, FETCH_URI_OCTETS, FETCH_WAIT, FETCHES_AT_ONCE,
};

/// Fetches, a few things at a time.
#[derive(Debug)]
pub(crate) struct Fetcher {
    slots: Semaphore,
}

impl Default for Fetcher {
    fn default() -> Fetcher {
        Fetcher { slots: Semaphore::new(FETCHES_AT_ONCE) }
    }
}

/// What is sent.
enum Question<'a> {
    Get,
    Post { content_type: &'static str, body: &'a [u8] },
}

impl Fetcher {
    /// Fetches what is at a URI, at most so many octets of it.
    ///
    /// # Errors
    /// It cannot be had, or is too long; words that go behind the URI.
    pub(crate) async fn get(&self, uri: &str, most: usize) -> Result<Vec<u8>, String> {
        self.within_bounds(uri, &Question::Get, most).await
    }

    /// Sends something to a URI and gives the answer, if it has no more than so many octets.
    ///
    /// # Errors
    /// The same.
    pub(crate) async fn post(
        &self,
        uri: &str,
        content_type: &'static str,
        body: &[u8],
        most: usize,
    ) -> Result<Vec<u8>, String> {
        self.within_bounds(uri, &Question::Post { content_type, body }, most).await
    }

    async fn within_bounds(
        &self,
        uri: &str,
        question: &Question<'_>,
        most: usize,
    ) -> Result<Vec<u8>, String> {
        let _slot = self.slots.acquire().await.map_err(|_| "the daemon is ending".to_owned())?;
        let late = |_| format!("it did not answer in {} s", FETCH_WAIT.as_secs());
        timeout(FETCH_WAIT, follow(uri, question, most)).await.map_err(late)?
    }
}

/// Asks, and goes where the answer points, a few times.
async fn follow(uri: &str, question: &Question<'_>, most: usize) -> Result<Vec<u8>, String> {
    let mut uri = parse(uri)?;
    for _ in 0..=FETCH_REDIRECTS {
        let response = ask(&uri, question).await?;
        let status = response.status();
        match (status, question) {
            (StatusCode::OK, _) => return read(response, most).await,
            (
                StatusCode::MOVED_PERMANENTLY
                | StatusCode::FOUND
                | StatusCode::SEE_OTHER
                | StatusCode::TEMPORARY_REDIRECT
                | StatusCode::PERMANENT_REDIRECT,
                Question::Get,
            )
            // RFC 9110 §15.4: the others would turn it into a GET.
            | (StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT, Question::Post { .. }) => {
                uri = elsewhere(&uri, response.headers().get(LOCATION))?;
            }
            _ => return Err(format!("it answers {status}")),
        }
    }
    Err(format!("it points elsewhere more than {FETCH_REDIRECTS} times"))
}

fn parse(uri: &str) -> Result<Uri, String> {
    if uri.len() > FETCH_URI_OCTETS {
        return Err(format!("it is longer than {FETCH_URI_OCTETS} octets"));
    }
    let parsed = uri.parse::<Uri>().map_err(|_| "it is no URI".to_owned())?;
    match (parsed.scheme_str(), parsed.host()) {
        (Some("http"), Some(_)) => Ok(parsed),
        _ => Err("only http:// is fetched".to_owned()),
    }
}

/// Resolves a Location against where it came from (RFC 9110 §10.2.2): whole, or a path on the same server.
fn elsewhere(from: &Uri, location: Option<&HeaderValue>) -> Result<Uri, String> {
    let location = location.and_then(|location| location.to_str().ok());
    let location = location.ok_or_else(|| "it points elsewhere, but not where".to_owned())?;
    match (location.starts_with('/') && !location.starts_with("//"), from.authority()) {
        (true, Some(authority)) => parse(&format!("http://{authority}{location}")),
        _ => parse(location).map_err(|fault| format!("it points to {location}: {fault}")),
    }
}

async fn ask(uri: &Uri, question: &Question<'_>) -> Result<Response<hyper::body::Incoming>, String> {
    let stream = connect(uri).await?;
    let broken = |error: hyper::Error| format!("it answers in no HTTP: {error}");
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    // It ends with the connection, which ends with `sender` and the body.
    tokio::spawn(connection);
    sender.send_request(request(uri, question)?).await.map_err(broken)
}

fn request(uri: &Uri, question: &Question<'_>) -> Result<Request<Full<Bytes>>, String> {
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let host = uri.authority().map(|authority| authority.as_str()).unwrap_or_default();
    // RFC 9110 §4.2.4: what is in front of the @ is not sent.
    let host = host.rsplit('@').next().unwrap_or_default();
    let agent = concat!("keyway/", env!("CARGO_PKG_VERSION"));
    let builder =
        Request::builder().uri(path).header(HOST, host).header(USER_AGENT, agent).header(ACCEPT, "*/*");
    let request = match question {
        Question::Get => builder.method(Method::GET).body(Full::default()),
        Question::Post { content_type, body } => builder
            .method(Method::POST)
            .header(CONTENT_TYPE, *content_type)
            .body(Full::new(Bytes::copy_from_slice(body))),
    };
    request.map_err(|error| format!("it is no URI: {error}"))
}

async fn connect(uri: &Uri) -> Result<TcpStream, String> {
    let host = uri.host().unwrap_or_default();
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let addresses = lookup_host((host, uri.port_u16().unwrap_or(80))).await;
    let addresses = addresses.map_err(|error| format!("{host} has no address: {error}"))?;
    let mut fault = format!("{host} has no address");
    for address in addresses.take(ADDRESSES_OF_A_SERVER) {
        fault = match timeout(FETCH_CONNECT_WAIT, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => format!("it cannot be reached: {error}"),
            Err(_) => format!("it cannot be reached in {} s", seconds(FETCH_CONNECT_WAIT)),
        };
    }
    Err(fault)
}

async fn read(response: Response<hyper::body::Incoming>, most: usize) -> Result<Vec<u8>, String> {
    let body = Limited::new(response.into_body(), most).collect().await;
    let body = body.map_err(|error| match error.is::<LengthLimitError>() {
        true => format!("what is there has more than {most} octets"),
        false => format!("it breaks off: {error}"),
    })?;
    Ok(body.to_bytes().to_vec())
}

fn seconds(duration: Duration) -> u64 {
    duration.as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    /// Serves these answers, one for each connection, and gives where.
    async fn server(answers: Vec<String>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(async move {
            for answer in answers {
                let Ok((mut stream, _)) = listener.accept().await else { return };
                let mut asked = [0; 1024];
                let _ = stream.read(&mut asked).await;
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        format!("http://{address}")
    }

    fn ok(body: &str) -> String {
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
    }

    fn moved(to: &str) -> String {
        format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n")
    }

    #[tokio::test]
    async fn what_is_there_comes() {
        let uri = server(vec![ok("list"), moved("/other"), ok("there"), ok("answer")]).await;
        let fetcher = Fetcher::default();
        assert_eq!(fetcher.get(&uri, 4).await.as_deref(), Ok(b"list".as_slice()));
        assert_eq!(fetcher.get(&uri, 100).await.as_deref(), Ok(b"there".as_slice()));
        let posted = fetcher.post(&uri, "application/ocsp-request", b"?", 100).await;
        assert_eq!(posted.as_deref(), Ok(b"answer".as_slice()));
    }

    #[tokio::test]
    async fn what_is_too_much_is_left() {
        let fetcher = Fetcher::default();
        let uri = server(vec![ok("12345")]).await;
        assert_eq!(fetcher.get(&uri, 4).await, Err("what is there has more than 4 octets".to_owned()));
        let turns = usize::from(FETCH_REDIRECTS) + 1;
        let uri = server(vec![moved("/again"); turns]).await;
        assert_eq!(fetcher.get(&uri, 4).await, Err("it points elsewhere more than 3 times".to_owned()));
        let long = format!("http://a/{}", "a".repeat(FETCH_URI_OCTETS));
        assert_eq!(fetcher.get(&long, 4).await, Err("it is longer than 2048 octets".to_owned()));
    }

    #[tokio::test]
    async fn faults_have_words() {
        let fetcher = Fetcher::default();
        let uri = server(vec!["HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_owned()]).await;
        assert_eq!(fetcher.get(&uri, 4).await, Err("it answers 404 Not Found".to_owned()));
        let uri = server(vec![moved("https://elsewhere.example/")]).await;
        let pointed = "it points to https://elsewhere.example/: only http:// is fetched".to_owned();
        assert_eq!(fetcher.get(&uri, 4).await, Err(pointed));
        assert_eq!(fetcher.get("ldap://192.0.2.1/cn=ca", 4).await, Err("only http:// is fetched".to_owned()));
        let silent = server(Vec::new()).await;
        let refused = fetcher.get(&silent, 4).await.expect_err("nobody answers");
        assert!(refused.contains("it cannot be reached") || refused.contains("no HTTP"), "{refused}");
    }
}
