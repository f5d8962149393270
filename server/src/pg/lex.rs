//! The words of a statement, as far as the wire must know them itself.
//!
//! Owns: what a word, a name and a text are, and where statements end. Does not own: SQL (`query` parses it).

/// A piece of a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Token {
    /// A word without quotes, in lower case; numbers too.
    Word(String),
    /// A name in double quotes.
    Name(String),
    /// A text in single quotes.
    Text(String),
    /// Anything else, a character each.
    Mark(char),
}

impl Token {
    /// The word, where it is one.
    pub fn word(&self) -> Option<&str> {
        match self {
            Token::Word(word) => Some(word),
            _ => None,
        }
    }

    /// What it names, as a name or a value: everything but marks.
    pub fn named(&self) -> Option<&str> {
        match self {
            Token::Word(text) | Token::Name(text) | Token::Text(text) => Some(text),
            Token::Mark(_) => None,
        }
    }
}

/// A token and the byte it begins at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// What it is.
    pub token: Token,
    /// Where.
    pub at: usize,
}

/// Reads the tokens of `text` one by one.
pub struct Lexer<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Lexer<'a> {
    /// Of all of `text`.
    pub fn new(text: &'a str) -> Lexer<'a> {
        Lexer { text, at: 0 }
    }

    /// The first `n` tokens.
    pub fn head(text: &'a str, n: usize) -> Vec<Placed> {
        Lexer::new(text).take(n).collect()
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn skip_blank(&mut self) {
        loop {
            let rest = self.rest();
            let blanks = rest.len() - rest.trim_start().len();
            self.at += blanks;
            let rest = &rest[blanks..];
            if rest.starts_with("--") {
                self.at += rest.find('\n').unwrap_or(rest.len());
            } else if rest.starts_with("/*") {
                self.at += comment(rest);
            } else {
                return;
            }
        }
    }

    /// What stands between quotes, which double inside.
    fn quoted(&mut self, quote: char, escapes: bool) -> String {
        let mut out = String::new();
        self.at += 1;
        let mut chars = self.rest().char_indices().peekable();
        let mut end = self.rest().len();
        while let Some((i, c)) = chars.next() {
            if c == quote {
                if chars.peek().is_some_and(|&(_, next)| next == quote) {
                    chars.next();
                } else {
                    end = i + quote.len_utf8();
                    break;
                }
            } else if escapes && c == '\\' {
                if let Some((_, next)) = chars.next() {
                    out.push(next);
                }
                continue;
            }
            out.push(c);
        }
        self.at += end;
        out
    }

    /// `$$…$$` or `$name$…$name$`, where one begins here.
    fn dollar_quoted(&mut self) -> Option<String> {
        let rest = self.rest();
        let tag_end = 1 + rest[1..].find('$')?;
        let tag = &rest[..=tag_end];
        let name = &tag[1..tag_end];
        let fits = |(i, c): (usize, char)| c == '_' || c.is_alphabetic() || (i > 0 && c.is_numeric());
        if !name.char_indices().all(fits) {
            return None;
        }
        let body = &rest[tag.len()..];
        let end = body.find(tag).unwrap_or(body.len());
        self.at += (tag.len() + end + tag.len()).min(rest.len());
        Some(body[..end].to_owned())
    }
}

/// The length of a comment, which may hold others.
fn comment(text: &str) -> usize {
    let (mut depth, mut i) = (0_u32, 0);
    let bytes = text.as_bytes();
    while i < bytes.len() {
        match (bytes[i], bytes.get(i + 1)) {
            (b'/', Some(b'*')) => {
                depth += 1;
                i += 2;
            }
            (b'*', Some(b'/')) => {
                depth -= 1;
                i += 2;
                if depth == 0 {
                    return i;
                }
            }
            _ => i += 1,
        }
    }
    text.len()
}

fn in_word(c: char) -> bool {
    c == '_' || c == '$' || c.is_alphanumeric()
}

impl Iterator for Lexer<'_> {
    type Item = Placed;

    fn next(&mut self) -> Option<Placed> {
        self.skip_blank();
        let at = self.at;
        let rest = self.rest();
        let mut chars = rest.chars();
        let first = chars.next()?;
        let token = match first {
            '\'' => Token::Text(self.quoted('\'', false)),
            '"' => Token::Name(self.quoted('"', false)),
            'e' | 'E' if chars.next() == Some('\'') => {
                self.at += 1;
                Token::Text(self.quoted('\'', true))
            }
            '$' => match self.dollar_quoted() {
                Some(text) => Token::Text(text),
                None => {
                    self.at += 1;
                    Token::Mark('$')
                }
            },
            c if in_word(c) => {
                // A fraction belongs to its number.
                let number = c.is_ascii_digit();
                let end = rest.find(|c| !(in_word(c) || number && c == '.')).unwrap_or(rest.len());
                self.at += end;
                Token::Word(rest[..end].to_lowercase())
            }
            c => {
                self.at += c.len_utf8();
                Token::Mark(c)
            }
        };
        Some(Placed { token, at })
    }
}

/// The statements of a script with the byte each begins at; empty ones are left out.
pub fn statements(text: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let mut begin = None;
    for Placed { token, at } in Lexer::new(text) {
        if token == Token::Mark(';') {
            found.extend(begin.take().map(|begin| (begin, text[begin..at].trim_end())));
        } else {
            begin.get_or_insert(at);
        }
    }
    found.extend(begin.map(|begin| (begin, text[begin..].trim_end())));
    found
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn statements_end_at_semicolons_that_are_no_part_of_something() {
        let of = |text| statements(text).into_iter().map(|(_, s)| s).collect::<Vec<_>>();
        assert_eq!(of("select 1; select 2"), ["select 1", "select 2"]);
        assert_eq!(of(" ;; -- nothing\n /* ; /* ; */ */ "), [""; 0]);
        assert_eq!(
            of("select ';', \"a;b\", E'\\';', $$;$$, $x$ ; $$ ; $x$ ; b"),
            ["select ';', \"a;b\", E'\\';', $$;$$, $x$ ; $$ ; $x$", "b"]
        );
        assert_eq!(of("select $1; é"), ["select $1", "é"]);
        assert_eq!(statements("a;\n  b")[1].0, 5);
    }

    #[test]
    fn tokens() {
        let of = |text| Lexer::new(text).map(|p| p.token).collect::<Vec<_>>();
        assert_eq!(
            of("SET x.Y = 'a''b' -- c"),
            [
                Token::Word("set".into()),
                Token::Word("x".into()),
                Token::Mark('.'),
                Token::Word("y".into()),
                Token::Mark('='),
                Token::Text("a'b".into()),
            ]
        );
        assert_eq!(of("1.5 \"A\"\"b\""), [Token::Word("1.5".into()), Token::Name("A\"b".into())]);
    }

    proptest! {
        #[test]
        fn every_text_comes_to_an_end(text in "[-'\"$/*;eE\\\\ a-c1.é\n]{0,60}") {
            let mut last = 0;
            for placed in Lexer::new(&text) {
                prop_assert!(placed.at >= last && text.is_char_boundary(placed.at));
                last = placed.at;
            }
            let _ = statements(&text);
        }
    }
}
