use proptest::prelude::*;

use super::*;

fn text_form() -> Writing {
    Writing::Text { delimiter: b'\t', null: b"\\N".to_vec() }
}

fn csv_form(quote: u8, escape: u8) -> Writing {
    Writing::Csv { delimiter: b',', null: Vec::new(), quote, escape }
}

/// The fields of every line of `data`, which comes in pieces of `step` bytes.
fn read(writing: &Writing, data: &[u8], step: usize) -> Result<Vec<Vec<Option<Vec<u8>>>>, Fault> {
    let (mut splitter, mut fields, mut rows) =
        (Splitter::new(writing.clone()), Fields::default(), Vec::new());
    let (mut at, mut end) = (0, 0);
    loop {
        while let Some(n) = splitter.line(&data[at..end], end == data.len())? {
            let line = splitter.content(&data[at..at + n]);
            splitter.fields(line, &mut fields)?;
            rows.push((0..fields.len()).map(|i| fields.get(i).map(<[u8]>::to_vec)).collect());
            at += n;
        }
        if end == data.len() {
            return Ok(rows);
        }
        end = (end + step).min(data.len());
    }
}

fn row(fields: &[Option<&str>]) -> Vec<Option<Vec<u8>>> {
    fields.iter().map(|field| field.map(|text| text.as_bytes().to_vec())).collect()
}

#[test]
fn text_is_read_as_postgresql_writes_it() {
    let some = Some;
    let data = b"a\t\\N\t\n\\\\N\tb\\tc\\n\\101\\x41\\x4g\tx\\\ny\\z\n\tlast\t\\";
    let expected = [
        row(&[some("a"), None, some("")]),
        row(&[some("\\N"), some("b\tc\nAA\u{4}g"), some("x\nyz")]),
        row(&[some(""), some("last"), some("\\")]),
    ];
    for step in [1, 3, 100] {
        assert_eq!(read(&text_form(), data, step).unwrap(), expected);
    }
    assert_eq!(
        read(&text_form(), b"a\tb\r\nc\td\r\n", 2).unwrap(),
        [row(&[some("a"), some("b")]), row(&[some("c"), some("d")])]
    );
    assert!(read(&text_form(), b"a\nb\r\n", 9).unwrap_err().contains("carriage return"));
    let own = Writing::Text { delimiter: b'|', null: b"-".to_vec() };
    assert_eq!(read(&own, b"a\\|b|-|\\-\n", 9).unwrap(), [row(&[some("a|b"), None, some("-")])]);
}

#[test]
fn csv_is_read_as_postgresql_writes_it() {
    let some = Some;
    let data = b"a,,\"\"\r\n\"x \"\"y\"\", z\",\"two\nlines\",q\"uo\"te\r\n";
    let expected =
        [row(&[some("a"), None, some("")]), row(&[some("x \"y\", z"), some("two\nlines"), some("quote")])];
    for step in [1, 2, 100] {
        assert_eq!(read(&csv_form(b'"', b'"'), data, step).unwrap(), expected);
    }
    let escaped = b"'it\\'s','a\\\\','b\\n'\n";
    let expected = [row(&[some("it's"), some("a\\"), some("b\\n")])];
    for step in [1, 100] {
        assert_eq!(read(&csv_form(b'\'', b'\\'), escaped, step).unwrap(), expected);
    }
    assert!(read(&csv_form(b'"', b'"'), b"\"open\n", 9).unwrap_err().contains("unterminated"));
    assert!(read(&csv_form(b'"', b'"'), b"a\nb\r\n", 9).unwrap_err().contains("carriage return"));
}

#[test]
fn halves_of_a_character_in_two_fields_are_no_character() {
    let (splitter, mut fields) = (Splitter::new(text_form()), Fields::default());
    splitter.fields(b"ok\t\xc3\t\xa9", &mut fields).unwrap();
    assert_eq!(fields.texts().unwrap_err(), 1);
    splitter.fields("ok\té".as_bytes(), &mut fields).unwrap();
    assert_eq!(fields.texts().unwrap().iter().collect::<Vec<_>>(), [Some("ok"), Some("é")]);
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic_and_pieces_make_no_difference(
        data in proptest::collection::vec(
            prop_oneof![Just(b'\\'), Just(b'"'), Just(b'\n'), Just(b'\r'), Just(b','), Just(b'\t'), Just(b'7'), any::<u8>()],
            0..60,
        ),
        step in 1_usize..8,
    ) {
        for writing in [text_form(), csv_form(b'"', b'"'), csv_form(b'"', b'\\')] {
            prop_assert_eq!(read(&writing, &data, step), read(&writing, &data, data.len().max(1)));
        }
    }

    #[test]
    fn quoted_fields_come_back(
        rows in proptest::collection::vec(proptest::collection::vec("[a-c,\"\n\\\\é]{0,5}", 1..4), 1..4),
    ) {
        let quoted = |field: &String| format!("\"{}\"", field.replace('"', "\"\""));
        let lines = rows.iter().map(|row| row.iter().map(quoted).collect::<Vec<_>>().join(",") + "\n");
        let data = lines.collect::<String>();
        let expected: Vec<Vec<_>> =
            rows.iter().map(|row| row.iter().map(|f| Some(f.clone().into_bytes())).collect()).collect();
        prop_assert_eq!(read(&csv_form(b'"', b'"'), data.as_bytes(), 3), Ok(expected));
    }
}
