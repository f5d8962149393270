//! Expressions of searches (data service §7.3): `productKey = 'pk' and (deviceTags.farm in ('A','B') or not
//! exists(deviceTags.farm))`.
//!
//! Owns: the grammar. Does not own: which fields there are and what they hold; whoever searches says that.
//!
//! `and` binds more tightly than `or`. Text is compared as text, numbers as numbers; `like` finds a piece of a text in
//! any case. A field that an item does not have meets no condition but `!=` and `not exists`.

use serde_json::Value as Json;

use crate::error::{Error, Result};

/// Bytes of an expression: a page of conditions, or a list of some hundred keys.
const EXPRESSION_BYTES_MAX: usize = 16 << 10;

/// Parentheses inside each other: more than a person writes, less than a stack holds.
const NESTING_MAX: usize = 32;

/// A condition on the fields of an item.
#[derive(Debug, PartialEq)]
pub(super) enum Expression {
    All(Vec<Expression>),
    Any(Vec<Expression>),
    Is {
        field: String,
        values: Vec<Json>,
    },
    IsNot {
        field: String,
        value: Json,
    },
    /// The piece, in lower case.
    Like {
        field: String,
        piece: String,
    },
    Exists {
        field: String,
        wanted: bool,
    },
}

#[derive(Debug, PartialEq)]
enum Token {
    Word(String),
    Text(String),
    Number(Json),
    Sign(&'static str),
}

impl Expression {
    /// Reads an expression whose fields are among `fields`, or begin with one that ends in a point.
    pub(super) fn read(text: &str, fields: &[&str]) -> Result<Expression> {
        if text.len() > EXPRESSION_BYTES_MAX {
            return Err(wrong(format!("has more than {EXPRESSION_BYTES_MAX} bytes")));
        }
        let mut reader = Reader { tokens: tokens(text)?, at: 0, fields };
        let expression = reader.any(0)?;
        match reader.next() {
            None => Ok(expression),
            Some(token) => Err(unexpected(token)),
        }
    }

    /// Whether an item meets it; `value` gives the values a field has, several where it is written in several languages.
    pub(super) fn meets(&self, value: &dyn Fn(&str) -> Vec<Json>) -> bool {
        match self {
            Expression::All(parts) => parts.iter().all(|part| part.meets(value)),
            Expression::Any(parts) => parts.iter().any(|part| part.meets(value)),
            Expression::Is { field, values } => {
                value(field).iter().any(|found| values.iter().any(|wanted| equal(found, wanted)))
            }
            Expression::IsNot { field, value: other } => {
                !value(field).iter().any(|found| equal(found, other))
            }
            Expression::Like { field, piece } => value(field)
                .iter()
                .any(|found| found.as_str().is_some_and(|text| text.to_lowercase().contains(piece))),
            Expression::Exists { field, wanted } => value(field).is_empty() != *wanted,
        }
    }
}

/// Numbers are equal as numbers, and to their texts: `deviceTags.line = 3` finds the tag `"3"`.
fn equal(found: &Json, wanted: &Json) -> bool {
    match (found, wanted) {
        (Json::Number(a), Json::Number(b)) => a.as_f64() == b.as_f64(),
        (Json::String(a), Json::Number(b)) => *a == b.to_string(),
        (Json::Bool(a), Json::String(b)) => a.to_string() == b.to_lowercase(),
        (a, b) => a == b,
    }
}

fn wrong(what: impl std::fmt::Display) -> Error {
    Error::invalid(format!("expression: {what}"))
}

fn unexpected(token: &Token) -> Error {
    let shown = match token {
        Token::Word(text) => text.clone(),
        Token::Text(text) => format!("'{text}'"),
        Token::Number(number) => number.to_string(),
        Token::Sign(sign) => (*sign).to_owned(),
    };
    wrong(format!("{} is not expected there", shown.chars().take(40).collect::<String>()))
}

fn tokens(text: &str) -> Result<Vec<Token>> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '\'' | '"' | '‘' | '’' => {
                let closing: &[char] = if first == '"' { &['"'] } else { &['\'', '‘', '’'] };
                let inner = &rest[first.len_utf8()..];
                let end = inner.find(closing).ok_or_else(|| wrong("a text does not end"))?;
                tokens.push(Token::Text(inner[..end].to_owned()));
                let quote = inner[end..].chars().next().map_or(0, char::len_utf8);
                first.len_utf8() + end + quote
            }
            '(' | ')' | ',' | '=' => {
                let signs = ["(", ")", ",", "="];
                let sign = signs.into_iter().find(|sign| sign.starts_with(first));
                tokens.extend(sign.map(Token::Sign));
                1
            }
            '!' if rest.starts_with("!=") => {
                tokens.push(Token::Sign("!="));
                2
            }
            _ => {
                let is_part = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '-' | '/' | ':' | '+');
                let end = rest.find(|c: char| !is_part(c)).unwrap_or(rest.len());
                if end == 0 {
                    return Err(wrong(format!("{first:?} is not expected there")));
                }
                let word = &rest[..end];
                let number = serde_json::from_str::<serde_json::Number>(word).ok();
                tokens.push(number.map_or_else(|| Token::Word(word.to_owned()), |n| Token::Number(n.into())));
                end
            }
        };
        rest = rest[length..].trim_start();
    }
    Ok(tokens)
}

