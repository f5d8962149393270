//! Search expressions: `tslEventType = 'ERROR' and deviceKey in ('wt-07','wt-08')` (data service §7.3).
//!
//! Owns: the grammar, its errors with the position of what is wrong, and whether a thing meets an expression. Does not own:
//! which fields a thing has (the caller lists them with what may be asked of each).
//!
//! ```text
//! or        := and { "or" and }
//! and       := unary { "and" unary }
//! unary     := "not" unary | "(" or ")" | predicate
//! predicate := "exists" "(" field ")" | field op literal | field "like" text | field [ "not" ] "in" "(" literal { "," literal } ")"
//! op        := "=" | "!=" | "<>" | "<" | "<=" | ">" | ">="
//! literal   := 'text' | "text" | number            (a quote inside is written twice)
//! ```
//!
//! `and` binds closer than `or`; words are read in any case. `like` finds a text anywhere in the field, case aside; `%`
//! stands for any text where somebody writes it.

use std::fmt;

/// Bytes of an expression.
pub const EXPRESSION_BYTES_MAX: usize = 8 * 1024;

/// Parentheses and `not` inside each other: more is no person's.
const DEPTH_MAX: usize = 32;

/// What may be asked of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldKind {
    /// A text: `=`, `!=`, `in`, `like`, `exists`.
    Text,
    /// A whole number: comparisons and `in`.
    Number,
    /// A time: comparisons, with texts as the caller reads times.
    Time,
}

/// A field that expressions may name.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// What may be asked of it.
    pub kind: FieldKind,
}

/// A comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compare {
    /// `=`
    Equal,
    /// `!=`, `<>`
    Unequal,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
}

impl Compare {
    fn holds(self, ordering: std::cmp::Ordering) -> bool {
        match self {
            Compare::Equal => ordering.is_eq(),
            Compare::Unequal => ordering.is_ne(),
            Compare::Less => ordering.is_lt(),
            Compare::LessOrEqual => ordering.is_le(),
            Compare::Greater => ordering.is_gt(),
            Compare::GreaterOrEqual => ordering.is_ge(),
        }
    }
}

/// What a field is compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Literal {
    /// A text, or a number's text.
    Text(String),
    /// A whole number, or a time in microseconds.
    Int(i64),
}

/// What is wrong with an expression, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpressionError {
    /// The character at fault, counted from 1.
    pub position: usize,
    /// What is wrong there.
    pub reason: String,
}

impl fmt::Display for ExpressionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expression: at character {}: {}", self.position, self.reason)
    }
}

impl std::error::Error for ExpressionError {}

/// A field of the thing that is looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// It has none.
    Missing,
    /// A text.
    Text(&'a str),
    /// A whole number, or a time in microseconds.
    Int(i64),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Node {
    All(Vec<Node>),
    Any(Vec<Node>),
    Not(Box<Node>),
    Compare(usize, Compare, Literal),
    In(usize, Vec<Literal>),
    Like(usize, Vec<String>),
    Exists(usize),
}

/// An expression that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expression(Node);

impl Expression {
    /// Reads `text`, which may name `fields`. `time` reads the texts that times are compared with, as microseconds.
    ///
    /// # Errors
    /// Says what is wrong at which character.
    pub fn parse(
        text: &str,
        fields: &[Field],
        time: &dyn Fn(&str) -> Option<i64>,
    ) -> Result<Expression, ExpressionError> {
        if text.len() > EXPRESSION_BYTES_MAX {
            let reason = format!("is longer than {EXPRESSION_BYTES_MAX} bytes");
            return Err(ExpressionError { position: 1, reason });
        }
        let tokens = tokens(text)?;
        let mut parser = Parser { text, tokens: &tokens, next: 0, fields, time, depth: 0 };
        let node = parser.any()?;
        match parser.peek() {
            None => Ok(Expression(node)),
            Some(token) => Err(parser.error(token.at, "expected and, or, or the end".to_owned())),
        }
    }

    /// Whether the thing with these fields meets it. A field that is missing equals nothing, and is unequal to everything.
    pub fn holds<'v>(&self, value: &dyn Fn(usize) -> Value<'v>) -> bool {
        self.0.holds(value)
    }
}

