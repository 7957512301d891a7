//! Scans JSON as RFC 8259 has it, without building anything: numbers stay as they stand in the text, since `1.0` and `1e3` are not what a vendor who counts
//! units writes, and a reader that turned them into numbers would hide that.

use std::borrow::Cow;

/// How deep arrays and objects may be nested; deeper ones are refused before they cost stack.
pub(super) const DEPTH_MAX: usize = 128;

/// What is wrong with a text that is not JSON, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Malformed {
    /// The offset of the offending byte.
    pub(super) at: usize,
    /// What is wrong, for people.
    pub(super) problem: &'static str,
    /// Whether the text ends before its value does.
    pub(super) is_cut_off: bool,
}

/// A value, as it stands in the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value<'a> {
    /// A string, escapes resolved.
    Text(Cow<'a, str>),
    /// A number, digit by digit.
    Number(&'a str),
    /// `true` or `false`, as the text has it.
    Bool(&'a str),
    /// `null`.
    Null,
    /// An array or object, as the text has it.
    Nested {
        /// The text.
        raw: &'a str,
        /// What it is, for people.
        kind: &'static str,
    },
}

/// Reads a text from one value to the next.
#[derive(Clone, Debug)]
pub(super) struct Scanner<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

type Scanned<T> = Result<T, Malformed>;

impl<'a> Scanner<'a> {
    /// Starts at the beginning of the text.
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: 0, depth: 0 }
    }

    /// The offset that comes next.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// The next byte that is no blank, not taken yet.
    pub(super) fn peek(&mut self) -> Option<u8> {
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        let blanks = rest.iter().position(|byte| !matches!(byte, b' ' | b'\t' | b'\n' | b'\r')).unwrap_or(rest.len());
        self.at += blanks;
        rest.get(blanks).copied()
    }

    /// Nothing but blanks may follow.
    pub(super) fn end(&mut self) -> Scanned<()> {
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(self.wrong("something follows the end of the document")),
        }
    }

    /// Enters an object and calls `member` for each key, which has to take the value.
    pub(super) fn object(&mut self, mut member: impl FnMut(&mut Self, Cow<'a, str>) -> Scanned<()>) -> Scanned<()> {
        self.enter(b'{')?;
        let mut is_first = true;
        while self.goes_on(b'}', is_first, "`,` or `}` is missing")? {
            is_first = false;
            if self.peek() != Some(b'"') {
                return Err(self.wrong("a key in quotes is missing"));
            }
            let key = self.string()?;
            if self.peek() != Some(b':') {
                return Err(self.wrong("`:` is missing"));
            }
            self.at += 1;
            member(self, key)?;
        }
        Ok(())
    }

    /// Enters an array and calls `element` before each of its values, which has to take it.
    pub(super) fn array(&mut self, mut element: impl FnMut(&mut Self) -> Scanned<()>) -> Scanned<()> {
        self.enter(b'[')?;
        let mut is_first = true;
        while self.goes_on(b']', is_first, "`,` or `]` is missing")? {
            is_first = false;
            element(self)?;
        }
        Ok(())
    }

    /// Takes a value and answers it.
    pub(super) fn value(&mut self) -> Scanned<Value<'a>> {
        let first = self.peek();
        let from = self.at;
        match first {
            Some(b'"') => Ok(Value::Text(self.string()?)),
            Some(b'{') => {
                self.skip()?;
                Ok(Value::Nested { raw: &self.text[from..self.at], kind: "an object" })
            }
            Some(b'[') => {
                self.skip()?;
                Ok(Value::Nested { raw: &self.text[from..self.at], kind: "an array" })
            }
            Some(b't') => self.word("true").map(Value::Bool),
            Some(b'f') => self.word("false").map(Value::Bool),
            Some(b'n') => self.word("null").map(|_| Value::Null),
            Some(b'-' | b'0'..=b'9') => self.number().map(Value::Number),
            _ => Err(self.wrong("a value is missing")),
        }
    }

    /// Takes a value without looking at what it says.
    pub(super) fn skip(&mut self) -> Scanned<()> {
        match self.peek() {
            Some(b'{') => self.object(|scanner, _| scanner.skip()),
            Some(b'[') => self.array(Self::skip),
            _ => self.value().map(drop),
        }
    }

    fn enter(&mut self, bracket: u8) -> Scanned<()> {
        if self.peek() != Some(bracket) {
            return Err(self.wrong("a value is missing"));
        }
        if self.depth == DEPTH_MAX {
            return Err(self.wrong("arrays and objects are nested more than 128 deep"));
        }
        self.at += 1;
        self.depth += 1;
        Ok(())
    }

    /// Steps over a comma, or over the closing bracket: then it answers false.
    fn goes_on(&mut self, closing: u8, is_first: bool, missing: &'static str) -> Scanned<bool> {
        match self.peek() {
            Some(byte) if byte == closing => {
                self.at += 1;
                self.depth -= 1;
                Ok(false)
            }
            Some(b',') if !is_first => {
                self.at += 1;
                if self.peek() == Some(closing) {
                    return Err(self.wrong("nothing follows a `,`"));
                }
                Ok(true)
            }
            Some(_) if is_first => Ok(true),
            _ => Err(self.wrong(missing)),
        }
    }

    fn word(&mut self, word: &'static str) -> Scanned<&'a str> {
        let rest = &self.text[self.at..];
        match rest.get(..word.len()) {
            Some(found) if found == word => {
                self.at += word.len();
                Ok(found)
            }
            _ => {
                // The text may end within the word.
                let same = rest.bytes().zip(word.bytes()).take_while(|(byte, wanted)| byte == wanted).count();
                self.at += same;
                Err(self.wrong("neither true, false nor null"))
            }
        }
    }

    fn digits(&mut self) -> Scanned<()> {
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        match rest.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(rest.len()) {
            0 => Err(self.wrong("a digit is missing")),
            digits => {
                self.at += digits;
                Ok(())
            }
        }
    }

    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn number(&mut self) -> Scanned<&'a str> {
        let from = self.at;
        if self.byte() == Some(b'-') {
            self.at += 1;
        }
        if self.byte() == Some(b'0') {
            self.at += 1;
            if self.byte().is_some_and(|byte| byte.is_ascii_digit()) {
                return Err(self.wrong("a number begins with 0"));
            }
        } else {
            self.digits()?;
        }
        if self.byte() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.byte(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.byte(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(&self.text[from..self.at])
    }

    /// Takes the string whose opening quote comes next.
    fn string(&mut self) -> Scanned<Cow<'a, str>> {
        self.at += 1;
        let mut value = Cow::Borrowed("");
        loop {
            let rest = &self.text.as_bytes()[self.at..];
            let plain = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20)).unwrap_or(rest.len());
            let piece = &self.text[self.at..self.at + plain];
            if value.is_empty() {
                value = Cow::Borrowed(piece);
            } else {
                value.to_mut().push_str(piece);
            }
            self.at += plain;
            match rest.get(plain) {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(value);
                }
                Some(b'\\') => value.to_mut().push(self.escape()?),
                Some(_) => return Err(self.wrong("a control character stands in a string")),
                None => return Err(self.wrong("a string is never closed")),
            }
        }
    }

    /// Takes the escape whose `\` comes next.
    fn escape(&mut self) -> Scanned<char> {
        self.at += 1;
        let character = match self.byte() {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.unicode(),
            _ => return Err(self.wrong("an escape that JSON does not have")),
        };
        self.at += 1;
        Ok(character)
    }

    /// Takes `uXXXX`, or two of them that are one character.
    fn unicode(&mut self) -> Scanned<char> {
        let first = self.hex()?;
        let code = match first {
            0xd800..=0xdbff => {
                if self.byte() != Some(b'\\') {
                    return Err(self.wrong("half a character: the second `\\u` is missing"));
                }
                self.at += 1;
                if self.byte() != Some(b'u') {
                    return Err(self.wrong("half a character: the second `\\u` is missing"));
                }
                let second = self.hex()?;
                if !(0xdc00..=0xdfff).contains(&second) {
                    return Err(self.wrong("half a character: the second `\\u` is not its other half"));
                }
                0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00)
            }
            code => code,
        };
        char::from_u32(code).ok_or_else(|| self.wrong("half a character"))
    }

    /// Takes `u` and four hexadecimal digits.
    fn hex(&mut self) -> Scanned<u32> {
        self.at += 1;
        let mut code = 0;
        for _ in 0..4 {
            let digit = self.byte().and_then(|byte| char::from(byte).to_digit(16));
            code = code * 16 + digit.ok_or_else(|| self.wrong("a hexadecimal digit is missing"))?;
            self.at += 1;
        }
        Ok(code)
    }

    /// What is wrong here; at the end of the text everything that is wrong is that it ends.
    fn wrong(&self, problem: &'static str) -> Malformed {
        if self.at >= self.text.len() {
            return Malformed { at: self.at, problem: "the text ends in the middle of a value", is_cut_off: true };
        }
        Malformed { at: self.at, problem, is_cut_off: false }
    }
}
