use std::sync::Arc;
use std::time::Duration;

use arrow::array::Float64Array;
use arrow_ipc::writer::StreamWriter;
use axum::body::Body;

use super::*;

fn pieces(body: &[u8], size: usize) -> Pieces {
    let chunks: Vec<Result<Bytes, std::io::Error>> =
        body.chunks(size).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
    Pieces::new(Body::from_stream(futures::stream::iter(chunks)), Duration::from_secs(5))
}

async fn parts(mut splitter: Splitter, body: &[u8], size: usize) -> Result<Vec<Part>, ApiError> {
    let mut pieces = pieces(body, size);
    let mut parts = Vec::new();
    while let Some(part) = splitter.next(&mut pieces).await? {
        parts.push(part);
    }
    Ok(parts)
}

fn arrow_stream() -> (Vec<RecordBatch>, Vec<u8>) {
    let batch = |n: i32| {
        let column = Float64Array::from_iter_values((0..n).map(f64::from));
        RecordBatch::try_from_iter([("x", Arc::new(column) as _)]).unwrap()
    };
    let batches = vec![batch(3), batch(0), batch(1_000)];
    let mut writer = StreamWriter::try_new(Vec::new(), &batches[0].schema()).unwrap();
    for batch in &batches {
        writer.write(batch).unwrap();
    }
    (batches, writer.into_inner().unwrap())
}

#[tokio::test]
async fn batches_come_whole_however_the_body_is_cut() {
    let (batches, body) = arrow_stream();
    for size in [1, 7, 64, 1_000, 1 << 20] {
        let parts = parts(Splitter::arrow(1 << 20), &body, size).await.unwrap();
        let found: Vec<RecordBatch> = parts
            .into_iter()
            .map(|part| match part {
                Part::Rows(batch) => batch,
                Part::Lines(..) => panic!("lines from an Arrow stream"),
            })
            .collect();
        assert_eq!(found, batches, "pieces of {size}");
    }
}

#[tokio::test]
async fn broken_arrow_streams_are_refused() {
    let (_, body) = arrow_stream();
    let refused = |result: Result<Vec<Part>, ApiError>| result.err().expect("refused").kind;
    assert_eq!(refused(parts(Splitter::arrow(1 << 20), &body[..body.len() / 2], 64).await), ApiKind::Input);
    assert_eq!(
        refused(parts(Splitter::arrow(1 << 20), b"this is no arrow stream at all", 8).await),
        ApiKind::Input
    );
    assert_eq!(refused(parts(Splitter::arrow(512), &body, 64).await), ApiKind::TooLarge);
    // Every byte once wrong: an answer or a refusal, never the end of the process.
    for at in 0..body.len().min(600) {
        let mut bent = body.clone();
        bent[at] ^= 0xff;
        let _ = parts(Splitter::arrow(1 << 20), &bent, 4_096).await;
    }
}

#[tokio::test]
async fn lines_come_whole_however_the_body_is_cut() {
    let body = b"{\"a\":1}\n\n{\"b\":2}\r\n{\"c\":3}";
    for size in [1, 2, 5, 100] {
        let parts = parts(Splitter::lines(1_024), body, size).await.unwrap();
        let mut all = Vec::new();
        let mut count = 0;
        for part in &parts {
            let Part::Lines(bytes, lines) = part else { panic!("rows from lines") };
            all.extend_from_slice(bytes);
            count += lines;
        }
        assert_eq!((all.as_slice(), count), (&body[..], 4), "pieces of {size}");
    }
    assert!(parts(Splitter::lines(1_024), b"", 1).await.unwrap().is_empty());
}

#[tokio::test]
async fn many_lines_become_several_parts_and_long_ones_are_refused() {
    let body = "x\n".repeat(40_000);
    let parts_found = parts(Splitter::lines(1_024), body.as_bytes(), 10_000).await.unwrap();
    let counts: Vec<u64> = parts_found
        .iter()
        .map(|part| match part {
            Part::Lines(_, lines) => *lines,
            Part::Rows(_) => 0,
        })
        .collect();
    assert_eq!(counts, [16_384, 16_384, 7_232]);
    let long = "y".repeat(5_000);
    let refused = parts(Splitter::lines(1_024), long.as_bytes(), 100).await.err().expect("refused");
    assert_eq!(refused.kind, ApiKind::TooLarge);
}
