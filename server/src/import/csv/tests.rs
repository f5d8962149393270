use super::*;

fn dialect() -> Dialect {
    Dialect {
        delimiter: b',',
        quote: Some(b'"'),
        comment: None,
        header: true,
        encoding: None,
        decimal_comma: false,
        nulls: vec![Vec::new()],
    }
}

/// Hands out one byte a read, so that every record crosses a refill.
struct Drip<'a>(&'a [u8]);

impl Read for Drip<'_> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let Some((first, rest)) = self.0.split_first() else { return Ok(0) };
        into[0] = *first;
        self.0 = rest;
        Ok(1)
    }
}

type Seen = (u64, u64, String, Vec<String>, Option<Cut>);

fn split(text: &[u8]) -> Vec<Seen> {
    let all = |source: &mut dyn Read| {
        let mut records = Records::new(source, &dialect());
        let mut seen = Vec::new();
        while let Some(r) = records.next_record().unwrap() {
            let fields = r.iter().map(|f| String::from_utf8_lossy(f).into_owned()).collect();
            seen.push((r.line, r.offset, String::from_utf8_lossy(r.raw).into_owned(), fields, r.cut));
        }
        seen
    };
    let whole = all(&mut { text });
    assert_eq!(whole, all(&mut Drip(text)), "the answer does not depend on how the bytes come");
    whole
}

fn seen(line: u64, offset: u64, raw: &str, fields: &[&str], cut: Option<Cut>) -> Seen {
    (line, offset, raw.to_owned(), fields.iter().map(|f| (*f).to_owned()).collect(), cut)
}

#[test]
fn windows_and_unix_line_ends() {
    assert_eq!(
        split(b"a,b\r\n1,2\r\n\r\n3,4\n5,6\r\n"),
        [
            seen(1, 0, "a,b", &["a", "b"], None),
            seen(2, 5, "1,2", &["1", "2"], None),
            seen(4, 12, "3,4", &["3", "4"], None),
            seen(5, 16, "5,6", &["5", "6"], None),
        ]
    );
}

#[test]
fn quoted_fields_hold_delimiters_quotes_and_line_ends() {
    assert_eq!(
        split(b"\"a,\"\"b\"\"\",c\n\"x\ny\",z\nlast,one\n"),
        [
            seen(1, 0, "\"a,\"\"b\"\"\",c", &["a,\"b\"", "c"], None),
            seen(2, 12, "\"x\ny\",z", &["x\ny", "z"], None),
            seen(4, 20, "last,one", &["last", "one"], None),
        ]
    );
}

#[test]
fn a_file_that_ends_early_says_how() {
    assert_eq!(split(b"a,b\n1,2")[1], seen(2, 4, "1,2", &["1", "2"], Some(Cut::Line)));
    assert_eq!(split(b"a,b\n1,\"2")[1], seen(2, 4, "1,\"2", &["1", "2"], Some(Cut::Quote)));
    assert_eq!(split(b"a,b\n1,\"2\n3,4\n")[1].4, Some(Cut::Quote), "the open quote swallowed a line end");
    assert_eq!(split(b"a,b\n1,2\n")[1].4, None);
    assert_eq!(split(b"a,b\n1,5\" pipe\n")[1].4, None, "a quote inside a field opens nothing");
    assert_eq!(split(b"a,b\n1,\"5\"\" pipe")[1].4, Some(Cut::Quote));
}

#[test]
fn a_quote_never_closed_does_not_eat_the_memory() {
    let mut text = b"a,b\n1,\"2\n".to_vec();
    text.extend(std::iter::repeat_n(b"3,4\n", RECORD_BYTES_MAX / 2).flatten());
    let mut records = Records::new(&text[..], &dialect());
    assert!(records.next_record().unwrap().is_some());
    match records.next_record() {
        Err(Stop::TooLong { line }) => assert_eq!(line, 2),
        other => panic!("{:?}", other.map(|r| r.map(|r| r.line))),
    }
}

#[test]
fn a_byte_order_mark_is_no_part_of_the_first_field() {
    assert_eq!(split(b"\xEF\xBB\xBFa,b\n")[0].3, ["a", "b"]);
}
