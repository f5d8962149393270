//! Text → statements: where one ends, and whether the last is whole.
//!
//! Owns: quotes and comments, as far as they hide semicolons. Does not own: anything else of SQL.

/// What stands between two characters.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Within {
    Statement,
    Text,
    Name,
    LineComment,
    /// How deep.
    Comment(u32),
}

/// The statements of a text.
#[derive(Debug, PartialEq, Eq)]
pub struct Split<'a> {
    /// Those that end in a semicolon, without it, blank ones left out.
    pub whole: Vec<&'a str>,
    /// What comes after the last semicolon, where it is more than blanks and comments.
    pub rest: Option<&'a str>,
}

/// Cuts `text` at the semicolons that end statements.
pub fn split(text: &str) -> Split<'_> {
    let bytes = text.as_bytes();
    let (mut whole, mut start, mut i) = (Vec::new(), 0, 0);
    let mut within = Within::Statement;
    // Whether something other than blanks and comments was seen since `start`.
    let mut said = false;
    while i < bytes.len() {
        let pair = (bytes[i], bytes.get(i + 1).copied().unwrap_or(0));
        let mut step = 1;
        within = match (within, pair) {
            (Within::Statement, (b';', _)) => {
                if said {
                    whole.push(text[start..i].trim());
                }
                start = i + 1;
                said = false;
                Within::Statement
            }
            (Within::Statement, (b'-', b'-')) => Within::LineComment,
            (Within::Statement, (b'/', b'*')) => {
                step = 2;
                Within::Comment(1)
            }
            (Within::Statement, (byte, _)) => {
                said |= !byte.is_ascii_whitespace();
                match byte {
                    b'\'' => Within::Text,
                    b'"' => Within::Name,
                    _ => Within::Statement,
                }
            }
            // A doubled quote leaves and enters again: the same in the end.
            (Within::Text, (b'\'', _)) | (Within::Name, (b'"', _)) | (Within::LineComment, (b'\n', _)) => {
                Within::Statement
            }
            (Within::Comment(depth), (b'*', b'/')) => {
                step = 2;
                if depth == 1 { Within::Statement } else { Within::Comment(depth - 1) }
            }
            (Within::Comment(depth), (b'/', b'*')) => {
                step = 2;
                Within::Comment(depth + 1)
            }
            (within, _) => within,
        };
        i += step;
    }
    Split { whole, rest: said.then(|| text[start..].trim()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn semicolons_in_texts_names_and_comments_end_nothing() {
        let check = |text: &str, whole: &[&str], rest: Option<&str>| {
            assert_eq!(split(text), Split { whole: whole.to_vec(), rest }, "{text}");
        };
        check("select 1; select 2;", &["select 1", "select 2"], None);
        check("select ';''' ; x", &["select ';'''"], Some("x"));
        check("select \"a;b\";", &["select \"a;b\""], None);
        check("-- no;\nselect 1;", &["-- no;\nselect 1"], None);
        check("/* ; /* ; */ ; */ select 1;", &["/* ; /* ; */ ; */ select 1"], None);
        check("; ;\n", &[], None);
        check("select 1; -- bye", &["select 1"], None);
        check("select 'open;", &[], Some("select 'open;"));
        check("select 1 - 2 / 3;", &["select 1 - 2 / 3"], None);
        check("sélect 'é;' ;", &["sélect 'é;'"], None);
    }
}
