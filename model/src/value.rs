//! Values: one at a time at the edges, columns of them everywhere else.
//!
//! Owns: the four physical kinds, [`Values`] (a dense column of one kind), [`TextColumn`], [`Presence`] (which rows
//! have a value). Does not own: encodings on disk (`format`), Arrow arrays (`query`).

/// How values are held: every [`crate::DataType`] maps onto one of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `f64`, compared bit for bit.
    Float,
    /// `i64`.
    Int,
    /// `bool`.
    Bool,
    /// UTF-8.
    Text,
}

impl Kind {
    /// The name in messages.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Float => "float",
            Kind::Int => "int",
            Kind::Bool => "bool",
            Kind::Text => "text",
        }
    }
}

/// One value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A float.
    Float(f64),
    /// An integer.
    Int(i64),
    /// A truth value.
    Bool(bool),
    /// A text.
    Text(String),
}

/// One borrowed value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ValueRef<'a> {
    /// A float.
    Float(f64),
    /// An integer.
    Int(i64),
    /// A truth value.
    Bool(bool),
    /// A text.
    Text(&'a str),
}

impl ValueRef<'_> {
    /// The kind of this value.
    pub const fn kind(self) -> Kind {
        match self {
            ValueRef::Float(_) => Kind::Float,
            ValueRef::Int(_) => Kind::Int,
            ValueRef::Bool(_) => Kind::Bool,
            ValueRef::Text(_) => Kind::Text,
        }
    }

    /// An owned copy.
    pub fn to_owned(self) -> Value {
        match self {
            ValueRef::Float(v) => Value::Float(v),
            ValueRef::Int(v) => Value::Int(v),
            ValueRef::Bool(v) => Value::Bool(v),
            ValueRef::Text(v) => Value::Text(v.to_owned()),
        }
    }
}

impl Value {
    /// A borrowed view.
    pub fn as_ref(&self) -> ValueRef<'_> {
        match self {
            Value::Float(v) => ValueRef::Float(*v),
            Value::Int(v) => ValueRef::Int(*v),
            Value::Bool(v) => ValueRef::Bool(*v),
            Value::Text(v) => ValueRef::Text(v),
        }
    }
}

/// Texts end to end with their ends: text `i` is `bytes[ends[i-1]..ends[i]]`.
///
/// `bytes` is always UTF-8 and every end a character boundary: only whole `&str`s get in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TextColumn {
    ends: Vec<u32>,
    bytes: String,
}

impl TextColumn {
    /// An empty column.
    pub fn new() -> TextColumn {
        TextColumn::default()
    }

    /// Appends a text.
    ///
    /// # Panics
    /// Where the column would pass 4 GiB; [`crate::limits`] keep batches and blocks far below.
    pub fn push(&mut self, text: &str) {
        self.bytes.push_str(text);
        self.ends.push(u32::try_from(self.bytes.len()).expect("a text column stays below 4 GiB"));
    }

    /// How many texts.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Text `i`.
    ///
    /// # Panics
    /// Where there is no such text.
    pub fn get(&self, i: usize) -> &str {
        let start = if i == 0 { 0 } else { self.ends[i - 1] as usize };
        &self.bytes[start..self.ends[i] as usize]
    }

    /// Every text in order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        (0..self.len()).map(|i| self.get(i))
    }

    /// The ends, one per text.
    pub fn ends(&self) -> &[u32] {
        &self.ends
    }

    /// All texts, end to end.
    pub fn text(&self) -> &str {
        &self.bytes
    }

    /// Keeps the first `len` texts.
    pub fn truncate(&mut self, len: usize) {
        if len < self.len() {
            self.ends.truncate(len);
            self.bytes.truncate(self.ends.last().map_or(0, |&end| end as usize));
        }
    }
}

impl<'a> FromIterator<&'a str> for TextColumn {
    fn from_iter<I: IntoIterator<Item = &'a str>>(texts: I) -> TextColumn {
        let mut column = TextColumn::new();
        for text in texts {
            column.push(text);
        }
        column
    }
}

/// A dense column of values of one kind.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// Floats.
    Float(Vec<f64>),
    /// Integers.
    Int(Vec<i64>),
    /// Truth values.
    Bool(Vec<bool>),
    /// Texts.
    Text(TextColumn),
}

impl Values {
    /// An empty column of `kind`.
    pub fn new(kind: Kind) -> Values {
        Values::with_capacity(kind, 0)
    }

    /// An empty column of `kind` with room for `rows` values.
    pub fn with_capacity(kind: Kind, rows: usize) -> Values {
        match kind {
            Kind::Float => Values::Float(Vec::with_capacity(rows)),
            Kind::Int => Values::Int(Vec::with_capacity(rows)),
            Kind::Bool => Values::Bool(Vec::with_capacity(rows)),
            Kind::Text => Values::Text(TextColumn::new()),
        }
    }

    /// The kind of the values.
    pub fn kind(&self) -> Kind {
        match self {
            Values::Float(_) => Kind::Float,
            Values::Int(_) => Kind::Int,
            Values::Bool(_) => Kind::Bool,
            Values::Text(_) => Kind::Text,
        }
    }