struct Reader<'a> {
    tokens: Vec<Token>,
    at: usize,
    fields: &'a [&'a str],
}

impl Reader<'_> {
    fn next(&mut self) -> Option<&Token> {
        let token = self.tokens.get(self.at);
        self.at += 1;
        token
    }

    fn sign(&mut self, sign: &str) -> bool {
        let is = matches!(self.tokens.get(self.at), Some(Token::Sign(found)) if *found == sign);
        self.at += usize::from(is);
        is
    }

    fn word(&mut self, word: &str) -> bool {
        let is =
            matches!(self.tokens.get(self.at), Some(Token::Word(found)) if found.eq_ignore_ascii_case(word));
        self.at += usize::from(is);
        is
    }

    fn want(&mut self, sign: &str) -> Result<()> {
        if self.sign(sign) {
            return Ok(());
        }
        Err(self.tokens.get(self.at).map_or_else(|| wrong(format!("{sign} is missing")), unexpected))
    }

    fn any(&mut self, depth: usize) -> Result<Expression> {
        let mut parts = vec![self.all(depth)?];
        while self.word("or") {
            parts.push(self.all(depth)?);
        }
        Ok(one(parts, Expression::Any))
    }

    fn all(&mut self, depth: usize) -> Result<Expression> {
        let mut parts = vec![self.condition(depth)?];
        while self.word("and") {
            parts.push(self.condition(depth)?);
        }
        Ok(one(parts, Expression::All))
    }

    fn condition(&mut self, depth: usize) -> Result<Expression> {
        if depth > NESTING_MAX {
            return Err(wrong(format!("more than {NESTING_MAX} parentheses are inside each other")));
        }
        if self.sign("(") {
            let inner = self.any(depth + 1)?;
            self.want(")")?;
            return Ok(inner);
        }
        let negated = self.word("not");
        if self.word("exists") {
            self.want("(")?;
            let field = self.field()?;
            self.want(")")?;
            return Ok(Expression::Exists { field, wanted: !negated });
        }
        if negated {
            return Err(wrong("only exists may follow not"));
        }
        let field = self.field()?;
        if self.sign("=") {
            return Ok(Expression::Is { field, values: vec![self.value()?] });
        }
        if self.sign("!=") {
            return Ok(Expression::IsNot { field, value: self.value()? });
        }
        if self.word("like") {
            let value = self.value()?;
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            return Ok(Expression::Like { field, piece: text.trim_matches('%').to_lowercase() });
        }
        if self.word("in") {
            self.want("(")?;
            let mut values = vec![self.value()?];
            while self.sign(",") {
                values.push(self.value()?);
            }
            self.want(")")?;
            return Ok(Expression::Is { field, values });
        }
        Err(wrong(format!("=, !=, in or like must follow {field}")))
    }

    fn field(&mut self) -> Result<String> {
        let fields = self.fields;
        match self.next() {
            Some(Token::Word(name) | Token::Text(name)) => {
                let known = |field: &&str| {
                    field
                        .strip_suffix('.')
                        .map_or(name == field, |_| name.len() > field.len() && name.starts_with(field))
                };
                match fields.iter().any(known) {
                    true => Ok(name.clone()),
                    false => {
                        let name: String = name.chars().take(40).collect();
                        Err(wrong(format!("{name} is none of {}", fields.join(", "))))
                    }
                }
            }
            Some(token) => Err(unexpected(token)),
            None => Err(wrong("ends where a field should follow")),
        }
    }

    fn value(&mut self) -> Result<Json> {
        match self.next() {
            Some(Token::Text(text)) => Ok(Json::String(text.clone())),
            Some(Token::Number(number)) => Ok(number.clone()),
            Some(Token::Word(word)) if word.eq_ignore_ascii_case("true") => Ok(Json::Bool(true)),
            Some(Token::Word(word)) if word.eq_ignore_ascii_case("false") => Ok(Json::Bool(false)),
            Some(token) => Err(unexpected(token)),
            None => Err(wrong("ends where a value should follow")),
        }
    }
}

