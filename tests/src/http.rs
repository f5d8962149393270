//! HTTP calls to a server: REST, SQL, metrics.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use ureq::Agent;

/// A client of one server. Keeps its connections.
#[derive(Clone, Debug)]
pub struct Http {
    agent: Agent,
    base: String,
}

/// An answer, whatever its status.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// Content type, empty where none was given.
    pub content_type: String,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|e| panic!("not JSON ({e}), status {}: {}", self.status, self.text()))
    }

    /// The body as JSON of an answer that must be a success.
    pub fn ok(&self) -> Value {
        assert!((200..300).contains(&self.status), "status {}: {}", self.status, self.text());
        self.json()
    }
}

impl Http {
    /// A client of the server at `address`.
    pub fn new(address: SocketAddr) -> Http {
        let agent = Agent::new_with_config(
            Agent::config_builder()
                .http_status_as_error(false)
                .timeout_global(Some(Duration::from_secs(300)))
                .build(),
        );
        Http { agent, base: format!("http://{address}") }
    }

    /// `GET path`.
    pub fn get(&self, path: &str) -> Answer {
        let answer = self.agent.get(format!("{}{path}", self.base)).call();
        read(answer.unwrap_or_else(|e| panic!("GET {path}: {e}")))
    }

    /// `GET path`, with the transport's error instead of a panic.
    pub fn try_get(&self, path: &str) -> Result<Answer, ureq::Error> {
        Ok(read(self.agent.get(format!("{}{path}", self.base)).call()?))
    }

    /// `POST path` with a body.
    pub fn post(&self, path: &str, content_type: &str, accept: &str, body: &[u8]) -> Answer {
        let request = self.agent.post(format!("{}{path}", self.base));
        let answer = request.header("content-type", content_type).header("accept", accept).send(body);
        read(answer.unwrap_or_else(|e| panic!("POST {path}: {e}")))
    }

    /// `POST path` with a JSON body.
    pub fn post_json(&self, path: &str, body: &Value) -> Answer {
        self.post(path, "application/json", "application/json", body.to_string().as_bytes())
    }

    /// Runs `sql` and returns its rows as text, without the header: CSV fields, NULL as an empty text.
    pub fn sql(&self, sql: &str) -> Vec<Vec<String>> {
        let answer = self.post("/sql", "application/sql", "text/csv", sql.as_bytes());
        assert_eq!(answer.status, 200, "{sql}\n{}", answer.text());
        let mut rows = csv(&answer.text());
        assert!(!rows.is_empty(), "an answer in CSV starts with its header: {sql}");
        rows.remove(0);
        rows
    }

    /// Runs `sql`, which must answer with one number.
    pub fn sql_number(&self, sql: &str) -> f64 {
        let rows = self.sql(sql);
        assert!(rows.len() == 1 && rows[0].len() == 1, "one number expected from {sql}, got {rows:?}");
        rows[0][0].parse().unwrap_or_else(|_| panic!("a number expected from {sql}, got {rows:?}"))
    }
}

fn read(mut answer: ureq::http::Response<ureq::Body>) -> Answer {
    let status = answer.status().as_u16();
    let content_type =
        answer.headers().get("content-type").and_then(|v| v.to_str().ok()).unwrap_or("").to_owned();
    // The bound keeps a runaway answer from taking the test machine with it.
    let body = answer.body_mut().with_config().limit(1 << 30).read_to_vec().expect("a complete body");
    Answer { status, content_type, body }
}

/// The records of a CSV text (RFC 4180).
pub fn csv(text: &str) -> Vec<Vec<String>> {
    let (mut rows, mut row, mut field) = (Vec::new(), Vec::new(), String::new());
    let (mut quoted, mut touched) = (false, false);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        touched = true;
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                field.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => row.push(std::mem::take(&mut field)),
            '\n' if !quoted => {
                row.push(std::mem::take(&mut field));
                rows.push(std::mem::take(&mut row));
                touched = false;
            }
            '\r' if !quoted => {}
            c => field.push(c),
        }
    }
    if touched {
        row.push(field);
        rows.push(row);
    }
    rows
}

#[cfg(test)]
mod tests {
    #[test]
    fn csv_is_read_as_rfc_4180_says() {
        let rows = super::csv("a,b\r\n\"x,\"\"y\"\"\",\n1,2");
        assert_eq!(rows, vec![vec!["a", "b"], vec!["x,\"y\"", ""], vec!["1", "2"]]);
    }
}