impl Node {
    fn holds<'v>(&self, value: &dyn Fn(usize) -> Value<'v>) -> bool {
        match self {
            Node::All(nodes) => nodes.iter().all(|node| node.holds(value)),
            Node::Any(nodes) => nodes.iter().any(|node| node.holds(value)),
            Node::Not(node) => !node.holds(value),
            Node::Compare(field, compare, literal) => match order(&value(*field), literal) {
                Some(ordering) => compare.holds(ordering),
                None => *compare == Compare::Unequal,
            },
            Node::In(field, literals) => {
                let value = value(*field);
                literals.iter().any(|literal| order(&value, literal).is_some_and(std::cmp::Ordering::is_eq))
            }
            Node::Like(field, parts) => match value(*field) {
                Value::Text(text) => is_like(&text.to_lowercase(), parts),
                Value::Missing | Value::Int(_) => false,
            },
            Node::Exists(field) => value(*field) != Value::Missing,
        }
    }
}

fn order(value: &Value<'_>, literal: &Literal) -> Option<std::cmp::Ordering> {
    match (value, literal) {
        (Value::Text(text), Literal::Text(literal)) => Some((*text).cmp(literal.as_str())),
        (Value::Int(value), Literal::Int(literal)) => Some(value.cmp(literal)),
        _ => None,
    }
}

/// Whether the parts of a pattern follow each other in `text`.
fn is_like(text: &str, parts: &[String]) -> bool {
    let mut rest = text;
    for part in parts {
        match rest.find(part.as_str()) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    true
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Lexeme {
    Word(String),
    Text(String),
    Number(String),
    Compare(Compare),
    Open,
    Close,
    Comma,
}

#[derive(Clone, Debug)]
struct Token {
    lexeme: Lexeme,
    /// The byte it begins at.
    at: usize,
}

fn position(text: &str, at: usize) -> usize {
    text[..at].chars().count() + 1
}

fn tokens(text: &str) -> Result<Vec<Token>, ExpressionError> {
    let bytes = text.as_bytes();
    let mut tokens = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let begin = at;
        let two = |second: u8| bytes.get(begin + 1) == Some(&second);
        let lexeme = match bytes[at] {
            byte if byte.is_ascii_whitespace() => {
                at += 1;
                continue;
            }
            b'(' => Lexeme::Open,
            b')' => Lexeme::Close,
            b',' => Lexeme::Comma,
            b'=' => {
                at += usize::from(two(b'='));
                Lexeme::Compare(Compare::Equal)
            }
            b'!' if two(b'=') => {
                at += 1;
                Lexeme::Compare(Compare::Unequal)
            }
            b'<' if two(b'>') || two(b'=') => {
                at += 1;
                Lexeme::Compare(if two(b'>') { Compare::Unequal } else { Compare::LessOrEqual })
            }
            b'<' => Lexeme::Compare(Compare::Less),
            b'>' if two(b'=') => {
                at += 1;
                Lexeme::Compare(Compare::GreaterOrEqual)
            }
            b'>' => Lexeme::Compare(Compare::Greater),
            quote @ (b'\'' | b'"') => {
                let (content, end) = quoted(text, begin, quote)?;
                at = end;
                tokens.push(Token { lexeme: Lexeme::Text(content), at: begin });
                continue;
            }
            byte if byte.is_ascii_digit() || byte == b'-' => {
                let digits = bytes[at + 1..].iter().take_while(|b| b.is_ascii_digit() || **b == b'.').count();
                at += digits;
                Lexeme::Number(text[begin..=at].to_owned())
            }
            byte if byte.is_ascii_alphabetic() || byte == b'_' => {
                let more = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
                at += bytes[at + 1..].iter().take_while(|b| more(b)).count();
                Lexeme::Word(text[begin..=at].to_owned())
            }
            _ => {
                let odd = text[begin..].chars().next().unwrap_or_default();
                let reason = format!("{odd:?} has no meaning here");
                return Err(ExpressionError { position: position(text, begin), reason });
            }
        };
        at += 1;
        tokens.push(Token { lexeme, at: begin });
    }
    Ok(tokens)
}

/// The content of the quotes that open at `begin`, and the byte after them.
fn quoted(text: &str, begin: usize, quote: u8) -> Result<(String, usize), ExpressionError> {
    let quote = char::from(quote);
    let mut content = String::new();
    let mut rest = text[begin + 1..].char_indices().peekable();
    while let Some((at, c)) = rest.next() {
        if c != quote {
            content.push(c);
        } else if rest.peek().is_some_and(|(_, next)| *next == quote) {
            rest.next();
            content.push(quote);
        } else {
            return Ok((content, begin + 1 + at + 1));
        }
    }
    let reason = "a text begins here and does not end".to_owned();
    Err(ExpressionError { position: position(text, begin), reason })
}

struct Parser<'a> {
    text: &'a str,
    tokens: &'a [Token],
    next: usize,
    fields: &'a [Field],
    time: &'a dyn Fn(&str) -> Option<i64>,
    depth: usize,
}