fn one(mut parts: Vec<Expression>, join: fn(Vec<Expression>) -> Expression) -> Expression {
    match (parts.pop(), parts.is_empty()) {
        (Some(only), true) => only,
        (last, _) => {
            parts.extend(last);
            join(parts)
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const FIELDS: &[&str] = &["deviceKey", "name", "status", "tags.", "n"];

    fn meets(expression: &str) -> bool {
        let value = |field: &str| match field {
            "deviceKey" => vec![json!("wt-07")],
            "name" => vec![json!("Inverter 1"), json!("逆变器 1")],
            "tags.farm" => vec![json!("A")],
            "n" => vec![json!(35.5)],
            _ => Vec::new(),
        };
        Expression::read(expression, FIELDS).expect(expression).meets(&value)
    }

    #[test]
    fn conditions_mean_what_the_documentation_says() {
        for (expression, expected) in [
            ("deviceKey = 'wt-07'", true),
            ("deviceKey='wt-08'", false),
            ("deviceKey in ('wt-08','wt-07')", true),
            ("name like 'inv'", true),
            ("name like '%变%'", true),
            ("name like ‘verter’", true),
            ("\"tags.farm\" = \"A\"", true),
            ("exists(tags.farm)", true),
            ("not exists(tags.farm)", false),
            ("not exists(tags.line) and n = 35.50", true),
            ("status != 3", true),
            ("tags.farm != 'A'", false),
            // and before or
            ("deviceKey='x' and n=1 or tags.farm='A'", true),
            ("deviceKey='x' and (n=1 or tags.farm='A')", false),
            ("tags.farm='A' or n=1 and deviceKey='x'", true),
        ] {
            assert_eq!(meets(expression), expected, "{expression}");
        }
    }

    #[test]
    fn what_is_no_expression_is_refused() {
        let deep = format!("{}n=1{}", "(".repeat(5_000), ")".repeat(5_000));
        let long = format!("n in ({})", vec!["'x'"; 10_000].join(","));
        for wrong in [
            "",
            "n",
            "n =",
            "n = 1 and",
            "n = 1 n = 2",
            "= 1",
            "n in 1",
            "n in (1",
            "n in ()",
            "n > 1",
            "other = 1",
            "tags. = 1",
            "not n = 1",
            "exists n",
            "n = 'x",
            "n = 1)",
            &deep,
            &long,
        ] {
            let refused = Expression::read(wrong, FIELDS).expect_err(wrong);
            assert_eq!(refused.managed_code(), 99_400, "{wrong}");
        }
    }
}
