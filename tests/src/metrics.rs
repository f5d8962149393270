//! Reads Prometheus text.

use std::collections::BTreeMap;

use crate::http::Http;

/// The numbers of `/metrics`, by `name` or `name{labels}` as printed.
#[derive(Clone, Debug)]
pub struct Metrics(BTreeMap<String, f64>);

impl Metrics {
    /// What the server says now.
    pub fn read(http: &Http) -> Metrics {
        let answer = http.get("/metrics");
        assert_eq!(answer.status, 200, "{}", answer.text());
        Metrics::parse(&answer.text())
    }

    /// Reads the text format.
    pub fn parse(text: &str) -> Metrics {
        let lines = text.lines().filter(|l| !l.starts_with('#') && !l.trim().is_empty());
        Metrics(
            lines
                .map(|line| {
                    let (name, value) =
                        line.rsplit_once(' ').unwrap_or_else(|| panic!("bad metric line {line:?}"));
                    (name.to_owned(), value.parse().unwrap_or_else(|_| panic!("bad metric line {line:?}")))
                })
                .collect(),
        )
    }

    /// The sum of every series called `name` whose labels contain `label`.
    pub fn sum(&self, name: &str, label: &str) -> f64 {
        let of_name = |key: &&String| key.split('{').next() == Some(name) && key.contains(label);
        self.0.iter().filter(|(key, _)| of_name(key)).map(|(_, v)| v).sum()
    }

    /// Every series, for messages.
    pub fn all(&self) -> &BTreeMap<String, f64> {
        &self.0
    }
}