impl<'a> Parser<'a> {
    fn error(&self, at: usize, reason: String) -> ExpressionError {
        ExpressionError { position: position(self.text, at), reason }
    }

    fn peek(&self) -> Option<&'a Token> {
        self.tokens.get(self.next)
    }

    /// Where the next token begins, or the text ends.
    fn at(&self) -> usize {
        self.peek().map_or(self.text.len(), |token| token.at)
    }

    fn is_word(&self, word: &str) -> bool {
        matches!(self.peek(), Some(Token { lexeme: Lexeme::Word(found), .. }) if found.eq_ignore_ascii_case(word))
    }

    fn takes_word(&mut self, word: &str) -> bool {
        let found = self.is_word(word);
        self.next += usize::from(found);
        found
    }

    fn take(&mut self, lexeme: &Lexeme, what: &str) -> Result<(), ExpressionError> {
        if self.peek().is_some_and(|token| token.lexeme == *lexeme) {
            self.next += 1;
            return Ok(());
        }
        Err(self.error(self.at(), format!("expected {what}")))
    }

    fn any(&mut self) -> Result<Node, ExpressionError> {
        let mut nodes = vec![self.all()?];
        while self.takes_word("or") {
            nodes.push(self.all()?);
        }
        Ok(if nodes.len() == 1 { nodes.remove(0) } else { Node::Any(nodes) })
    }

    fn all(&mut self) -> Result<Node, ExpressionError> {
        let mut nodes = vec![self.unary()?];
        while self.takes_word("and") {
            nodes.push(self.unary()?);
        }
        Ok(if nodes.len() == 1 { nodes.remove(0) } else { Node::All(nodes) })
    }

    fn unary(&mut self) -> Result<Node, ExpressionError> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            let reason = format!("parentheses and not go deeper than {DEPTH_MAX}");
            return Err(self.error(self.at(), reason));
        }
        let node = if self.takes_word("not") {
            Node::Not(Box::new(self.unary()?))
        } else if self.peek().is_some_and(|token| token.lexeme == Lexeme::Open) {
            self.next += 1;
            let node = self.any()?;
            self.take(&Lexeme::Close, "\")\"")?;
            node
        } else {
            self.predicate()?
        };
        self.depth -= 1;
        Ok(node)
    }

    fn predicate(&mut self) -> Result<Node, ExpressionError> {
        if self.is_word("exists") {
            self.next += 1;
            self.take(&Lexeme::Open, "\"(\" after exists")?;
            let (field, _) = self.field()?;
            self.take(&Lexeme::Close, "\")\"")?;
            return Ok(Node::Exists(field));
        }
        let (field, kind) = self.field()?;
        let at = self.at();
        match self.peek().map(|token| &token.lexeme) {
            Some(Lexeme::Compare(compare)) => {
                self.next += 1;
                let ordered = !matches!(compare, Compare::Equal | Compare::Unequal);
                if ordered && kind == FieldKind::Text {
                    let reason = "texts are compared by =, !=, in and like".to_owned();
                    return Err(self.error(at, reason));
                }
                Ok(Node::Compare(field, *compare, self.literal(kind)?))
            }
            Some(Lexeme::Word(word)) if word.eq_ignore_ascii_case("like") => {
                self.next += 1;
                if kind != FieldKind::Text {
                    return Err(self.error(at, "like is for texts".to_owned()));
                }
                match self.literal(kind)? {
                    Literal::Text(text) => {
                        let parts = text.to_lowercase();
                        let parts = parts.split('%').filter(|part| !part.is_empty());
                        Ok(Node::Like(field, parts.map(str::to_owned).collect()))
                    }
                    Literal::Int(_) => Err(self.error(at, "expected a text after like".to_owned())),
                }
            }
            Some(Lexeme::Word(word))
                if word.eq_ignore_ascii_case("in") || word.eq_ignore_ascii_case("not") =>
            {
                let negated = self.takes_word("not");
                if !self.takes_word("in") {
                    return Err(self.error(self.at(), "expected in after not".to_owned()));
                }
                self.take(&Lexeme::Open, "\"(\" after in")?;
                let mut literals = vec![self.literal(kind)?];
                while self.peek().is_some_and(|token| token.lexeme == Lexeme::Comma) {
                    self.next += 1;
                    literals.push(self.literal(kind)?);
                }
                self.take(&Lexeme::Close, "\",\" or \")\"")?;
                let node = Node::In(field, literals);
                Ok(if negated { Node::Not(Box::new(node)) } else { node })
            }
            _ => Err(self.error(at, "expected =, !=, <, <=, >, >=, in or like".to_owned())),
        }
    }

    /// A field, by its number among those known.
    fn field(&mut self) -> Result<(usize, FieldKind), ExpressionError> {
        let at = self.at();
        let Some(Token { lexeme: Lexeme::Word(name), .. }) = self.peek() else {
            return Err(self.error(at, "expected a field, not, exists or \"(\"".to_owned()));
        };
        self.next += 1;
        let known = self.fields.iter().position(|field| field.name == name);
        let Some(number) = known else {
            let names: Vec<&str> = self.fields.iter().map(|field| field.name).collect();
            let reason = format!("there is no field {name:?}; there are {}", names.join(", "));
            return Err(self.error(at, reason));
        };
        Ok((number, self.fields[number].kind))
    }

    fn literal(&mut self, kind: FieldKind) -> Result<Literal, ExpressionError> {
        let at = self.at();
        let wrong = |what: &str| self.error(at, format!("expected {what}"));
        let literal = match (self.peek().map(|token| &token.lexeme), kind) {
            (Some(Lexeme::Text(text) | Lexeme::Number(text)), FieldKind::Text) => Literal::Text(text.clone()),
            (Some(Lexeme::Text(text) | Lexeme::Number(text)), FieldKind::Number) => {
                Literal::Int(text.parse().map_err(|_| wrong("a whole number"))?)
            }
            (Some(Lexeme::Text(text)), FieldKind::Time) => {
                let what = "a time as 2024-03-05 08:00:00 or 2024-03-05T08:00:00Z";
                Literal::Int((self.time)(text).ok_or_else(|| wrong(what))?)
            }
            (Some(Lexeme::Number(text)), FieldKind::Time) => {
                let millis: i64 = text.parse().map_err(|_| wrong("milliseconds"))?;
                Literal::Int(millis.saturating_mul(1_000))
            }
            _ => return Err(wrong("a text in quotes or a number")),
        };
        self.next += 1;
        Ok(literal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIELDS: [Field; 4] = [
        Field { name: "tslEventType", kind: FieldKind::Text },
        Field { name: "deviceKey", kind: FieldKind::Text },
        Field { name: "state", kind: FieldKind::Number },
        Field { name: "createTime", kind: FieldKind::Time },
    ];

    fn parse(text: &str) -> Result<Expression, ExpressionError> {
        Expression::parse(text, &FIELDS, &|text| text.strip_prefix('t')?.parse().ok())
    }

    /// Whether an ERROR of wt-07 in state 2 at time 5 meets it; it has no other field.
    fn holds(text: &str) -> bool {
        parse(text).unwrap_or_else(|e| panic!("{text}: {e}")).holds(&|field| match field {
            0 => Value::Text("ERROR"),
            1 => Value::Text("wt-07"),
            2 => Value::Int(2),
            _ => Value::Int(5),
        })
    }

    #[test]
    fn expressions_mean_what_they_say() {
        for (text, expected) in [
            // The example of the specification, §7.2.
            ("tslEventType = 'ERROR' and deviceKey in ('wt-07','wt-08')", true),
            ("tslEventType = 'WARN' and deviceKey in ('wt-07','wt-08')", false),
            // and binds closer than or: (false and false) or true.
            ("tslEventType = 'X' and deviceKey = 'X' or state = 2", true),
            ("tslEventType = 'X' and (deviceKey = 'X' or state = 2)", false),
            ("not tslEventType = 'X'", true),
            ("not (state = 2 or state = 3)", false),
            ("state != 3", true),
            ("state <> 2", false),
            ("state >= 2 AND state < 3", true),
            ("state in (1,2,3)", true),
            ("state not in (1,2,3)", false),
            ("deviceKey like 'WT'", true),
            ("deviceKey like '%-0%'", true),
            ("deviceKey like '7%w'", false),
            ("exists(deviceKey) and not exists(tslEventType)", false),
            ("createTime > 't4' and createTime < \"t6\"", true),
            ("deviceKey = 'it''s'", false),
            ("tslEventType=\"ERROR\"and(state=2)", true),
        ] {
            assert_eq!(holds(text), expected, "{text}");
        }
    }

    #[test]
    fn cuts_and_swaps_of_expressions_are_read_or_refused_in_place() {
        let seeds = [
            "tslEventType = 'ERROR' and deviceKey in ('wt-07','wt-08')",
            "not (state != 3 or exists(deviceKey)) and createTime >= 't5' and deviceKey like '%é%'",
        ];
        let mut random = 7_u64;
        let mut next = |below: usize| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) as usize % below
        };
        for _ in 0..20_000 {
            let mut text: Vec<char> = seeds[next(2)].chars().collect();
            for _ in 0..=next(4) {
                let (a, b) = (next(text.len()), next(text.len()));
                match next(3) {
                    0 => text.swap(a, b),
                    1 => drop(text.drain(a.min(b)..a.max(b))),
                    _ => text.insert(a, ['(', ')', '\'', ',', '=', 'é', '"'][next(7)]),
                }
                if text.is_empty() {
                    text.push(' ');
                }
            }
            let text: String = text.into_iter().collect();
            if let Err(error) = parse(&text) {
                assert!((1..=text.chars().count() + 1).contains(&error.position), "{text}: {error}");
            }
        }
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        for (text, position, reason) in [
            ("", 1, "expected a field"),
            ("nobody = 1", 1, "no field \"nobody\""),
            ("state = 2 deviceKey", 11, "expected and, or, or the end"),
            ("state = ", 9, "a text in quotes or a number"),
            ("state = 'é'", 9, "a whole number"),
            ("deviceKey = 'é' and ü", 21, "'ü' has no meaning"),
            ("deviceKey = 'open", 13, "does not end"),
            ("deviceKey < 'a'", 11, "=, !=, in and like"),
            ("state like 'a'", 7, "like is for texts"),
            ("deviceKey in 'a'", 14, "\"(\" after in"),
            ("deviceKey in ('a' 'b')", 19, "\",\" or \")\""),
            ("(state = 2", 11, "expected \")\""),
            ("createTime = 'soon'", 14, "a time as"),
            ("state = 1.5", 9, "a whole number"),
            ("state ! 2", 7, "'!' has no meaning"),
        ] {
            let error = parse(text).unwrap_err();
            assert_eq!(error.position, position, "{text}: {error}");
            assert!(error.reason.contains(reason), "{text}: {error}");
        }
        let deep = format!("{}state = 2{}", "(".repeat(200), ")".repeat(200));
        assert!(parse(&deep).unwrap_err().reason.contains("deeper"));
        assert!(parse(&"(".repeat(EXPRESSION_BYTES_MAX + 1)).unwrap_err().reason.contains("longer"));
    }
}