    /// How many values.
    pub fn len(&self) -> usize {
        match self {
            Values::Float(v) => v.len(),
            Values::Int(v) => v.len(),
            Values::Bool(v) => v.len(),
            Values::Text(v) => v.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Value `i`.
    ///
    /// # Panics
    /// Where there is no such value.
    pub fn get(&self, i: usize) -> ValueRef<'_> {
        match self {
            Values::Float(v) => ValueRef::Float(v[i]),
            Values::Int(v) => ValueRef::Int(v[i]),
            Values::Bool(v) => ValueRef::Bool(v[i]),
            Values::Text(v) => ValueRef::Text(v.get(i)),
        }
    }

    /// Appends a value; `false`, and nothing appended, where it is of another kind.
    #[must_use]
    pub fn push(&mut self, value: ValueRef<'_>) -> bool {
        match (self, value) {
            (Values::Float(column), ValueRef::Float(v)) => column.push(v),
            (Values::Int(column), ValueRef::Int(v)) => column.push(v),
            (Values::Bool(column), ValueRef::Bool(v)) => column.push(v),
            (Values::Text(column), ValueRef::Text(v)) => column.push(v),
            _ => return false,
        }
        true
    }

    /// Appends a value that stands for "none" in a column with a [`Presence`]: 0, false or the empty text.
    pub fn push_absent(&mut self) {
        match self {
            Values::Float(v) => v.push(0.0),
            Values::Int(v) => v.push(0),
            Values::Bool(v) => v.push(false),
            Values::Text(v) => v.push(""),
        }
    }

    /// Keeps the first `len` values.
    pub fn truncate(&mut self, len: usize) {
        match self {
            Values::Float(v) => v.truncate(len),
            Values::Int(v) => v.truncate(len),
            Values::Bool(v) => v.truncate(len),
            Values::Text(v) => v.truncate(len),
        }
    }

    /// Bytes of memory the values take, without spare capacity.
    pub fn bytes(&self) -> usize {
        match self {
            Values::Float(v) => v.len() * 8,
            Values::Int(v) => v.len() * 8,
            Values::Bool(v) => v.len(),
            Values::Text(v) => v.len() * 4 + v.text().len(),
        }
    }
}

/// Which rows of a column have a value: one bit a row, least significant first, 1 = present (Arrow's layout).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Presence {
    bits: Vec<u8>,
    len: usize,
    present: usize,
}

impl Presence {
    /// No rows yet.
    pub fn new() -> Presence {
        Presence::default()
    }

    /// `len` rows, all present or all absent.
    pub fn filled(len: usize, present: bool) -> Presence {
        let mut bits = vec![if present { 0xFF } else { 0 }; len.div_ceil(8)];
        if present && !len.is_multiple_of(8) {
            let last = bits.len() - 1;
            bits[last] = (1 << (len % 8)) - 1;
        }
        Presence { bits, len, present: if present { len } else { 0 } }
    }

    /// Appends a row.
    pub fn push(&mut self, present: bool) {
        if self.len.is_multiple_of(8) {
            self.bits.push(0);
        }
        if present {
            self.bits[self.len / 8] |= 1 << (self.len % 8);
            self.present += 1;
        }
        self.len += 1;
    }

    /// Marks row `i` present.
    ///
    /// # Panics
    /// Where there is no such row.
    pub fn set(&mut self, i: usize) {
        assert!(i < self.len, "row {i} of {}", self.len);
        let mask = 1 << (i % 8);
        if self.bits[i / 8] & mask == 0 {
            self.bits[i / 8] |= mask;
            self.present += 1;
        }
    }

    /// Whether row `i` has a value.
    ///
    /// # Panics
    /// Where there is no such row.
    pub fn get(&self, i: usize) -> bool {
        assert!(i < self.len, "row {i} of {}", self.len);
        self.bits[i / 8] & (1 << (i % 8)) != 0
    }

    /// How many rows.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many rows have a value.
    pub fn present(&self) -> usize {
        self.present
    }

    /// The bits; those past the last row are 0.
    pub fn bits(&self) -> &[u8] {
        &self.bits
    }

    /// The bits, for handing over without a copy.
    pub fn into_bits(self) -> Vec<u8> {
        self.bits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_come_back() {
        let mut column: TextColumn = ["a", "", "größe"].into_iter().collect();
        assert_eq!(column.iter().collect::<Vec<_>>(), ["a", "", "größe"]);
        column.truncate(1);
        column.push("z");
        assert_eq!(column.iter().collect::<Vec<_>>(), ["a", "z"]);
    }

    #[test]
    fn a_value_of_another_kind_is_refused() {
        let mut floats = Values::new(Kind::Float);
        assert!(floats.push(ValueRef::Float(1.5)));
        assert!(!floats.push(ValueRef::Int(1)));
        assert_eq!(floats.len(), 1);
    }

    #[test]
    fn presence_counts_and_keeps_spare_bits_clear() {
        let mut presence = Presence::filled(10, true);
        assert_eq!((presence.present(), presence.bits()), (10, &[0xFF, 0b11][..]));
        presence.push(false);
        presence.push(true);
        assert_eq!((presence.len(), presence.present()), (12, 11));
        assert!(!presence.get(10) && presence.get(11));
        presence.set(10);
        assert_eq!(presence.present(), 12);
    }
}
