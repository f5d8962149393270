use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;

use arrow::array::{Float64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};

use super::*;

fn chunk(value: f64) -> Chunk {
    let schema = Arc::new(Schema::new(vec![Field::new("p", DataType::Float64, false)]));
    let rows = RecordBatch::try_new(schema, vec![Arc::new(Float64Array::from(vec![value]))]).unwrap();
    Chunk { file: 0, rows, marks: vec![Mark { line: 7, offset: 0, len: 0 }], samples: 1 }
}

/// Reads one request off a connection; its body.
fn request(stream: &mut std::net::TcpStream) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        if let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
            let length: usize = head.split("content-length: ").nth(1)?.lines().next()?.trim().parse().ok()?;
            if bytes.len() >= end + 4 + length {
                return Some(bytes[end + 4..end + 4 + length].to_vec());
            }
        }
        match stream.read(&mut buffer) {
            Ok(read) if read > 0 => bytes.extend_from_slice(&buffer[..read]),
            _ => return None,
        }
    }
}

/// A server that gives these answers in order, the connection closed after each; `None` closes without an answer.
fn serve(answers: Vec<Option<&'static str>>) -> (String, std::thread::JoinHandle<Vec<Vec<u8>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let thread = std::thread::spawn(move || {
        let mut bodies = Vec::new();
        for answer in answers {
            let (mut stream, _) = listener.accept().unwrap();
            bodies.extend(request(&mut stream));
            if let Some(answer) = answer {
                stream.write_all(answer.as_bytes()).unwrap();
            }
        }
        bodies
    });
    (url, thread)
}

fn answer(status: &str, headers: &str, body: &str) -> &'static str {
    let text = format!(
        "HTTP/1.1 {status}\r\nconnection: close\r\n{headers}content-length: {}\r\n\r\n{body}",
        body.len()
    );
    Box::leak(text.into_boxed_str())
}

fn run(url: &str, chunks: Vec<Chunk>) -> (Result<()>, Progress, u64) {
    let progress = Progress::new(0);
    let paths = [std::path::PathBuf::from("in.csv")];
    let rejects = Mutex::new(Rejects::open(&paths, None, b"", None).unwrap());
    let server = ServerArgs { server: url.to_owned(), token: None, ca: None };
    let target = Target { server: &server, model: "m", progress: &progress, rejects: &rejects };
    let outcome = pump(&target, |handoff| {
        for chunk in chunks {
            if !handoff.give(chunk) {
                break;
            }
        }
        Ok(())
    });
    let refused = rejects.lock().count();
    (outcome, progress, refused)
}

#[test]
fn a_busy_server_and_a_lost_answer_are_tried_again_with_the_same_body() {
    let (url, server) = serve(vec![
        Some(answer(
            "429 Too Many Requests",
            "retry-after: 0\r\n",
            r#"{"error":{"kind":"busy","message":"full"}}"#,
        )),
        None,
        Some(answer("200 OK", "", r#"{"rows":1,"samples":1,"rejects":[],"rejected":0}"#)),
    ]);
    let (outcome, progress, refused) = run(&url, vec![chunk(1.5)]);
    outcome.unwrap();
    let bodies = server.join().unwrap();
    assert_eq!(bodies.len(), 3);
    assert!(bodies.iter().all(|b| *b == bodies[0]));
    let mut reader = arrow_ipc::reader::StreamReader::try_new(&bodies[0][..], None).unwrap();
    assert_eq!(reader.next().unwrap().unwrap(), chunk(1.5).rows);
    assert_eq!(progress.rows.load(Ordering::Relaxed), 1, "counted once, with the answer");
    assert_eq!(progress.retries.load(Ordering::Relaxed), 2);
    assert_eq!(refused, 0);
}

#[test]
fn rows_the_server_refuses_are_reported_and_counted() {
    let body =
        r#"{"rows":0,"samples":0,"rejects":[{"row":0,"field":"p","reason":"out of range"}],"rejected":3}"#;
    let (url, server) = serve(vec![Some(answer("200 OK", "", body))]);
    let (outcome, progress, refused) = run(&url, vec![chunk(1.5)]);
    outcome.unwrap();
    server.join().unwrap();
    assert_eq!(progress.rows.load(Ordering::Relaxed), 0);
    assert_eq!(refused, 3, "one by name, two more by number");
}

#[test]
fn a_refusal_of_the_whole_request_stops_the_import() {
    let body = r#"{"error":{"kind":"input","message":"no model m"}}"#;
    let (url, server) = serve(vec![Some(answer("404 Not Found", "", body))]);
    let (outcome, ..) = run(&url, vec![chunk(1.5), chunk(2.5), chunk(3.5), chunk(4.5)]);
    let message = outcome.unwrap_err().to_string();
    assert!(message.contains("no model m"), "{message}");
    drop(server);
}
