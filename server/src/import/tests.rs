//! The whole command on real files, without a server (`--dry-run --create-model` needs none).

use clap::Parser;

use super::*;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    args: Args,
}

fn args(line: &[&str]) -> Args {
    let fixed = [
        "import",
        "--dry-run",
        "--create-model",
        "--server",
        "http://127.0.0.1:1",
        "--model",
        "m",
        "--asset",
        "T1",
    ];
    Line::parse_from(fixed.iter().chain(line)).args
}

fn file(dir: &tempfile::TempDir, name: &str, bytes: &[u8]) -> String {
    let path = dir.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn refused_lines_are_kept_with_their_reasons() {
    let dir = tempfile::tempdir().unwrap();
    let input = file(
        &dir,
        "in.csv",
        b"time,Wind Speed (m/s)\r\n1514764800,1.5\r\n1514764801\r\n1514764802,2.5\r\n1514764803,3",
    );
    let rejects = dir.path().join("rejects.csv");
    let line = args(&[&input, "--rejects", rejects.to_str().unwrap()]);
    assert_eq!(import(&line).unwrap(), 1);
    let kept = std::fs::read_to_string(&rejects).unwrap();
    assert_eq!(kept, format!("time,Wind Speed (m/s)\n# {input}:3: 1 fields instead of 2\n1514764801\n"));
    // The file as it is can be imported again: the comment is skipped, the line refused once more.
    let again = args(&[rejects.to_str().unwrap(), "--comment", "#"]);
    let message = import(&again).unwrap_err().to_string();
    assert!(message.contains("no column has a value"), "{message}");
}

#[test]
fn too_many_refused_lines_stop_the_import() {
    let dir = tempfile::tempdir().unwrap();
    let input = file(&dir, "in.csv", b"time,a\n1514764800,1\nx,1\ny,1\nz,1\n");
    assert_eq!(import(&args(&[&input, "--time-format", "epoch-s", "--max-rejects", "3"])).unwrap(), 3);
    let stopped =
        import(&args(&[&input, "--time-format", "epoch-s", "--max-rejects", "2"])).unwrap_err().to_string();
    assert!(stopped.contains("more than 2 lines") && stopped.contains("in.csv:5"), "{stopped}");
}

#[test]
fn a_header_that_is_not_utf8_needs_its_encoding() {
    let dir = tempfile::tempdir().unwrap();
    let input = file(&dir, "in.csv", b"Date/Time,Wind Direction (\xA1\xE3)\r\n01 01 2018 00:00,259.9\r\n");
    let line = ["--time-column", "Date/Time", "--timezone", "Europe/Istanbul"];
    let refused = import(&args(&[&[input.as_str()], &line[..]].concat())).unwrap_err().to_string();
    assert!(refused.contains("byte 26 of the file is 0xA1") && refused.contains("--encoding"), "{refused}");
    let line = args(&[&[input.as_str(), "--encoding", "gb2312"], &line[..]].concat());
    assert_eq!(import(&line).unwrap(), 0);
    let plan = plan::make(&line, &line.options().unwrap()).unwrap();
    assert_eq!(plan.sources[0].layout.points[0].key, "wind_direction_deg");
    assert_eq!(plan.sources[0].format.to_string(), "\"%d %m %Y %H:%M\"");
}

#[test]
fn arguments_that_contradict_are_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let input = file(&dir, "in.csv", b"time,a\n1514764800,1\n");
    for (line, expected) in [
        (vec!["--time-column", "when"], "\"when\""),
        (vec!["--map", "a"], "COLUMN=POINT"),
        (vec!["--map", "b=c"], "\"b\""),
        (vec!["--skip", "a"], "no column besides the time"),
        (vec!["--timezone", "Mars/Olympus"], "Mars/Olympus"),
        (vec!["--encoding", "klingon"], "klingon"),
        (vec!["--encoding", "utf-16le"], "UTF-16LE"),
        (vec!["--decimal-comma"], "--delimiter"),
        (vec!["--batch-rows", "0"], "--batch-rows"),
        (vec!["--time-format", "soon"], "soon"),
        (vec!["--delimiter", "ab"], "--delimiter"),
    ] {
        let message = import(&args(&[&[input.as_str()], &line[..]].concat())).unwrap_err().to_string();
        assert!(message.contains(expected), "{line:?}: {message}");
    }
}
